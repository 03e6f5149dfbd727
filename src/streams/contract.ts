/**
 * What calls and connections see of streams.
 *
 * Streams are a feature that is passed in: these types are all that the rooms
 * above know of them, and a program that passes no {@linkcode StreamSupport}
 * carries no code for streams.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import type { LargeReads } from "../base/large_reads.ts";
import type { RpcError } from "../base/errors.ts";
import type { PullSource, StreamValue, Thrown } from "../base/pull_source.ts";
import type { Limits, StreamGrant } from "../types/connection.ts";
import type { StreamStats } from "../types/stats.ts";
import type { Codec, StreamCodec, StreamFrameHandler } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

/** Streams as a feature; made by `streams()`. */
export interface StreamSupport {
  /** The frames of streams on the native protocol. */
  readonly codec: StreamCodec;
  /** Makes the table of one connection's streams. */
  table(context: StreamTableContext): ConnectionStreams;
}

/** What the streams of a connection need of it. */
export interface StreamTableContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly limits: Limits;
  /** What the peer's HELLO grants: no `streams` if it accepts none; undefined before HELLO. */
  granted(): { readonly streams?: StreamGrant } | undefined;
  /** Decides when a large message may be read, on a server. */
  readonly largeReads: LargeReads | undefined;
  /** The largest message body that the peer accepts, in bytes. */
  peerMaxMessage(): number;
  /** Called when the items that wait to be sent have grown by another 16 KiB. */
  onGrown(): void;
  /**
   * The streams of a call in flight, by who made it (`ours`): `null` if it has
   * none, undefined if the call is over.
   *
   * @throws {ConnectionError} `protocol_error`, if there never was such a call.
   */
  find(id: number, ours: boolean): CallStreamsView | null | undefined;
}

/** All streams of one connection. */
export interface ConnectionStreams extends StreamFrameHandler {
  /** What the waiting items take, in both directions, with a charge for each stream, in bytes. */
  readonly heldBytes: number;
  readonly numbers: StreamStats;
  /**
   * Checks that one more stream may come in.
   *
   * @throws {ConnectionError} `resource_exhausted`, if it is one too many.
   */
  checkRoom(): void;
  /** Makes the streams of an outgoing call; `ended` is called when its result stream has ended. */
  outgoing(call: OutgoingStreamCall, ended: () => void): OutgoingStreams;
  /** Makes the streams of an incoming call. */
  incoming<C extends IncomingStreamCall>(
    call: C,
    host: IncomingStreamHost<C>,
  ): IncomingStreams;
  /** Lets the writers write for which there is credit and room. */
  writeReady(): void;
  /** The peer has sent its FIN: writers that need credit get none. */
  onPeerHalfClose(): void;
  /** This side closes, and ends result streams without waiting for them. */
  endResults(reason: RpcError): void;
}

/** What is read of one stream of a call. */
export interface ReaderView {
  readonly readable: ReadableStream<unknown>;
  /** Items that its user has read. */
  readonly items: number;
  /** Why it failed, if it did. */
  readonly failure: { readonly error: unknown } | undefined;
  /** The connection is lost: what has come can still be read. */
  onConnectionLost(reason: unknown): void;
}

/** What is read of one stream that is sent. */
export interface WriterView {
  /** Items taken from the source. */
  readonly items: number;
  /** Ends it because its call is over: the peer is not notified. */
  release(reason: unknown): void;
}

/** The streams of one call: at most one in each direction. */
export interface CallStreamsView {
  readonly reader: ReaderView | undefined;
  readonly writer: WriterView | undefined;
  /** Called when the call has given its place in the window back. */
  closed: (() => void) | undefined;
  /** Ends both: the call is over or abandoned. */
  release(reason: unknown): void;
  /** The call has given its place in the window back. */
  close(): void;
}

/** What the streams of an outgoing call need of it. */
export interface OutgoingStreamCall {
  readonly extra: { readonly scope: Scope | undefined } | undefined;
  /** Names the call in an error that its caller gets. */
  blame<T>(error: T): T;
}

/** The streams of an outgoing call: its params go out, its result comes in. */
export interface OutgoingStreams extends CallStreamsView {
  /** Whether the result is a stream, which has begun. */
  readonly answered: boolean;
  /** Whether the call may be sent now. */
  readonly admitted: boolean;
  /** The failure of the params that made the call fail, if one did. */
  readonly cause: { readonly cause: unknown } | undefined;
  /**
   * Takes over the params.
   *
   * @throws {TypeError} If they are locked, or are no stream.
   */
  offer(params: StreamValue): void;
  /**
   * Checks that the call can be sent at some time; passes before the peer's HELLO.
   *
   * @throws {RpcError} If it cannot.
   */
  checkFit(): void;
  /** The request was written into the send buffer. */
  written(id: number): void;
  /** The request was handed to the transport. */
  handedOver(): void;
  /** The reply says that the result is a stream. */
  answer(id: number): ReadableStream<unknown>;
}

/** What the streams of an incoming call need of it. */
export interface IncomingStreamCall {
  readonly id: number;
  /** Fires the handler's signal. */
  abort(reason: () => unknown): void;
}

/** What serves incoming calls, for their streams. */
export interface IncomingStreamHost<C> {
  /** What the caller receives for an error that the handler's stream threw. */
  describeStream(call: C, error: unknown): RpcError;
  /** The same for an item that cannot be serialized. */
  unserializableResult(call: C, error: unknown): RpcError;
  /** The result stream and its cleanup are over; `thrown` is what the cleanup threw. */
  streamDone(call: C, thrown: Thrown | undefined): void;
}

/** The streams of an incoming call: its params come in, its result goes out. */
export interface IncomingStreams extends CallStreamsView {
  /** The error that the caller received for a result that failed. */
  readonly told: RpcError | undefined;
  /** The params are a stream. */
  accept(): void;
  /** Takes over the result; returns the call's error if the caller cannot take it. */
  reply(result: PullSource): RpcError | undefined;
  /** The reply was written: the result may be sent. */
  start(): void;
  /** The call was cancelled, or its deadline passed: the result ends when its cleanup is over. */
  cancel(reason: unknown): void;
  /** The peer is gone: params that have come whole can still be read. */
  onConnectionLost(reason: unknown): void;
}
