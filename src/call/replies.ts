/**
 * The peer's replies to the calls that this side makes.
 *
 * - A reply settles the call of its id, if that is in flight, and no other. If
 *   the caller was notified long ago, the reply only updates the outcome.
 * - A payload that does not parse fails its own call alone.
 *
 * @module
 */

import {
  callEndedError,
  type Outcome,
  protocolError,
  RpcError,
} from "../base/errors.ts";
import type {
  ConnectionStreams,
  OutgoingStreams,
} from "../streams/contract.ts";
import type { Codec } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { Call, CallState } from "./call.ts";
import type { InFlightCalls } from "./in_flight.ts";
import type { CallSettler } from "./settle.ts";

/** What the replies need of their connection. */
export interface ReplyHandlerContext {
  readonly codec: Codec;
  /** The connection's streams, made when first used; undefined without support for them. */
  streams(): ConnectionStreams | undefined;
}

/** Hands replies to the calls that they are for. */
export class ReplyHandler {
  /** Replies to calls whose callers had been notified before. */
  late = 0;
  readonly #context: ReplyHandlerContext;
  readonly #inFlight: InFlightCalls;
  readonly #settler: CallSettler;

  constructor(
    context: ReplyHandlerContext,
    inFlight: InFlightCalls,
    settler: CallSettler,
  ) {
    this.#context = context;
    this.#inFlight = inFlight;
    this.#settler = settler;
  }

  /** The result of call `id` is the codec's current payload. */
  reply(id: number, metadata: MetadataBlock | undefined): void {
    const { codec } = this.#context;
    if (codec.opensStream) return this.#stream(id, metadata);
    const call = this.#take(id, metadata, "executed");
    if (call === undefined) return;
    let value: unknown;
    try {
      value = codec.value();
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
    const outcome: Outcome = started === undefined
      ? "unknown"
      : started
      ? "executed"
      : "refused";
    const call = this.#take(id, metadata, outcome);
    if (call === undefined) return;
    if (started === false && call.extra?.links?.onRefused(code)) return;
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

  /** The result of call `id` is a stream: its caller gets it, and the call lives on until it has ended. */
  #stream(id: number, metadata: MetadataBlock | undefined): void {
    const call = this.#unanswered(id, metadata);
    if (call === undefined) return;
    // A codec reports streams only where there is support for them.
    (this.#context.streams() as ConnectionStreams).checkRoom();
    const streams = call.extras().streams ??= this.streamsFor(
      call,
    ) as OutgoingStreams;
    const { failed, result } = streams.openResult(id);
    if (call.state === "sent") this.#settler.stream(call, failed, result);
    else if (call.state === "abandoned") {
      // Its CANCEL is under way, and the end of the stream will come.
      this.#updateOutcome(call, "executed", "abandoned");
      streams.release(callEndedError());
    }
  }

  /** Makes the streams of a call; undefined without support for streams. */
  streamsFor(call: Call): OutgoingStreams | undefined {
    return this.#context.streams()?.outgoing(call, () => {
      // The result stream has ended, and the call with it.
      this.#inFlight.drop(call);
      this.#settler.finishStream(call);
      call.extra?.streams?.writer?.release(callEndedError());
    });
  }

  /**
   * The streams of call `id`: `null` if it has none, undefined if it is over.
   *
   * @throws {ConnectionError} `protocol_error`, if there never was one.
   */
  streamsOf(id: number): OutgoingStreams | null | undefined {
    const call = this.#inFlight.live(id);
    if (call !== undefined) return call.extra?.streams ?? null;
    if (this.#inFlight.used(id)) return undefined;
    protocolError(`a frame of a stream for call ${id}, which was never made`);
  }

  /** Takes an answered call out; undefined if its caller needs no notice any more. */
  #take(
    id: number,
    metadata: MetadataBlock | undefined,
    outcome: Outcome,
  ): Call | undefined {
    const call = this.#unanswered(id, metadata);
    if (call === undefined) return undefined;
    this.#inFlight.drop(call);
    if (call.state !== "abandoned") return call;
    this.#updateOutcome(call, outcome);
    return undefined;
  }

  /**
   * Finds the call that a reply is for. There is none if the id was never used,
   * is not flushed yet, or was answered before: the peer violates the protocol,
   * unless that has cancels without a reply.
   */
  #unanswered(
    id: number,
    metadata: MetadataBlock | undefined,
  ): Call | undefined {
    const { codec } = this.#context;
    const call = this.#inFlight.unanswered(id);
    if (call !== undefined) {
      if (metadata !== undefined) call.extras().replyMetadata = metadata;
      call.extra?.observed?.answered(codec.receivedSize);
      call.extra?.links?.onAnswered();
      return call;
    }
    this.late++;
    if (codec.features.unknownReply === "drop") return undefined;
    protocolError(`an answer to call ${id}, which is not in flight`);
  }

  /** The peer has answered a call whose caller was notified long ago. */
  #updateOutcome(call: Call, outcome: Outcome, state?: CallState): void {
    this.late++;
    this.#settler.finish(call, outcome, state);
  }
}
