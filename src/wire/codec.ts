/**
 * The interface between a connection and its protocol.
 *
 * A {@linkcode Codec} turns bytes into messages and back; one instance serves
 * one connection. {@linkcode WireFeatures} says what the protocol supports: the
 * connection reads that and never asks which protocol it is.
 *
 * Invariants owned here:
 * - A codec delivers messages by calling a {@linkcode MessageHandler}, in the
 *   order of the bytes. The payload of a message can be read (`value`) or
 *   retained (`retain`) during that call only. So a message needs no object,
 *   and a payload that cannot be parsed fails its own call and no other.
 * - A payload is prepared and then written by exactly one `request`, `reply` or
 *   `failure`, with no user code in between.
 *
 * @module
 */

import type { ConnectionError } from "../base/errors.ts";
import type { CallWindow, Limits, PeerHello } from "../types/connection.ts";
import type { FieldReader } from "./fields.ts";
import type { FrameReceiver } from "./frame_decoder.ts";
import type {
  FrameBuffer,
  MakeLargeMessage,
  ReplyBuffer,
} from "./frame_buffer.ts";
import type { WriteScheduler } from "./fragments/write_scheduler.ts";
import type { MetadataBlock } from "./metadata.ts";
import type { PayloadEncoder, PayloadView } from "./values/payload.ts";
import type { AnySerializer } from "./values/serializers.ts";
import type { PayloadRole } from "./values/to_json.ts";

/** What a protocol supports. */
export interface WireFeatures {
  /** The peer grants a window in its first message. Without it, the caller's own setting is the window. */
  readonly window: boolean;
  /** There is a GOAWAY. */
  readonly goaway: boolean;
  /** A request carries the time until its deadline. */
  readonly deadline: boolean;
  /** There are PING and PONG. */
  readonly ping: boolean;
  /** Streams can be sent; then the codec may have {@linkcode Codec.streams}. */
  readonly streams: boolean;
  /** A cancelled call gets a reply all the same, gets none, or calls cannot be cancelled. */
  readonly cancel: "answered" | "silent" | "none";
  /**
   * What happens when the peer makes more calls than the local window:
   *
   * - `close`: the connection ends, as the peer was granted a window and broke
   *   the rules.
   * - `refuse`: the codec replies with an error.
   * - `wait`: nothing more is read. Only where one side alone makes calls, so
   *   that no reply to the local side can be held up.
   */
  readonly excess: "close" | "refuse" | "wait";
  /** A reply to an unknown call ends the connection, or is dropped. */
  readonly unknownReply: "close" | "drop";
}

/**
 * Takes the messages that a codec has read; the connection implements it. Each
 * method throws a ConnectionError if the message breaks the rules.
 */
export interface MessageHandler {
  /** The peer's first message. */
  onHello(hello: PeerHello): void;
  /**
   * A call by the peer. `size` is what it counts in the window; `remaining` is
   * the time until its deadline in ms, or -1 without one. `links` are there
   * only if it has to do with the results of other calls.
   */
  onRequest(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
    links?: RequestLinks,
  ): void;
  /** The peer refers to the result of one of its calls no more. */
  onRelease(id: number): void;
  /** A call by the peer whose request arrives in fragments, of which this was the first; `onRequest` follows when it is whole. `size` is what it counts in the window. */
  onRequestBegun(id: number, size: number): void;
  /** The request that had begun is whole: `onRequest` follows at once. */
  onRequestWhole(): void;
  /** The peer has given up the request that had begun. */
  onRequestAborted(): void;
  /** The result of a local call. */
  onReply(id: number, metadata?: MetadataBlock): void;
  /** The failure of a local call; the payload is the error's data. `started` is undefined where the protocol does not carry it. */
  onFailure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata?: MetadataBlock,
  ): void;
  /** The peer cancels one of its calls. */
  onCancel(id: number): void;
  /** The peer wants a `pong` with this id. */
  onPing(id: number): void;
  /** The reply to a local `ping`. */
  onPong(id: number): void;
  /**
   * The peer serves no local call after `lastId`; none at all if that is
   * undefined. If it is Infinity, this is a warning: the peer begins to close, and
   * still serves what is sent to it. `code` is empty for a graceful close.
   */
  onGoaway(lastId: number | undefined, code: string, text: string): void;
  /** The peer moves the window that it grants; with `ack`, it obeys the window that it was granted with the same values. `id` is the number of the update. */
  onWindow(id: number, window: CallWindow, ack: boolean): void;
  /** The peer makes no more calls; with `all` it sends nothing more, and the codec is to be stopped. */
  onLast(all: boolean): void;
  /** The handler for the frames of streams. */
  streams(): StreamFrameHandler | undefined;
  /**
   * Whether a message of so many bytes may be delivered now. The codec asks
   * before each message of {@linkcode LARGE} bytes and more. On false it stops
   * decoding; it is called again with the same bytes later.
   */
  mayRead(bytes: number): boolean;
  /** Whether the peer's calls fill the local window. The codec of a protocol without windows asks between messages and stops decoding on true. */
  full(): boolean;
}

