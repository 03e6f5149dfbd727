/**
 * The streams of one call: at most one each way.
 *
 * Invariants owned here:
 * - They share the call's id; which one a frame is about follows from its kind
 *   and from who made the call.
 * - They take their places among the connection's streams when they are opened,
 *   and give them back once, with the call's own.
 *
 * @module
 */

import { scopeOfNow } from "../base/async_context.ts";
import { type Outcome, RpcError, toSendableError } from "../base/errors.ts";
import type { LargeRead } from "../base/large_reads.ts";
import type { StreamGrant } from "../types/connection.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { StreamReader, StreamReaderOwner } from "./stream_reader.ts";
import { StreamWriter, type StreamWriterOwner } from "./stream_writer.ts";
import {
  type PullSource,
  type StreamValue,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import type {
  CallStreamsView,
  IncomingStreamCall,
  IncomingStreamHost,
  IncomingStreams,
  OutgoingStreamCall,
  OutgoingStreams,
} from "./contract.ts";
import type {
  PayloadView,
  StreamFailure,
  StreamFrameWriter,
} from "../wire/codec.ts";
import type { WriteScheduler } from "./write_scheduler.ts";

/** What the streams of a call need of the table they are in. */
export interface StreamHub {
  readonly sendBuffer: FrameBuffer;
  readonly frames: StreamFrameWriter;
  readonly turns: WriteScheduler;
  readonly peerHalfClosed: boolean;
  readonly most: number;
  readonly room: boolean;
  readonly grant: StreamGrant;
  readonly ending: RpcError | undefined;
  refusal(outcome: Outcome): RpcError | undefined;
  prepare(item: unknown): void;
  enter(streams: CallStreams): void;
  leave(streams: CallStreams): void;
  close(streams: CallStreams, ins: number, outs: number): void;
  streamReader(owner: StreamReaderOwner): StreamReader;
  largeRead(again: () => void): LargeRead | undefined;
  waits(bytes: number): void;
}

/** What both sides of a call have in common. */
export abstract class CallStreams
  implements StreamReaderOwner, StreamWriterOwner, CallStreamsView {
  /** What comes in, and what goes out. */
  reader: StreamReader | undefined;
  writer: StreamWriter | undefined;
  /** Whether this end made the call. */
  abstract readonly caller: boolean;
  protected readonly hub: StreamHub;
  id = 0;
  /** Told when the call has given its place back. */
  closed: (() => void) | undefined;
  /** Places taken. */
  #in = 0;
  #out = 0;

  constructor(hub: StreamHub) {
    this.hub = hub;
  }

  get sendBuffer(): FrameBuffer {
    return this.hub.sendBuffer;
  }

  get frames(): StreamFrameWriter {
    return this.hub.frames;
  }

  get turns(): WriteScheduler {
    return this.hub.turns;
  }

  get peerHalfClosed(): boolean {
    return this.hub.peerHalfClosed;
  }

  get most(): number {
    return this.hub.most;
  }

  /** Takes a place for what comes in, and opens it. */
  protected openIn(): ReadableStream<unknown> {
    this.hub.enter(this);
    this.#in = 1;
    const streamReader = this.hub.streamReader(this);
    this.reader = streamReader;
    return streamReader.readable;
  }

  /** Takes a place for what goes out. */
  protected openOut(): void {
    this.hub.leave(this);
    this.#out = 1;
  }

  /** The call has given its place back; so do they. */
  close(): void {
    this.hub.close(this, this.#in, this.#out);
    this.#in = this.#out = 0;
    this.reader?.settle();
    this.closed?.();
  }

  /** The call has ended, or is given up: both are ended, and nobody is told. */
  release(reason: unknown): void {
    this.reader?.abort(reason);
    this.writer?.release(reason);
  }

  /** The result, if it is a stream, ends in order. */
  abstract endResult(reason: RpcError): void;

  // What the inlet asks.

  credit(bytes: number): void {
    this.frames.credit(this.sendBuffer, this.id, this.caller, bytes);
  }

  stop(reason: unknown): void {
    const { code, message } = toSendableError(reason) ?? UNWANTED;
    this.frames.stop(this.sendBuffer, this.id, this.caller, code, message);
  }

  largeRead(again: () => void): LargeRead | undefined {
    return this.hub.largeRead(again);
  }

  open(view: PayloadView, owned: boolean): unknown {
    return this.frames.open(view, owned);
  }

  abstract unreadable(cause: unknown): RpcError;
  abstract blame(error: RpcError): RpcError;

  // What the outlet asks.

  waits(bytes: number): void {
    this.hub.waits(bytes);
  }

  abstract prepare(item: unknown): void;
  abstract toRpcError(error: unknown): StreamFailure;
  abstract done(thrown: Thrown | undefined): void;

  // What the peer says.

  /** The stream that comes in has ended. */
  abstract ended(): void;
  /** The reader of what goes out wants no more. */
  abstract stopped(reason: RpcError): void;
  /** The error of a stream that came in. */
  abstract failure(code: string, message: string, data: unknown): RpcError;
}

/** Those of a call that this end makes: its params go out, its result comes in. */
export class CallerStreams extends CallStreams implements OutgoingStreams {
  readonly caller = true;
  readonly #call: OutgoingStreamCall;
  readonly #ended: () => void;

  constructor(hub: StreamHub, call: OutgoingStreamCall, ended: () => void) {
    super(hub);
    this.#call = call;
    this.#ended = ended;
  }

  /**
   * Takes the params over.
   *
   * @throws {TypeError} If they are locked, or no stream after all.
   */
  offer(params: StreamValue): void {
    // One that waited for a connection was made in another context than this.
    const scope = this.#call.extra?.scope ?? scopeOfNow();
    this.writer = new StreamWriter(this, toScopedSource(params, scope));
  }

  /** Whether the call may be sent now. */
  get admitted(): boolean {
    return this.writer === undefined || this.hub.room;
  }

  /**
   * Says whether it can ever be sent; before the peer's HELLO is read, nobody knows.
   *
   * @throws {RpcError} If it cannot.
   */
  checkFit(): void {
    if (this.writer === undefined) return;
    const error = this.hub.refusal("not_sent");
    if (error !== undefined) throw error;
  }

  /** The request has been written. */
  written(id: number): void {
    this.id = id;
    if (this.writer !== undefined) this.openOut();
  }

  /** It has been handed over: the peer knows of the stream when it reads what follows. */
  handedOver(): void {
    this.writer?.start(this.hub.grant.credit);
  }

  /** Whether the result is a stream, which has begun. */
  get answered(): boolean {
    return this.reader !== undefined;
  }

  /** What a failure of the call was brought about by, if by the params. */
  get cause(): { readonly cause: unknown } | undefined {
    const failure = this.writer?.failure;
    return failure && { cause: failure.error };
  }

  /** The answer is a stream. */
  answer(id: number): ReadableStream<unknown> {
    this.id = id;
    const readable = this.openIn();
    if (this.hub.ending) this.endResult(this.hub.ending);
    return readable;
  }

  endResult(reason: RpcError): void {
    this.reader?.finish(reason);
  }

  unreadable(cause: unknown): RpcError {
    const text = "an item of the result does not parse";
    return new RpcError("invalid_reply", text, { cause });
  }

  blame(error: RpcError): RpcError {
    return this.#call.blame(error);
  }

  prepare(item: unknown): void {
    this.hub.prepare(item);
  }

  toRpcError(error: unknown): StreamFailure {
    return toSendableError(error) ?? FAILED;
  }

  done(): void {}

  ended(): void {
    this.#ended();
  }

  stopped(reason: RpcError): void {
    this.writer?.cancel(reason);
  }

  failure(code: string, message: string, data: unknown): RpcError {
    return this.blame(new RpcError(code, message, { data, remote: true }));
  }
}

/** Those of a call that this end serves: its params come in, its result goes out. */
export class CalleeStreams<C extends IncomingStreamCall> extends CallStreams
  implements IncomingStreams {
  readonly caller = false;
  /** What the caller was told of a result that failed. */
  told: RpcError | undefined;
  readonly #call: C;
  readonly #host: IncomingStreamHost<C>;

  constructor(hub: StreamHub, call: C, host: IncomingStreamHost<C>) {
    super(hub);
    this.id = call.id;
    this.#call = call;
    this.#host = host;
  }

  /** The params are a stream. */
  accept(): void {
    this.openIn();
  }

  /** Takes the result over; returns what the call fails with if its caller cannot take it. */
  reply(result: PullSource): RpcError | undefined {
    const error = this.hub.refusal("executed");
    if (error !== undefined) {
      // That the peer, or the wire, has no streams is for the operator.
      const own = error.code === "invalid_argument";
      return own ? this.#host.unserializableResult(this.#call, error) : error;
    }
    this.writer = new StreamWriter(this, result);
    this.openOut();
    return undefined;
  }

  /** The reply has been written. */
  start(): void {
    this.writer?.start(this.hub.grant.credit);
    if (this.hub.ending) this.endResult(this.hub.ending);
  }

  endResult(reason: RpcError): void {
    this.writer?.complete(reason);
  }

  /** The call is cancelled, or late: the result ends when its cleanup is over. */
  cancel(reason: unknown): void {
    this.reader?.abort(reason);
    this.writer?.cancel(reason, toSendableError(reason));
  }

  /** The peer is gone: params that have come whole can still be read. */
  onConnectionLost(reason: unknown): void {
    this.reader?.onConnectionLost(reason);
    this.writer?.release(reason);
  }

  unreadable(cause: unknown): RpcError {
    const text = "an item of the params does not parse";
    return new RpcError("invalid_argument", text, { cause });
  }

  /** What comes in is its caller's: no call of this end's has failed. */
  blame(error: RpcError): RpcError {
    return error;
  }

  prepare(item: unknown): void {
    try {
      this.hub.prepare(item);
    } catch (error) {
      throw this.#host.unserializableResult(this.#call, error);
    }
  }

  toRpcError(error: unknown): StreamFailure {
    return this.told = this.#host.describeStream(this.#call, error);
  }

  done(thrown: Thrown | undefined): void {
    this.#host.streamDone(this.#call, thrown);
  }

  ended(): void {}

  /** Nobody waits for the call any more: its handler may be in the middle of making the next item. */
  stopped(reason: RpcError): void {
    this.#call.abort(() => reason);
    this.writer?.cancel(reason);
  }

  failure(code: string, message: string, data: unknown): RpcError {
    const options = { outcome: "unknown", data, remote: true } as const;
    return new RpcError(code, message, options);
  }
}

const UNWANTED: StreamFailure = {
  code: "cancelled",
  message: "the reader has cancelled the stream",
};
const FAILED: StreamFailure = {
  code: "cancelled",
  message: "the caller's stream has failed",
};
