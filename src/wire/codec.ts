/**
 * The seam between a connection and its wire.
 *
 * A {@linkcode Codec} turns bytes into messages and back; one instance serves
 * one connection. What a wire can and cannot say stands in its
 * {@linkcode WireFeatures}: the connection, its pending table and its dispatch read
 * those and never ask which wire it is.
 *
 * Invariants owned here:
 * - Messages are told by calling a {@linkcode MessageHandler}, in the order of the
 *   bytes. A message's payload can be read (`value`) or kept (`keep`) during
 *   that call only: so a message costs no object, and a payload that does not
 *   parse fails its own call and no other.
 * - A payload is prepared, then written by exactly one `request`, `reply` or
 *   `failure`, with no user code between.
 *
 * @module
 */

import type { PeerHello, Serializer } from "../types/connection.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { MetadataBlock } from "./metadata.ts";
import type { FieldReader } from "./fields.ts";
import type { FrameBuffer } from "./frame_buffer.ts";
import type { FrameWriter } from "./frame_writer.ts";

import type { PayloadRole } from "./to_json.ts";

/** What a wire can say. */
export interface WireFeatures {
  /** The peer grants a window in its first message. Without, the caller's own setting is the window. */
  readonly window: boolean;
  /** GOAWAY exists. */
  readonly goaway: boolean;
  /** A request carries what is left of its deadline. */
  readonly deadline: boolean;
  /** PING exists, and is answered. */
  readonly ping: boolean;
  /** Streams exist; then the codec has {@linkcode Codec.streams}. */
  readonly streams: boolean;
  /** A cancelled call is answered all the same, never answered, or cannot be cancelled. */
  readonly cancel: "answered" | "silent" | "none";
  /**
   * What becomes of a call past the window we hold ourselves to: its caller
   * broke the rules (`close`; where it was granted one), the codec answers it
   * (`refuse`), or we read no further (`wait`; where one end alone calls, as
   * no answer to us can be held up by that).
   */
  readonly excess: "close" | "refuse" | "wait";
  /** An answer to a call nobody knows ends the connection, or is dropped. */
  readonly unknownReply: "close" | "drop";
}

/** What a codec tells; the connection implements it. All throw a ConnectionError on a breach of the rules. */
export interface MessageHandler {
  /** The peer's first message. */
  onHello(hello: PeerHello): void;
  /**
   * A call of the peer's. `size` is what it counts in the window; `remaining`
   * is what is left of its deadline in ms, or -1.
   */
  onRequest(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void;
  /** The result of a call of ours. */
  onReply(id: number, metadata?: MetadataBlock): void;
  /** The failure of a call of ours; its data is the payload. `started` is undefined where the wire does not tell. */
  onFailure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata?: MetadataBlock,
  ): void;
  /** The peer cancels a call of its own. */
  onCancel(id: number): void;
  /** The peer asks for a `pong` with this id. */
  onPing(id: number): void;
  /** An answer to our `ping`. */
  onPong(id: number): void;
  /** The peer serves none of our calls above `lastId`; none at all if undefined. `code` is empty for a plain drain. */
  onGoaway(lastId: number | undefined, code: string, text: string): void;
  /** Takes what is told of streams. */
  streams(): StreamFrameHandler | undefined;
  /**
   * Whether a message of so many bytes may be told now. Asked before each one
   * of {@linkcode LARGE} bytes and more by the codec, which else decodes no
   * further: it is called again, with the same bytes, when it may be.
   */
  mayRead(bytes: number): boolean;
  /** Whether the peer's calls fill what we hold. Asked between messages by the codec of a wire without windows, which then decodes no further. */
  full(): boolean;
}

/** A payload that waits: opaque to all but the codec that made it. */
export type Opaque = unknown;

/** Bytes to messages and back, for one connection. */
export interface Codec {
  /** What this wire can say. */
  readonly features: WireFeatures;
  /** What a message's size counts beyond the body that `maxMessage` bounds, in bytes. */
  readonly overhead: number;

