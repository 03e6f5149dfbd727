/**
 * What Go's two wires have in common: one end calls, the other answers; there
 * is no opening, no window, no cancel, no goodbye but FIN.
 *
 * Invariants owned here:
 * - The peer's own ids are echoed as they came; the dispatch sees ids that
 *   count up, whatever the peer does.
 * - The end that serves reads no further while the peer's calls fill what it
 *   holds.
 *
 * @module
 */

import type {
  Codec,
  CodecSettings,
  MessageHandler,
  Opaque,
  WireFeatures,
} from "../wire/codec.ts";
import { ConnectionError, RpcError } from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { GobLimits } from "./gob/input.ts";
import { looksLike } from "../wire/message_reader.ts";
import { NO_BYTES } from "../base/bytes.ts";

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

/** The largest id. */
const MAX_ID = 0xffffffff;

/** How many of the first bytes are kept, to name what a stranger speaks. */
const FIRST_BYTES = 12;

/** What either of Go's wires is made with. */
export interface GoSettings {
  readonly limits: GobLimits;
  /** Calls of ours in flight at once. */
  readonly window: number | undefined;
}

/**
 * The window unless it is set. Go's server starts a goroutine for each request
 * that it has read, and they contend for the one lock of the replies: measured
 * with all calls pipelined, CPU of server and client a call, with 128, 512,
 * 1,024, 2,048 and 4,096 in flight: 12, 10, 10, 12 and 14 us.
 */
const WINDOW = 1024;

/** A call that is not answered yet. */
interface Asked<K> {
  readonly method: string;
  readonly key: K;
}

/** A codec of Go's, for either end. `K` is the peer's own id. */
export abstract class GoCodec<K> implements Codec {
  readonly features: WireFeatures = FEATURES;
  readonly overhead = 0;
  protected readonly receiver: MessageHandler;
  protected readonly settings: CodecSettings;
  /** Whether this end answers; else it calls. */
  protected readonly serves: boolean;
  /** Whether the peer has said anything that makes sense. */
  protected known = false;
  protected stopped = false;
  /** What Go's package says of the params that have just proved unreadable; whoever is told is told next. */
  protected unreadable = "";
  /** What is wrong with the params of the call that is being told, if they are too large to be read. */
  protected oversized = "";
  /** Messages told so far. */
  #told = 0;

  /** Calls that outlive the turn they came in. */
  readonly #asked = new Map<number, Asked<K>>();
  /** The call that is being told; its id is -1 when it is answered. */
  #id = -1;
  /** The id given out last, as a count that does not wrap. */
  #lastCount = 0;
  #method = "";
  #key: K | undefined;
  #first: Uint8Array = NO_BYTES;

  readonly #window: number | undefined;

  constructor(
    receiver: MessageHandler,
    settings: CodecSettings,
    window: number | undefined,
  ) {
    if (settings.serializer !== undefined) {
      throw new TypeError(
        "Cannot use a serializer: Go's wires have their own",
      );
    }
    this.receiver = receiver;
    this.settings = settings;
    this.#window = window;
    this.serves = settings.methodTable !== undefined;
  }

  // What the wire cannot say.

