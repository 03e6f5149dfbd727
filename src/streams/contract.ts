/**
 * What calls and connections see of streams. A program that passes no
 * {@linkcode StreamSupport} carries no code for streams: the rooms above import
 * these types alone.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import type { LargeReads } from "../base/large_reads.ts";
import type { RpcError } from "../base/errors.ts";
import type { PullSource, Thrown } from "../base/pull_source.ts";
import type { Limits, StreamGrant } from "../types/connection.ts";
import type { StreamStats } from "../types/stats.ts";
import type {
  Codec,
  MakeWriteScheduler,
  StreamCodec,
  StreamFrameHandler,
} from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CallOptions } from "../types/call.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";

/** Streams as a feature: what `streams()` returns. */
export interface StreamSupport {
  /** Writes and reads the frames of streams on the native protocol. */
  readonly codec: StreamCodec;
  readonly scheduler: MakeWriteScheduler;
  /** Makes the table of one connection's streams. */
  table(context: StreamTableContext): ConnectionStreams;
}

/** What the streams of a connection use of it. */
export interface StreamTableContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly scheduler: WriteScheduler | undefined;
  readonly limits: Limits;
  /** Returns what the peer's HELLO grants: no `streams` if it accepts none; undefined before HELLO has arrived. */
  helloReceived(): { readonly streams?: StreamGrant } | undefined;
  /** On a server, decides when a large item may be decoded. */
  readonly largeReads: LargeReads | undefined;
  /** Returns the largest message body that the peer accepts, in bytes. */
  peerMaxMessage(): number;
  /** The end of the connection: once that has come, nothing is granted any more. */
  readonly shutdown: { readonly ended: boolean };
  /** Called each time that the items that wait to be sent have grown by 16 KiB. */
  onGrown(): void;
  /**
   * Finds the streams of an outgoing or an incoming call: `null` if it has
   * none, undefined if the call is over.
   *
   * @throws {ConnectionError} `protocol_error`, if there never was such a call.
   */
  find(id: number, outgoing: boolean): CallStreamsView | null | undefined;
}

/** All streams of one connection. */
export interface ConnectionStreams extends StreamFrameHandler {
  /** Bytes of the items that wait in either direction, and a charge for each stream. */
  readonly heldBytes: number;
  readonly numbers: StreamStats;
  /**
   * Checks that the peer may open one more stream.
   *
   * @throws {ConnectionError} `resource_exhausted`, if it may not.
   */
  checkRoom(): void;
  /** Makes the streams of an outgoing call; `ended` is called when its result stream has ended. */
  outgoing(call: OutgoingStreamCall, ended: () => void): OutgoingStreams;
  /** Makes the streams of an incoming call. */
  incoming<C extends IncomingStreamCall>(
    call: C,
    host: IncomingStreamHost<C>,
  ): IncomingStreams;
  /** Called when the peer's FIN has arrived: streams that need more credit to go on fail. */
  onPeerHalfClose(): void;
  /** Ends result streams in order, because the connection closes. */
  endResults(reason: RpcError): void;
}

/** What others see of an incoming stream. */
export interface ReaderView {
  /** Items that have arrived. */
  readonly items: number;
  /** Why it failed, if it did. */
  readonly failure: { readonly error: unknown } | undefined;
  /** Called when the connection is lost. Items of a stream that its producer has ended can still be read. */
  onConnectionLost(reason: unknown): void;
}

/** What others see of an outgoing stream. */
export interface WriterView {
  /** Items taken from the source. */
  readonly items: number;
  /** Why it failed, if it did. */
  readonly failure: { readonly error: unknown } | undefined;
  /** Ends it because its call is over; the peer is not notified. */
  release(reason: unknown): void;
}