  /**
   * Reads messages from `chunk`, beginning at `at`, at most `budget` of them;
   * returns how far it came.
   *
   * @throws {ConnectionError} If the bytes break the wire's rules.
   */
  decode(chunk: Uint8Array, at: number, budget: number): number;
  /**
   * The byte stream has ended.
   *
   * @throws {ConnectionError} `truncated`, if that is inside a message.
   */
  end(): void;
  /** Which message has begun and not ended, counted from the first; undefined between messages. */
  readonly unfinished: number | undefined;
  /** Bytes held of it. */
  readonly unfinishedBytes: number;
  /** Reads no message more, not even from the chunk it is in. */
  stop(): void;
  /** What was written before is the transport's now: for a wire with messages that nobody answers. */
  flushed?(): void;

  /** Whether the value of the request or reply being told is a stream: then it has no payload. */
  readonly streamed?: boolean;
  /** Writes the frames of streams, on a wire that has them. */
  readonly streams?: StreamFrameWriter;

  /** Bytes of the answer being told, as its size counts; undefined where the wire does not tell. */
  readonly answerSize?: number;
  /** The payload of the message being told. Throws if it does not parse. */
  value(): unknown;
  /** The payload of the message being told, undecoded, to `open` later. */
  retain(): Opaque;
  /** The value of a kept payload. Throws if it does not parse. */
  decodeRetained(kept: Opaque): unknown;
  /** About how many bytes of memory the value takes beyond its own bytes: of a kept payload, or of the one being told. */
  decodedSize(kept: Opaque): number;

  /**
   * Prepares a payload: `method`'s params or result, or an error's data, which
   * has no method. Bytes are copied unless `transfer`. `role` is for messages.
   *
   * @throws {RpcError} `invalid_argument` if the value has no form on this wire.
   */
  prepare(
    value: unknown,
    transfer: boolean,
    method?: string,
    role?: PayloadRole,
  ): void;
  /** What is prepared is for a call whose answer nobody waits for: on a wire that has notifications. */
  oneWay?(): void;
  /** Sets what is prepared aside, for a call that must wait. */
  savePrepared(): Opaque;
  /**
   * Prepares again what `save` returned.
   *
   * @throws {RpcError} `invalid_argument` if its bytes are gone since.
   */
  restorePrepared(draft: Opaque): void;

  /** The size a request with the prepared payload counts in the window. */
  requestSize(method: string, timed: boolean, metadata?: MetadataBlock): number;
  /** The size of a reply's body with the prepared payload, as `maxMessage` bounds it. */
  replySize(metadata?: MetadataBlock): number;

