/**
 * The streams of one call: at most one in each direction.
 *
 * - Both have the call's id: which of them a frame is for follows from the
 *   frame's kind and from which side made the call.
 * - They count against the connection's limits from when they are opened until
 *   their call is closed.
 *
 * @module
 */

import { scopeOfNow } from "../base/async_context.ts";
import { RpcError, toSendableError } from "../base/errors.ts";
import { typeName } from "../base/inspect.ts";
import {
  isStream,
  type PullSource,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import { references, refuseReferences } from "../base/references.ts";
import { isInstanceOf } from "../base/user_code.ts";
import type { CallOptions } from "../types/call.ts";
import type { StreamFailure } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type {
  CallStreamsView,
  IncomingStreamCall,
  IncomingStreamHost,
  IncomingStreams,
  OpenedResult,
  OutgoingStreamCall,
  OutgoingStreams,
} from "./contract.ts";
import type { StreamHost, StreamOwner } from "./stream_host.ts";
import { StreamReader } from "./stream_reader.ts";
import { StreamWriter } from "./stream_writer.ts";
import { toTrailers } from "./trailers.ts";
import { ValueWithBody } from "./value_with_body.ts";

/** What the streams of a call use of the table that holds them. */
export interface CallStreamsHost extends StreamHost {
  /** Whether one more stream may be opened towards the peer. */
  readonly hasRoom: boolean;
  /** Why result streams are ended in order: those that are open, and those opened from now on. */
  readonly ending: RpcError | undefined;
  /** The largest body of a frame that is written at once, in bytes. */
  readonly maxControl: number;
  /** Why a stream can never be sent (`not_sent`), or not now (`executed`); undefined if it can, and while the peer's HELLO has not arrived. */
  refusal(outcome: "not_sent" | "executed"): RpcError | undefined;
  /** Counts streams that were opened. */
  opened(streams: CallStreams, incoming: number, outgoing: number): void;
  /** Counts them off again, as their call is closed. */
  closed(streams: CallStreams, incoming: number, outgoing: number): void;
}

/** What the streams of both sides of a call have in common. */
export abstract class CallStreams implements StreamOwner, CallStreamsView {
  reader: StreamReader | undefined;
  writer: StreamWriter | undefined;
  abstract readonly caller: boolean;
  readonly host: CallStreamsHost;
  readonly sendBuffer: FrameBuffer;
  id: number;
  trailers: MetadataBlock | undefined;
  closed: (() => void) | undefined;
  /** Called when the peer has ended the incoming stream. */
  readonly onEnd: (() => void) | undefined;
  /** How many streams are open in each direction: 0 or 1. */
  #incoming = 0;
  #outgoing = 0;

  constructor(host: CallStreamsHost, id: number, onEnd?: () => void) {
    this.host = host;
    this.sendBuffer = host.context.sendBuffer;
    this.id = id;
    this.onEnd = onEnd;
  }

  protected openReader(counts: boolean): ReadableStream<unknown> {
    this.host.opened(this, this.#incoming = 1, 0);
    this.reader = new StreamReader(this, counts);
    return this.reader.readable;
  }

  /** Counts the stream that is written. */
  protected openWriter(): void {
    this.host.opened(this, 0, this.#outgoing = 1);
  }

  /** Starts to write: the peer knows of the stream. */
  start(): void {
    const granted = this.host.context.helloReceived()?.streams;
    this.writer?.start(granted?.credit ?? 0);
  }

  close(): void {
    this.host.closed(this, this.#incoming, this.#outgoing);
    this.#incoming = this.#outgoing = 0;
    this.reader?.onCallClosed();
    this.closed?.();
  }

  release(reason: unknown): void {
    this.reader?.abort(reason);
    this.writer?.release(reason);
  }

  prepare(item: unknown): void {
    const { met } = references;
    this.host.context.codec.prepare(item, false, undefined, "item");
    refuseReferences(met);
  }

  /** Ends the result, if it is a stream, in order. */
  abstract endResult(reason: RpcError): void;
  abstract annotate(error: RpcError): RpcError;
  abstract toRpcError(error: unknown): StreamFailure;
  abstract outgoingTrailers(failed: boolean): MetadataBlock | undefined;
  abstract onSourceDone(thrown: Thrown | undefined): void;

  /** The peer wants no more of the outgoing stream. */
  onStop(reason: RpcError): void {
    this.writer?.cancel(reason);
  }
}

/** The streams of an outgoing call: its params are sent, its result arrives. */
export class CallerStreams extends CallStreams implements OutgoingStreams {
  readonly caller = true;
  readonly #call: OutgoingStreamCall;
  #sendsBody = false;
  #makeTrailers: CallOptions["trailers"];

  constructor(
    host: CallStreamsHost,
    call: OutgoingStreamCall,
    onEnd: () => void,
  ) {
    super(host, 0, onEnd);
    this.#call = call;
  }

  setParams(params: unknown, options: CallOptions | undefined): void {
    const { body, trailers } = options ?? {};
    this.#makeTrailers = trailers;
    this.#sendsBody = body !== undefined;
    const stream = body ?? params;
    if (!isStream(stream)) {
      const received = typeName(stream);
      throw new TypeError(
        `Cannot send the body: expected a stream, received ${received}`,
      );
    }
    if (isInstanceOf(params, ValueWithBody) || body && isStream(params)) {
      throw new TypeError(
        "Cannot send a body: pass it as the option `body`, beside params that are no stream",
      );
    }
    // A call that waited for a connection was made in another async context.
    const scope = this.#call.extra?.scope ?? scopeOfNow();
    try {
      this.writer = new StreamWriter(this, toScopedSource(stream, scope));
    } catch (cause) {
      const what = body ? "the body is" : "the params are";
      const text = `${what} a stream that is in use already`;
      const options = { outcome: "not_sent", cause } as const;
      throw new RpcError("invalid_argument", text, options);
    }
  }

  get canSend(): boolean {
    return this.writer === undefined || this.host.hasRoom;
  }

  checkFit(): void {
    const error = this.writer && this.host.refusal("not_sent");
    if (error !== undefined) throw error;
  }

  onWritten(id: number): void {
    this.id = id;
    if (this.writer !== undefined) this.openWriter();
  }

  markBody(): void {
    if (this.#sendsBody) this.host.frames.markBody();
  }

  openResult(id: number): OpenedResult {
    const { codec } = this.host.context;
    const hasBody = codec.hasBody === true;
    let value: unknown;
    let thrown: Thrown | undefined;
    try {
      if (hasBody) value = codec.value();
    } catch (error) {
      thrown = { error };
    }
    // The user's serializer may have ended the connection.
    if (this.#call.state === "done") return { failed: true, result: undefined };
    this.id = id;
    const readable = this.openReader(true);
    const { ending } = this.host;
    if (ending !== undefined) this.endResult(ending);
    if (thrown === undefined) {
      const result = hasBody ? new ValueWithBody(value, readable) : readable;
      return { failed: false, result };
    }
    const text = "the reply's payload does not parse";
    const error = new RpcError("invalid_reply", text, { cause: thrown.error });
    this.reader?.fault(error);
    return { failed: true, result: error };
  }

  endResult(reason: RpcError): void {
    this.reader?.finish(reason);
  }

  annotate(error: RpcError): RpcError {
    return this.#call.annotate(error);
  }

  toRpcError(error: unknown): StreamFailure {
    return toSendableError(error) ?? FAILED;
  }

  outgoingTrailers(failed: boolean): MetadataBlock | undefined {
    const make = failed ? undefined : this.#makeTrailers;
    return make && toTrailers(make(), this.host.maxControl);
  }

  onSourceDone(): void {}
}

/** The streams of an incoming call: its params arrive, its result is sent. */
export class CalleeStreams<C extends IncomingStreamCall> extends CallStreams
  implements IncomingStreams {
  readonly caller = false;
  resultError: RpcError | undefined;
  readonly #call: C;
  readonly #callHost: IncomingStreamHost<C>;
  #readsBody = false;

  constructor(
    host: CallStreamsHost,
    call: C,
    callHost: IncomingStreamHost<C>,
  ) {
    super(host, call.id);
    this.#call = call;
    this.#callHost = callHost;
  }

  takeParams(): ReadableStream<unknown> | undefined {
    this.reader?.count();
    return this.#readsBody ? undefined : this.reader?.readable;
  }

  get body(): ReadableStream<unknown> | undefined {
    return this.#readsBody ? this.reader?.readable : undefined;
  }

  open(isBody: boolean): void {
    this.#readsBody = isBody;
    this.openReader(false);
  }

  markBody(): void {
    this.host.frames.markBody();
  }

  setResult(result: PullSource): RpcError | undefined {
    const error = this.host.refusal("executed");
    if (error !== undefined) {
      // That the peer or the protocol has no streams is for the operator.
      return error.code === "invalid_argument"
        ? this.#callHost.unserializableResult(this.#call, error)
        : error;
    }
    this.writer = new StreamWriter(this, result);
    this.openWriter();
    return undefined;
  }

  override start(): void {
    super.start();
    const { ending } = this.host;
    if (ending !== undefined) this.endResult(ending);
  }

  endResult(reason: RpcError): void {
    this.writer?.complete(reason);
  }

  cancel(reason: unknown): void {
    this.reader?.abort(reason);
    this.writer?.cancel(reason, toSendableError(reason));
  }

  onConnectionLost(reason: unknown): void {
    this.reader?.onConnectionLost(reason);
    this.writer?.release(reason);
  }

  /** Leaves an error as it is: the params are the peer's, and no call of the local side has failed. */
  annotate(error: RpcError): RpcError {
    return error;
  }

  override prepare(item: unknown): void {
    try {
      super.prepare(item);
    } catch (error) {
      throw this.#callHost.unserializableResult(this.#call, error);
    }
  }

  toRpcError(error: unknown): StreamFailure {
    return this.resultError = this.#callHost.streamError(this.#call, error);
  }

  outgoingTrailers(): MetadataBlock | undefined {
    return this.#call.resultTrailers;
  }

  onSourceDone(thrown: Thrown | undefined): void {
    this.#callHost.streamDone(this.#call, thrown);
  }

  /** Aborts the handler, too: it may be making the next item, which nobody waits for. */
  override onStop(reason: RpcError): void {
    this.#call.abort(() => reason);
    super.onStop(reason);
  }
}

const FAILED: StreamFailure = {
  code: "cancelled",
  message: "the caller's stream has failed",
};