  /** Nobody says HELLO: we keep to our own limits, and call nobody if we serve. */
  hello(_outbox: FrameBuffer): void {
    const { own } = this.settings;
    const most = this.#window ?? Math.min(own.windowCalls, WINDOW);
    this.receiver.onHello({ ...own, windowCalls: this.serves ? 0 : most });
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

  // What differs.

  /** Reads messages; throws what is wrong with them. */
  protected abstract read(
    chunk: Uint8Array,
    at: number,
    budget: number,
  ): number;
  /** Whether a stream that begins so is none of this wire's, as far as that can be told yet. */
  protected abstract isStrange(first: Uint8Array): boolean;
  /** Whether a message has begun and not ended. */
  protected abstract get inside(): boolean;
  abstract get unfinishedBytes(): number;
  /** Writes an error in the place of a result. */
  protected abstract writeError(
    sendBuffer: FrameBuffer,
    method: string,
    key: K,
    text: string,
  ): void;
  /** Writes a result. */
  protected abstract writeResult(
    sendBuffer: FrameBuffer,
    method: string,
    key: K,
  ): void;
  abstract value(): unknown;
  abstract retain(): Opaque;
  abstract decodeRetained(kept: Opaque): unknown;
  abstract decodedSize(kept: Opaque): number;
  abstract prepare(value: unknown, transfer: boolean, method?: string): void;
  abstract savePrepared(): Opaque;
  abstract restorePrepared(draft: Opaque): void;
  abstract replySize(): number;
  protected abstract callSize(method: string): number;
  abstract request(sendBuffer: FrameBuffer, id: number, method: string): void;

  // Reading.

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (this.stopped || this.receiver.full()) return at;
    if (!this.known) this.#remember(chunk, at);
    try {
      if (!this.known && this.isStrange(this.#first)) {
        throw new Error("it begins like no message");
      }
      return this.read(chunk, at, budget);
    } catch (error) {
      if (error instanceof ConnectionError) throw error;
      throw this.#fault(error);
    }
  }

  get unfinished(): number | undefined {
    return this.inside ? this.#told : undefined;
  }

  end(): void {
    if (!this.inside) return;
    throw new ConnectionError("truncated", "the stream ended inside a message");
  }

  #remember(chunk: Uint8Array, at: number): void {
    const { length } = this.#first;
    if (length === FIRST_BYTES) return;
    const part = chunk.subarray(at, at + FIRST_BYTES - length);
    const first = new Uint8Array(length + part.length);
    first.set(this.#first);
    first.set(part, length);
    this.#first = first;
  }

  #fault(cause: unknown): ConnectionError {
    const text = cause instanceof Error ? cause.message : "it is unreadable";
    const stranger = this.known ? "" : `; it sent ${looksLike(this.#first)}`;
    return new ConnectionError(
      "protocol_error",
      `the peer does not keep to Go's wire: ${text}${stranger}`,
      { cause },
    );
  }

  /** Tells of a call. */
  protected tellCall(method: string, key: K, size: number): void {
    const id = this.#nextId();
    this.#told++;
    this.#id = id;
    this.#method = method;
    this.#key = key;
    this.receiver.onRequest(id, method, size, -1, undefined);
    if (this.#id === id) this.#asked.set(id, { method, key });
    this.#id = -1;
    this.#key = undefined;
  }

  /** Tells of a call whose params are too large: it is answered so, and the connection goes on. */
  protected tellOversizedCall(
    method: string,
    key: K,
    size: number,
    text: string,
  ): void {
    this.oversized = text;
    this.tellCall(method, key, size);
    this.oversized = "";
  }

  /** Tells of an answer whose result is too large. */
  protected tellOversizedAnswer(
    id: number,
    started: boolean | undefined,
    text: string,
  ): void {
    this.#told++;
    this.receiver.onFailure(id, started, "frame_too_large", text);
  }

  /** Refuses params that were too large; `text` is what `oversized` was. */
  protected refuse(text: string): never {
    this.unreadable = `rpc: ${text}`;
    throw new RpcError("invalid_argument", text);
  }

  /** Ids are u32: once they have all been used, one may be that of a call that still runs. */
  #nextId(): number {
    let count = this.#lastCount + 1;
    while (count > MAX_ID && this.#asked.has(count >>> 0)) count++;
    this.#lastCount = count;
    return count >>> 0;
  }

  /** Tells of an answer; `id` is what the call was made with. */
  protected tellAnswer(id: number, method: string, error: string): void {
    this.#told++;
    if (error === "") this.receiver.onReply(id);
    else if (isNotFound(error, method)) {
      this.receiver.onFailure(id, false, "not_found", error);
    } else {
      const started = isMethodsOwn(error) ? true : undefined;
      this.receiver.onFailure(id, started, GO_ERROR, error);
    }
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
      "metadata cannot be sent: Go's wires have none",
      { outcome: "not_sent" },
    );
  }