  /** Writes the first message. */
  hello(sendBuffer: FrameBuffer): void;
  /** The peer has been let in, where that was `guarded`: for a wire that takes less until then. */
  onPeerAuthorized?(): void;
  /** Writes a request with the prepared payload; `remaining` is -1 without a deadline. */
  request(
    sendBuffer: FrameBuffer,
    id: number,
    method: string,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void;
  /** Writes a reply with the prepared payload. */
  reply(sendBuffer: FrameBuffer, id: number, metadata?: MetadataBlock): void;
  /** Writes a failure with the prepared payload as its data; that, and the metadata, is left out where it would pass `maxMessage`. */
  failure(
    sendBuffer: FrameBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
    metadata?: MetadataBlock,
  ): void;
  /** Writes a cancel, ahead of all else if this wire can `retract` (so that its request has always gone before). */
  cancel(sendBuffer: FrameBuffer, id: number): void;
  /** Writes a ping. */
  ping(sendBuffer: FrameBuffer, id: number): void;
  /** Writes a pong, ahead of all that is not. */
  pong(sendBuffer: FrameBuffer, id: number): void;
  /** Writes a GOAWAY. */
  goaway(
    sendBuffer: FrameBuffer,
    lastId: number | undefined,
    code: string,
    text: string,
  ): void;
  /**
   * Takes back a request that is not handed over yet; `place` is what
   * `outbox.place` said when it was written. False if this wire cannot.
   */
  retract(sendBuffer: FrameBuffer, place: number): boolean;
  /** The id of the request (`ours`) or reply at `place` of what is not handed over yet; for a wire that lends users' bytes. */
  idAt?(sendBuffer: FrameBuffer, place: number): { id: number; ours: boolean };
}

/** What a codec is made with. */
export interface CodecSettings {
  /** What we tell the peer. */
  readonly hello: PeerHello;
  /** What we hold ourselves to, where no peer grants anything: on a wire without windows, the codec says this `hello` in the peer's place. */
  readonly own: PeerHello;
  /** Whether what we tell the peer leaves only once it has been let in. */
  readonly guarded?: boolean;
  /** The methods that are served, by name; undefined on a side that only calls. */
  readonly methodTable: ReadonlyMap<string, unknown> | undefined;
  /** Replaces JSON. */
  readonly serializer: Serializer | undefined;
  /** The frames of streams; undefined if this side has no streams. */
  readonly streams?: StreamCodec | undefined;
  /** Told of what a child printed between its messages; undefined where the bytes come from anything else, which must keep to the wire. */
  readonly stray?: (error: ConnectionError) => void;
}

/** Makes the codec of one connection. */
export type CodecFactory = (
  receiver: MessageHandler,
  settings: CodecSettings,
) => Codec;

/** A payload as it lies in a frame; lent for the time of the call. */
export interface PayloadView {
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
}

/** Bytes of one payload kind, to be sent in pieces. */
export interface Fragment {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** The stream that a frame belongs to, and the buffer that the frame is written into. */
export interface StreamAddress {
  readonly sendBuffer: FrameBuffer;
  /** The id of the stream's call. */
  readonly id: number;
  /** Whether the local side made the call. */
  readonly caller: boolean;
}

/** Writes the frames of streams. */
export interface StreamFrameWriter {
  /** Prepares the payload of a request or reply whose value is a stream. */
  prepare(): void;
  /** The size of the prepared item's payload, in bytes. */
  readonly size: number;
  /** Returns the prepared item as bytes. */
  cut(): Fragment;
  /** Writes the prepared item, which is at most MAX_DATA bytes. */
  data(stream: StreamAddress): void;
  /** Writes the bytes of an item from `start` to `end`; `more` says that other parts follow. */
  part(
    stream: StreamAddress,
    item: Fragment,
    start: number,
    end: number,
    more: boolean,
  ): void;
  /** Decodes the item in a frame. Throws if it does not parse. */
  open(view: PayloadView, owned: boolean): unknown;
  /** Writes the end of a stream. */
  end(stream: StreamAddress): void;
  /** Writes the failure of a stream. Leaves out its `data` if that cannot be encoded, or makes the body larger than `maxBody` bytes. */
  fail(stream: StreamAddress, error: StreamFailure, maxBody: number): void;
  /** Tells the producer that the reader wants no more items. Written ahead of frames that are not urgent. */
  stop(stream: StreamAddress, code: string, text: string): void;
  /** Grants the producer `bytes` more. Written ahead of frames that are not urgent. */
  credit(stream: StreamAddress, bytes: number): void;
}

/** The frames of streams on the native protocol, passed in by who wants streams. */
export interface StreamCodec {
  /** Makes what writes them. */
  writer(
    frames: FrameWriter,
    serializer: Serializer | undefined,
  ): StreamFrameWriter;
  /** Reads one and notifies `handler`; false if `kind` is not a frame of streams. */
  read(
    handler: StreamFrameHandler,
    kind: number,
    flags: number,
    id: number,
    body: FieldReader,
    owned: boolean,
  ): boolean;
}

/** Why a stream failed, in words that can be sent. */
export interface StreamFailure {
  readonly code: string;
  readonly message: string;
  readonly data?: unknown;
}

/** What a codec tells of streams. `caller` says whether the peer made the call. All throw a ConnectionError on a breach of the rules. */
export interface StreamFrameHandler {
  /** A frame of items; `owned` says that nobody else uses its bytes. */
  onData(
    id: number,
    caller: boolean,
    view: PayloadView,
    more: boolean,
    owned: boolean,
  ): void;
  /** The stream has ended; with a `code` it has failed, and the codec's current payload is the data of the error. */
  onEnd(id: number, caller: boolean, code?: string, message?: string): void;
  /** The reader of a stream of ours wants no more. */
  onStop(id: number, caller: boolean, code: string, text: string): void;
  /** The reader of a stream of ours grants more. */
  onCredit(id: number, caller: boolean, bytes: number): void;
}
