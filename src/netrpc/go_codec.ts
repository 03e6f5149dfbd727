/**
 * What Go's two protocols, gob and JSON, have in common. The client calls and
 * the server answers; the protocols have no handshake, no window, no
 * cancellation, and no GOAWAY: a connection ends with a FIN.
 *
 * Order and bounds:
 * - A reply carries the id of its request, as the peer has sent it. The
 *   dispatcher sees other ids, which count up from 1 whatever ids the peer uses.
 * - A server stops reading while the calls of the peer fill its receive window.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import { ConnectionError, RpcError } from "../base/errors.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type {
  Codec,
  CodecSettings,
  MessageHandler,
  WireFeatures,
} from "../wire/codec.ts";
import { looksLike } from "../wire/message_reader.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import {
  errorText,
  GO_ERROR,
  isFromMethod,
  isNotFound,
  notFoundText,
  truncate,
} from "./go_errors.ts";
import type { GobLimits } from "./gob/input.ts";

const FEATURES: WireFeatures = {
  window: false,
  goaway: false,
  deadline: false,
  ping: false,
  streams: false,
  cancel: "none",
  excess: "wait",
  unknownReply: "drop",
};

/** The largest id of a call. */
const MAX_ID = 0xffffffff;

/** How many of the first bytes are kept, to name the protocol of a peer that does not speak Go's. */
const FIRST_BYTES = 12;

/**
 * The default of a client's window. Go's server starts a goroutine for each
 * request, and all of them contend for one lock to reply. Measured with all
 * calls pipelined: the CPU time of client and server for a call is 12, 10, 10,
 * 12 and 14 us with 128, 512, 1,024, 2,048 and 4,096 calls in flight.
 */
const DEFAULT_WINDOW = 1024;

/** The settings of both codecs. */
export interface GoSettings {
  readonly limits: GobLimits;
  /** How many calls a client has in flight at most. */
  readonly window: number | undefined;
}

/** A received call that waits for its reply. */
interface UnansweredCall<Id> {
  readonly method: string;
  readonly peerId: Id;
}

/** The base of both codecs, for a client or a server. `Id` is the type of the peer's ids. */
export abstract class GoCodec<Id> implements Codec {
  readonly features: WireFeatures = FEATURES;
  readonly overhead = 0;
  protected readonly handler: MessageHandler;
  protected readonly settings: CodecSettings;
  /** Whether this is the codec of a server. */
  protected readonly serves: boolean;
  /** Whether the peer has sent a valid message. */
  protected recognized = false;
  protected stopped = false;
  /** Go's error text for params that could not be read, for the next error reply. */
  protected paramsError = "";
  /** The error text if the params of the current call are too large to be read; else empty. */
  protected oversizedText = "";
  /** The number of messages received. */
  #received = 0;

  /** Received calls that were not answered while they were delivered. */
  readonly #unanswered = new Map<number, UnansweredCall<Id>>();
  /** The call that is being delivered; -1 once it is answered. */
  #id = -1;
  #method = "";
  #peerId: Id | undefined;
  /** The latest id of a received call, as a count that does not wrap. */
  #lastCount = 0;
  #first: Uint8Array = NO_BYTES;

  readonly #window: number | undefined;

  constructor(
    handler: MessageHandler,
    settings: CodecSettings,
    window: number | undefined,
  ) {
    if (settings.serializer !== undefined) {
      throw new TypeError(
        "Cannot use a serializer with netrpc(): Go's protocols define how values are written",
      );
    }
    this.handler = handler;
    this.settings = settings;
    this.#window = window;
    this.serves = settings.methodTable !== undefined;
  }

  // What the protocols do not support.

  /** No HELLO is sent or received. The local limits apply, and a server makes no calls. */
  hello(_sendBuffer: FrameBuffer): void {
    const { limits } = this.settings;
    const window = this.#window ?? Math.min(limits.windowCalls, DEFAULT_WINDOW);
    this.handler.onHello({ ...limits, windowCalls: this.serves ? 0 : window });
  }
  cancel(): void {}
  ping(): void {}
  pong(): void {}
  goaway(): void {}
  retract(): boolean {
    return false;
  }

  stop(): void {
    this.stopped = true;
  }

  // What gob and JSON do differently.

  /** Reads messages, at most `budget` of them; returns the position reached. Throws an `Error` for an invalid message. */
  protected abstract read(
    chunk: Uint8Array,
    at: number,
    budget: number,
  ): number;
  /** Whether a stream that begins with these bytes is certainly not of this protocol. */
  protected abstract isForeign(first: Uint8Array): boolean;
  /** Whether a message has begun and not ended. */
  protected abstract get insideMessage(): boolean;
  abstract get unfinishedBytes(): number;
  /** Writes a reply with an error. */
  protected abstract writeError(
    sendBuffer: FrameBuffer,
    method: string,
    peerId: Id,
    text: string,
  ): void;
  /** Writes a reply with the prepared result. */
  protected abstract writeResult(
    sendBuffer: FrameBuffer,
    method: string,
    peerId: Id,
  ): void;
  abstract value(): unknown;
  abstract retain(): unknown;
  abstract decodeRetained(retained: unknown): unknown;
  abstract decodedSize(retained: unknown): number;
  abstract prepare(value: unknown, transfer: boolean, method?: string): void;
  abstract savePrepared(): unknown;
  abstract restorePrepared(prepared: unknown): void;
  abstract replySize(): number;
  protected abstract callSize(method: string): number;
  abstract request(sendBuffer: FrameBuffer, id: number, method: string): void;