  reply(sendBuffer: FrameBuffer, id: number): void {
    if (id === this.#id) {
      this.#id = -1;
      this.writeResult(sendBuffer, this.#method, this.#key as K);
      return;
    }
    const { method, key } = this.#take(id);
    this.writeResult(sendBuffer, method, key);
  }

  failure(
    sendBuffer: FrameBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
  ): void {
    const { method, key } = this.#take(id);
    const { unreadable } = this;
    this.unreadable = "";
    const text = !started && code === "not_found"
      ? notFoundText(method, this.settings.methodTable)
      : bounded(unreadable) || errorText(started, code, message);
    this.writeError(sendBuffer, method, key, text);
  }

  #take(id: number): Asked<K> {
    if (id === this.#id) {
      this.#id = -1;
      return { method: this.#method, key: this.#key as K };
    }
    const asked = this.#asked.get(id) as Asked<K>;
    this.#asked.delete(id);
    return asked;
  }
}

/** Longest error that is sent, in characters. */
const MAX_TEXT = 4096;

const ILL_FORMED = "rpc: service/method request ill-formed: ";
const NO_SERVICE = "rpc: can't find service ";
const NO_METHOD = "rpc: can't find method ";

/** What Go's server says of a method that is not there. The service is what stands before the last dot. */
export function notFoundText(
  method: string,
  methodTable: ReadonlyMap<string, unknown> | undefined,
): string {
  const dot = method.lastIndexOf(".");
  if (dot < 0) return bounded(ILL_FORMED + method);
  const service = method.slice(0, dot + 1);
  for (const name of methodTable?.keys() ?? []) {
    if (name.startsWith(service) && name.indexOf(".", dot + 1) < 0) {
      return bounded(NO_METHOD + method);
    }
  }
  return bounded(NO_SERVICE + method);
}

/** A failure in words, which may not be empty: that would mean success. What kept a handler from being started is told as Go's own packages would. */
export function errorText(
  started: boolean,
  code: string,
  message: string,
): string {
  const words = message || code || "error";
  const text = started ? words : `rpc: ${words}`;
  return bounded(text);
}

/** Of what may be as long as a peer likes, no more than is sent. */
export function bounded(text: string): string {
  return text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text;
}

/** Whether an error is what Go's server says of a method that is not there. */
export function isNotFound(text: string, method: string): boolean {
  return [ILL_FORMED, NO_SERVICE, NO_METHOD].some((p) =>
    text === p + method || text === bounded(p + method)
  );
}

/**
 * What Go's own packages say of an argument that cannot be read: those of the
 * wire, and those whose types read themselves. Go's server sends it is,
 * and the method has not been started then; but a method may as well have had
 * it from a call, a file or a text of its own.
 */
const OF_READING = [
  /^(rpc|gob|json|jsonrpc|(encoding|math|crypto|hash)\/\w+): /,
  /^value for ".*" out of range$/s,
  /^(unexpected )?EOF$/,
  /^unexpected end of JSON input$/,
  /^invalid character /,
  /^illegal base64 data /,
  /^(parsing time|time: |Time\.)/,
  /^strconv\.\w+: /,
  /^[\w./*()]+\.(GobDecode|Unmarshal\w+): /,
  /^(ParseAddr|ParsePrefix|ParseAddrPort|netip\.\w+)\(/,
  /^(invalid IP address: |parse ")/,
  /^unexpected slice size$/,
];

/** Whether an error's words can only be a method's own; others may stand for an argument that could not be read, or for whatever a method has read itself. */
export function isMethodsOwn(text: string): boolean {
  return !OF_READING.some((words) => words.test(text));
}

/** The code of an error of Go's, where the words say no more. */
export const GO_ERROR = "go_error";

/** The limit is this end's own: Go's wires have no word for it. */
export function tooLargeText(
  what: string,
  size: number,
  maxMessage: number,
): string {
  return `${what} of ${size} bytes; this end's maxMessage is ${maxMessage}`;
}

/** The error for one that cannot be told from those behind it, or that nobody can be told of. */
export function tooLarge(
  what: string,
  size: number,
  maxMessage: number,
): ConnectionError {
  return new ConnectionError(
    "frame_too_large",
    tooLargeText(what, size, maxMessage),
  );
}