/** Turns bytes into messages and back, for one connection. */
export interface Codec {
  /** What the protocol supports. */
  readonly features: WireFeatures;
  /** Bytes that the size of a message counts besides the body that `maxMessage` limits. */
  readonly overhead: number;
  /** Whether only the peer's HELLO decides how values are encoded: no call is sent before it. Read when the connection is made. */
  readonly undecided?: boolean;

  /**
   * Reads at most `budget` messages from `chunk`, beginning at `at`; returns
   * where it stopped.
   *
   * @throws {ConnectionError} If the bytes break the rules of the protocol.
   */
  decode(chunk: Uint8Array, at: number, budget: number): number;
  /**
   * Checks that the byte stream may end here.
   *
   * @throws {ConnectionError} `truncated` inside a message.
   */
  end(): void;
  /** The number of the oldest message that has begun and not ended, 1 for the first; undefined between messages. */
  readonly unfinished: number | undefined;
  /** Bytes of it that have been received. */
  readonly unfinishedBytes: number;
  /** Stops decoding, also of the current chunk. What follows is taken, and dropped. */
  stop(): void;
  /** The transport has taken all that was written before. For a protocol with messages that get no reply. */
  flushed?(): void;

  /** Whether the current request or reply opens a stream: its value, which then has no payload, or its body. */
  readonly opensStream?: boolean;
  /** Whether that stream is a body, beside the value. */
  readonly hasBody?: boolean;
  /** Whether the current request goes ahead of those that wait. */
  readonly urgent?: boolean;
  /** Writes the frames of streams, if the protocol and this side support them. */
  readonly streams?: StreamFrameWriter;

  /** Bytes of the current reply, counted like `requestSize`; undefined where the protocol does not tell. */
  readonly receivedSize?: number;
  /** The payload of the current message. Throws if it cannot be parsed. */
  value(): unknown;
  /** The payload of the current message, not decoded yet; for `decodeRetained`. */
  retain(): unknown;
  /** The value of a retained payload. Throws if it cannot be parsed. */
  decodeRetained(retained: unknown): unknown;
  /** About how many bytes of memory the value takes besides its own bytes. Of a retained payload, or of the current one if that is undefined. */
  decodedSize(retained: unknown): number;

  /**
   * Prepares a payload: the params or the result of `method`, or the data of an
   * error, which has no method. Bytes are copied unless `transfer`. Error
   * messages name the value by its `role`.
   *
   * @throws {RpcError} `invalid_argument` if the value cannot be serialized.
   */
  prepare(
    value: unknown,
    transfer: boolean,
    method?: string,
    role?: PayloadRole,
  ): void;
  /** The prepared payload is for a call without a reply; for a protocol that has notifications. */
  markNotification?(): void;
  /** Sets the prepared payload aside, for a call that must wait. */
  savePrepared(): unknown;
  /**
   * Prepares what `savePrepared` returned.
   *
   * @throws {RpcError} `invalid_argument` if its bytes have lost their memory.
   */
  restorePrepared(prepared: unknown): void;

  /** The size that a request with the prepared payload counts in the window. */
  requestSize(method: string, timed: boolean, metadata?: MetadataBlock): number;
  /** The size of the body of a reply with the prepared payload, which `maxMessage` limits. */
  replySize(metadata?: MetadataBlock): number;