  // Reading.

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (this.stopped || this.handler.full()) return at;
    if (!this.recognized) this.#keepFirstBytes(chunk, at);
    try {
      if (!this.recognized && this.isForeign(this.#first)) {
        throw new Error("the first bytes are no message");
      }
      return this.read(chunk, at, budget);
    } catch (error) {
      if (error instanceof ConnectionError) throw error;
      throw this.#protocolError(error);
    }
  }

  get unfinished(): number | undefined {
    return this.insideMessage ? this.#received : undefined;
  }

  end(): void {
    if (!this.insideMessage) return;
    throw new ConnectionError("truncated", "the stream ended inside a message");
  }

  #keepFirstBytes(chunk: Uint8Array, at: number): void {
    const { length } = this.#first;
    if (length === FIRST_BYTES) return;
    const part = chunk.subarray(at, at + FIRST_BYTES - length);
    const first = new Uint8Array(length + part.length);
    first.set(this.#first);
    first.set(part, length);
    this.#first = first;
  }

  #protocolError(cause: unknown): ConnectionError {
    const text = cause instanceof Error ? cause.message : "it is unreadable";
    const sent = this.recognized ? "" : `; it sent ${looksLike(this.#first)}`;
    return new ConnectionError(
      "protocol_error",
      `the peer does not follow Go's net/rpc protocol: ${text}${sent}`,
      { cause },
    );
  }

  /** Delivers a call to the message handler. */
  protected deliverRequest(method: string, peerId: Id, size: number): void {
    const id = this.#nextId();
    this.#received++;
    this.#id = id;
    this.#method = method;
    this.#peerId = peerId;
    this.handler.onRequest(id, method, size, -1, undefined);
    if (this.#id === id) this.#unanswered.set(id, { method, peerId });
    this.#id = -1;
    this.#peerId = undefined;
  }

  /** Delivers a call whose params are too large. It is answered with the error text, and the connection goes on. */
  protected deliverOversizedRequest(
    method: string,
    peerId: Id,
    size: number,
    text: string,
  ): void {
    this.oversizedText = text;
    this.deliverRequest(method, peerId, size);
    this.oversizedText = "";
  }

  /** Rejects params that are too large. */
  protected rejectOversized(text: string): never {
    this.paramsError = `rpc: ${text}`;
    throw new RpcError("invalid_argument", text);
  }

  /** Ids have 32 bits. After all of them have been used, ids of calls that still run are passed by. */
  #nextId(): number {
    let count = this.#lastCount + 1;
    while (count > MAX_ID && this.#unanswered.has(count >>> 0)) count++;
    this.#lastCount = count;
    return count >>> 0;
  }

  /** Delivers a reply; `id` is that of the local call, and an empty `error` means success. */
  protected deliverReply(id: number, method: string, error: string): void {
    this.#received++;
    if (error === "") this.handler.onReply(id);
    else if (isNotFound(error, method)) {
      this.handler.onFailure(id, false, "not_found", error);
    } else {
      const started = isFromMethod(error) ? true : undefined;
      this.handler.onFailure(id, started, GO_ERROR, error);
    }
  }

  /** Delivers a reply whose result is too large. */
  protected deliverOversizedReply(
    id: number,
    started: boolean | undefined,
    text: string,
  ): void {
    this.#received++;
    this.handler.onFailure(id, started, "frame_too_large", text);
  }

  // Writing.

  requestSize(
    method: string,
    _timed: boolean,
    metadata?: MetadataBlock,
  ): number {
    if (metadata === undefined) return this.callSize(method);
    throw new RpcError(
      "invalid_argument",
      "the call cannot be sent with metadata: Go's net/rpc protocol does not support metadata",
      { outcome: "not_sent" },
    );
  }

  reply(sendBuffer: FrameBuffer, id: number): void {
    if (id === this.#id) {
      this.#id = -1;
      this.writeResult(sendBuffer, this.#method, this.#peerId as Id);
      return;
    }
    const { method, peerId } = this.#takeUnanswered(id);
    this.writeResult(sendBuffer, method, peerId);
  }

  failure(
    sendBuffer: FrameBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
  ): void {
    const { method, peerId } = this.#takeUnanswered(id);
    const { paramsError } = this;
    this.paramsError = "";
    const text = !started && code === "not_found"
      ? notFoundText(method, this.settings.methodTable?.keys() ?? [])
      : truncate(paramsError) || errorText(started, code, message);
    this.writeError(sendBuffer, method, peerId, text);
  }

  #takeUnanswered(id: number): UnansweredCall<Id> {
    if (id === this.#id) {
      this.#id = -1;
      return { method: this.#method, peerId: this.#peerId as Id };
    }
    const request = this.#unanswered.get(id) as UnansweredCall<Id>;
    this.#unanswered.delete(id);
    return request;
  }
}