/** The streams of one call: at most one in each direction. */
export interface CallStreamsView {
  readonly reader: ReaderView | undefined;
  readonly writer: WriterView | undefined;
  /** Came with the END of the incoming stream; undefined before, and if it had none. */
  readonly trailers: MetadataBlock | undefined;
  /** Called when the call is closed. */
  closed: (() => void) | undefined;
  /** Ends both because the call has ended or was given up; the peer is not notified. */
  release(reason: unknown): void;
  /** Called when the call no longer occupies a slot of the window; nor do its streams. */
  close(): void;
}

/** What the streams of an outgoing call use of it. */
export interface OutgoingStreamCall {
  readonly extra: { readonly scope: Scope | undefined } | undefined;
  /** `done` when it is over. */
  readonly state: string;
  /** Names the call in an error that its caller gets. */
  annotate<T>(error: T): T;
}

/** What a caller gets for a result that has a stream: that, or why it gets none. */
export interface OpenedResult {
  readonly failed: boolean;
  readonly result: unknown;
}

/** The streams of an outgoing call: `writer` sends its params, `reader` has its result. */
export interface OutgoingStreams extends CallStreamsView {
  /** Whether the peer has room for the stream that the call opens. */
  readonly canSend: boolean;
  /**
   * Takes over the stream that the call sends: its params if they are one, else its body.
   *
   * @throws {RpcError} If they are locked, or have no iterator.
   * @throws {TypeError} If the body is no stream, or there are params that are one, too.
   */
  setParams(params: unknown, options: CallOptions | undefined): void;
  /**
   * Checks that the call can be sent sooner or later. Passes before the peer's HELLO.
   *
   * @throws {RpcError} If it cannot.
   */
  checkFit(): void;
  /** The request that is written next says that it has a body, if it does. */
  markBody(): void;
  /** Called when the request was written into the send buffer. */
  onWritten(id: number): void;
  /** Starts to send the params; called when the request was handed to the transport. */
  start(): void;
  /**
   * Opens the result; called when the reply says that it is a stream, or has a
   * body. Decodes the value beside a body, which may end the call: then the
   * result is of no use. If that value does not parse, the peer is told to stop.
   */
  openResult(id: number): OpenedResult;
}

/** What the streams of an incoming call use of it. */
export interface IncomingStreamCall {
  readonly id: number;
  /** What the handler has set as the trailers of the result. */
  readonly resultTrailers: MetadataBlock | undefined;
  /** Fires the handler's signal. */
  abort(reason: () => unknown): void;
}

/** What serves incoming calls, as their streams see it. */
export interface IncomingStreamHost<C> {
  /** Turns what the handler's stream threw into what the caller receives. */
  streamError(call: C, error: unknown): RpcError;
  /** Does the same for an item that cannot be serialized. */
  unserializableResult(call: C, error: unknown): RpcError;
  /** Called when the result stream and its cleanup are over; `thrown` is what the cleanup threw. */
  streamDone(call: C, thrown: Thrown | undefined): void;
}

/** The streams of an incoming call: `reader` has its params, `writer` sends its result. */
export interface IncomingStreams extends CallStreamsView {
  /** The error that the caller received for a result that failed. */
  readonly resultError: RpcError | undefined;
  /** Opens the params, or the body. Until the handler starts they do not count against the connection's credit. */
  open(isBody: boolean): void;
  /** The handler starts: returns its params; undefined if they are not a stream. */
  takeParams(): ReadableStream<unknown> | undefined;
  /** The stream beside the params, if there is one. */
  readonly body: ReadableStream<unknown> | undefined;
  /** Takes over the result; returns the call's error if it cannot be sent. */
  setResult(result: PullSource): RpcError | undefined;
  /** The reply that is written next says that it has a body. */
  markBody(): void;
  /** Starts to send the result; called when the reply was written. */
  start(): void;
  /** Cancels both because the call was cancelled or its deadline passed; the result ends when its cleanup is over. */
  cancel(reason: unknown): void;
  /** Called when the connection is lost. Params that have arrived whole can still be read. */
  onConnectionLost(reason: unknown): void;
}