  /** Writes the first message. */
  hello(sendBuffer: FrameBuffer): void;
  /** The peer has been authorized, where {@linkcode CodecSettings.authorizesPeer}. For a protocol that accepts less until then. */
  onPeerAuthorized?(): void;
  /** Writes a request with the prepared payload; `remaining` is -1 without a deadline. */
  request(
    sendBuffer: FrameBuffer,
    id: number,
    method: string,
    remaining: number,
    metadata: MetadataBlock | undefined,
    extras?: RequestExtras,
  ): void;
  /** Writes a reply with the prepared payload. */
  reply(sendBuffer: ReplyBuffer, id: number, metadata?: MetadataBlock): void;
  /** Writes a failure with the prepared payload as its data. Leaves out the data, and the metadata, where they make it larger than `maxMessage`. */
  failure(
    sendBuffer: ReplyBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
    metadata?: MetadataBlock,
  ): void;
  /** Writes a cancel. Ahead of all other frames if the codec can `retract`: then its request has always been flushed. */
  cancel(sendBuffer: FrameBuffer, id: number): void;
  /** Writes a ping, ahead of frames that are not urgent. */
  ping(sendBuffer: FrameBuffer, id: number): void;
  /** Writes a pong, ahead of frames that are not urgent. */
  pong(sendBuffer: FrameBuffer, id: number): void;
  /** Moves the window granted to the peer, or with `ack` confirms that the peer's holds for the requests that follow. Only on a protocol with windows. */
  window?(
    sendBuffer: FrameBuffer,
    id: number,
    window: CallWindow,
    ack: boolean,
  ): void;
  /** Writes a GOAWAY; one that is a warning if `lastId` is Infinity. */
  goaway(
    sendBuffer: FrameBuffer,
    lastId: number | undefined,
    code: string,
    text: string,
  ): void;
  /** Writes a LAST: the local side makes no more calls. For a protocol with GOAWAY. */
  last?(sendBuffer: FrameBuffer): void;
  /**
   * Takes back a request of the batch that is filling; `batchOffset` is what
   * the send buffer had when the request was written. Returns false if the
   * protocol cannot.
   */
  retract(sendBuffer: FrameBuffer, batchOffset: number): boolean;
  /** The call of the request or reply at `batchOffset` of the batch that is filling. For a codec that lends users' bytes to the send buffer. */
  callAt?(
    sendBuffer: FrameBuffer,
    batchOffset: number,
  ): { id: number; isRequest: boolean };
}

/** A reference in the params of a call of the peer. */
export interface WireReference {
  /** Where in the params the value belongs: keys, and indices as decimal text. */
  readonly place: readonly string[];
  /** The call whose result it is from. */
  readonly id: number;
  /** Where in that result it is. */
  readonly path: readonly string[];
}

/** What a request of the peer has to do with the results of other calls. */
export interface RequestLinks {
  /** Whether its result is to be kept. */
  readonly keep: boolean;
  readonly references: readonly WireReference[];
  /** Whether the params can have bytes within them. */
  readonly nestsBytes: boolean;
}

/** What only some requests have: flags, and a block of references behind its length, which is empty without its flag. */
export interface RequestExtras {
  readonly flags: number;
  readonly block: Uint8Array;
}

/** What a codec is made with. */
export interface CodecSettings {
  /** What this side sends as its HELLO. */
  readonly hello: PeerHello;
  /** The limits of this side. On a protocol without HELLO, the codec delivers them as the peer's. */
  readonly limits: PeerHello;
  /** Whether this side authorizes the peer: its first message is flushed only after that. */
  readonly authorizesPeer?: boolean;
  /** The methods that are served, by name; undefined on a side that only calls. */
  readonly methodTable: ReadonlyMap<string, unknown> | undefined;
  /** Reads what a request has to do with the results of other calls; undefined on a side that keeps none. */
  readonly readLinks?:
    | ((
      body: FieldReader,
      flags: number,
      settings: Pick<CodecSettings, "serializer">,
    ) => RequestLinks)
    | undefined;
  /** What replaces JSON; undefined if nothing does. */
  readonly serializer: AnySerializer;
  /** The frames of streams; undefined if this side has no streams. */
  readonly streams?: StreamCodec | undefined;
  /** Large messages in fragments; undefined if this side has none. */
  readonly fragments?: FragmentSupport | undefined;
  /** Called with each line that a child process printed between its messages. Undefined for any other transport, where such a line is a fault. */
  readonly onStrayLine?: (error: ConnectionError) => void;
}

/** Makes the codec of one connection. */
export type CodecFactory = (
  handler: MessageHandler,
  settings: CodecSettings,
) => Codec;

/** Makes what decides which large message or stream of a connection writes next. Fragments and streams share it. */
export type MakeWriteScheduler = (
  sendBuffer: FrameBuffer,
  limits: Limits,
) => WriteScheduler;

/** What a fragment is read from, and what delivers the message that it completes. */
export interface FragmentSource extends FrameReceiver {
  readonly decoder: {
    /** Whether nobody else uses the bytes of the frame that is being delivered. */
    owned: boolean;
    readonly maxBody: number;
    readonly counters: { readonly headers: number };
  };
  /** Whether the latest request is urgent. */
  urgent: boolean;
}

