/**
 * What the peer answers to the calls that this end made.
 *
 * Invariants owned here:
 * - An answer settles the call of its id, if that is in flight, and no other.
 *   Where the caller was told long ago it refines the outcome, and that is all.
 * - A payload that does not parse fails its own call alone.
 *
 * @module
 */

import type { Call } from "./call.ts";
import type { Codec } from "../wire/codec.ts";
import {
  callEndedError,
  ConnectionError,
  type Outcome,
  RpcError,
} from "../base/errors.ts";
import type { CallSettler } from "./settle.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { InFlightCalls } from "./in_flight.ts";
import type {
  ConnectionStreams,
  OutgoingStreams,
} from "../streams/contract.ts";

/** What the replies need of their connection. */
export interface ReplyHandlerContext {
  readonly codec: Codec;
  /** The connection's streams, made when they are asked for. */
  streams(): ConnectionStreams | undefined;
}

/** Hands answers to the calls they are for. */
export class ReplyHandler {
  /** Answers that came for calls whose callers had been told otherwise. */
  late = 0;
  readonly #context: ReplyHandlerContext;
  readonly #sent: InFlightCalls;
  readonly #settler: CallSettler;

  constructor(
    context: ReplyHandlerContext,
    sent: InFlightCalls,
    settler: CallSettler,
  ) {
    this.#context = context;
    this.#sent = sent;
    this.#settler = settler;
  }

  /** The result of call `id` is the codec's current payload. */
  reply(id: number, metadata: MetadataBlock | undefined): void {
    if (this.#context.codec.valueIsStream) return this.#stream(id, metadata);
    const call = this.#take(id, metadata);
    if (call === undefined) return;
    if (call.state === "abandoned") {
      this.#updateOutcome(call, "executed");
      return;
    }
    let value: unknown;
    try {
      value = this.#context.codec.value();
    } catch (cause) {
      const text = "the reply's payload does not parse";
      const error = new RpcError("invalid_reply", text, { cause });
      this.#settler.fail(call, "executed", error);
      return;
    }
    this.#settler.settle(call, "executed", false, value);
  }

  /** Call `id` failed; the error's data is the codec's current payload. */
  failure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata: MetadataBlock | undefined,
  ): void {
    const call = this.#take(id, metadata);
    if (call === undefined) return;
    const outcome: Outcome = started === undefined
      ? "unknown"
      : started
      ? "executed"
      : "refused";
    if (call.state === "abandoned") {
      this.#updateOutcome(call, outcome);
      return;
    }
    let data: unknown;
    try {
      data = this.#context.codec.value();
    } catch {
      // The failure is what counts; data that does not parse is no data.
    }
    // Params that failed have brought the failure of the call about.
    const failed = call.extra?.streams?.writer?.failure;
    const options = {
      ...{ outcome, data, remote: true },
      ...(failed && { cause: failed.error }),
    };
    this.#settler.fail(call, outcome, new RpcError(code, message, options));
  }

  /** The result of call `id` is a stream: its caller is told, and the call lives on. */
  #stream(id: number, metadata: MetadataBlock | undefined): void {
    const call = this.#sent.find(id);
    if (call === undefined) return this.#stray(id);
    const extra = call.extras();
    this.#answered(call, metadata);
    // A codec tells of streams only where there is support for them.
    const table = this.#context.streams() as ConnectionStreams;
    table.checkRoom();
    const streams = extra.streams ??= table.outgoing(
      call,
      () => this.streamEnded(call),
    );
    const result = streams.openResult(id);
    if (call.state !== "abandoned") {
      this.#settler.stream(call, result);
      return;
    }
    // Given up: its CANCEL is under way, and the stream's end will come.
    this.#updateOutcome(call, "executed");
    call.state = "abandoned";
    streams.release(callEndedError());
  }

  /** The result stream of a call has ended, and the call with it. */
  streamEnded(call: Call): void {
    this.#sent.drop(call);
    this.#settler.finishStream(call);
    call.extra?.streams?.writer?.release(callEndedError());
  }

  /**
   * The streams of call `id`: `null` if it has none, undefined if it is over.
   *
   * @throws {ConnectionError} `protocol_error`, if there never was one.
   */
  streamsOf(id: number): OutgoingStreams | null | undefined {
    const call = this.#sent.live(id);
    if (call !== undefined) return call.extra?.streams ?? null;
    if (this.#sent.used(id)) return undefined;
    throw new ConnectionError(
      "protocol_error",
      `a frame of a stream for call ${id}, which was never made`,
    );
  }

  /**
   * Takes an answered call out. There is none if the id was never used, is not
   * handed over yet, or was answered before: the peer breaks the rules, unless
   * its wire knows of silent cancels.
   */
  #take(id: number, metadata: MetadataBlock | undefined): Call | undefined {
    const call = this.#sent.take(id);
    if (call === undefined) this.#stray(id);
    else this.#answered(call, metadata);
    return call;
  }

  /** An answer has come. */
  #answered(call: Call, metadata: MetadataBlock | undefined): void {
    if (metadata !== undefined) call.extras().replyMetadata = metadata;
    call.extra?.observed?.answered(this.#context.codec.receivedSize);
  }

  #stray(id: number): void {
    this.late++;
    if (this.#context.codec.features.unknownReply === "drop") return;
    throw new ConnectionError(
      "protocol_error",
      `an answer to call ${id}, which is not in flight`,
    );
  }

  /** The peer has answered for a call whose caller was told long ago. */
  #updateOutcome(call: Call, outcome: Outcome): void {
    this.late++;
    this.#settler.finish(call, outcome);
  }
}