/** Puts messages together that arrive in fragments on one connection. */
export interface MessageAssembler {
  /** The number of the frame that began the oldest unfinished message; Infinity if there is none. */
  readonly since: number;
  /** The bytes that have arrived of unfinished messages. */
  readonly filled: number;
  /** The size of the message that a fragment completes; undefined if it completes none. */
  parsedSize(bytes: number, flags: number): number | undefined;
  /** Whether a fragment may be delivered in parts. */
  inParts(bytes: number, flags: number): boolean;
  /** Takes a fragment, and delivers what it begins, completes or gives up. */
  read(
    flags: number,
    id: number,
    body: FieldReader,
    source: FragmentSource,
    handler: MessageHandler,
  ): void;
  /** Drops what is unfinished. Returns whether a request was. */
  clear(): boolean;
  /**
   * Checks that the byte stream may end here.
   *
   * @throws {ConnectionError} `truncated` inside a message.
   */
  end(): void;
}

/** Fragments as a feature: what `fragments()` returns. */
export interface FragmentSupport {
  /** Makes what puts the peer's messages together, on one connection. */
  readonly reader: () => MessageAssembler;
  /** Makes a message that is to be written in fragments. */
  readonly writer: MakeLargeMessage;
  readonly scheduler: MakeWriteScheduler;
}

/** A whole item as bytes, to be sent in fragments. */
export interface EncodedItem {
  /** The payload kind. */
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
  /** The request or reply that is written next has a body. */
  markBody(): void;
  /** The prepared item, which is bytes, is a message. */
  markMessage(): void;
  /** The size of the prepared item, in bytes. */
  readonly size: number;
  /** Takes the prepared item as bytes, to send it in fragments. */
  takeItem(): EncodedItem;
  /** Writes the prepared item, which is at most MAX_DATA bytes. */
  data(stream: StreamAddress): void;
  /** Writes the bytes of an item from `start` to `end`; `more` says that more fragments follow. */
  fragment(
    stream: StreamAddress,
    item: EncodedItem,
    start: number,
    end: number,
    more: boolean,
  ): void;
  /** Decodes the item in a frame. Throws if it does not parse. */
  decode(payload: PayloadView, owned: boolean): unknown;
  /** Writes the end of a stream. */
  end(stream: StreamAddress, trailers: MetadataBlock | undefined): void;
  /** Writes the failure of a stream. Leaves out its `data` if that cannot be encoded, or makes the body larger than `maxBody` bytes. */
  fail(
    stream: StreamAddress,
    error: StreamFailure,
    trailers: MetadataBlock | undefined,
    maxBody: number,
  ): void;
  /** Tells the producer that the reader wants no more items. Written ahead of frames that are not urgent. */
  stop(stream: StreamAddress, code: string, text: string): void;
  /** Grants the producer `bytes` more. Written ahead of frames that are not urgent. */
  credit(stream: StreamAddress, bytes: number): void;
  /** Grants the peer `bytes` more for all streams together. Written ahead of frames that are not urgent. */
  connectionCredit(sendBuffer: FrameBuffer, bytes: number): void;
}

/** The frames of streams on the native protocol; part of the feature `streams()`. */
export interface StreamCodec {
  /** Makes the writer of one connection. */
  writer(payload: PayloadEncoder): StreamFrameWriter;
  /** Reads one frame and notifies `handler`; returns false if `kind` is not a frame of streams. */
  read(
    handler: StreamFrameHandler,
    kind: number,
    flags: number,
    id: number,
    body: FieldReader,
    owned: boolean,
  ): boolean;
}

/** Why a stream failed, as it is sent. */
export interface StreamFailure {
  readonly code: string;
  readonly message: string;
  readonly data?: unknown;
}

/**
 * Takes the frames of streams. `caller` says whether the peer made the call.
 * Each method throws a ConnectionError if the frame breaks the rules.
 */
export interface StreamFrameHandler {
  /** An item, or a fragment of one if `more`; `owned` says that nobody else uses its bytes. */
  onData(
    id: number,
    caller: boolean,
    payload: PayloadView,
    more: boolean,
    owned: boolean,
  ): void;
  /** The stream has ended; with a `code` it has failed, and the codec's current payload is the data of the error. */
  onEnd(
    id: number,
    caller: boolean,
    trailers: MetadataBlock | undefined,
    code?: string,
    message?: string,
  ): void;
  /** The peer wants no more items of a local stream. */
  onStop(id: number, caller: boolean, code: string, text: string): void;
  /** The peer grants more bytes for a local stream. */
  onCredit(id: number, caller: boolean, bytes: number): void;
  /** The peer grants more bytes for all local streams together. */
  onConnectionCredit(bytes: number): void;
}
