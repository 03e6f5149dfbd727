/**
 * Values to payload bytes and back: what is marked per payload on the wire.
 *
 * Invariants owned here:
 * - A value is turned into its wire form when it is prepared; later changes to
 *   it do not show. Bytes are copied unless the caller gave them away.
 * - Nothing runs user code between `prepare` and `write`, so the one shared
 *   scratch buffer can hold the text in between.
 * - Decoded bytes are the receiver's own.
 * - A string arrives as it was sent, also one with a lone surrogate: that one
 *   travels as JSON.
 *
 * @module
 */

import type { Outbox } from "./outbox.ts";
import { RpcError } from "./errors.ts";
import { isStream } from "./streams/source.ts";
import { copyBytes, copyWords, SHORT_COPY, viewOf } from "./bytes.ts";
import {
  readText,
  SHORT_ENCODE,
  utf8,
  writeIfAscii,
  writeUtf8,
} from "./text.ts";

/** Payload kind: no value. */
export const UNDEFINED = 0;
/** Payload kind: JSON text. */
export const JSON_TEXT = 1;
/** Payload kind: bytes as they are. */
export const BYTES = 2;
/** Payload kind: a string, as UTF-8. */
export const STRING = 3;
/** Payload kind: what the custom serializer of both ends made. */
export const CUSTOM = 4;
/** Payload kind of params and results alone: a stream, whose items travel in frames of their own. */
export const STREAM = 5;

/**
 * Replaces JSON for values that are neither `undefined`, a string nor a
 * `Uint8Array`. Both ends must use one of the same name: it is told in HELLO,
 * and a connection between two that differ closes with `serializer_mismatch`.
 *
 * @example
 * ```ts
 * import type { Serializer } from "@sluice/rpc";
 *
 * const dates: Serializer = {
 *   name: "epoch-millis",
 *   encode: (value) => new TextEncoder().encode(String((value as Date).getTime())),
 *   decode: (bytes) => new Date(Number(new TextDecoder().decode(bytes))),
 * };
 * ```
 */
export interface Serializer {
  /** Told to the peer; at most 255 bytes of UTF-8. */
  readonly name: string;
  /** A value's bytes; they are the library's from then on. What it throws fails that call alone. */
  encode(value: unknown): Uint8Array;
  /** The value again; `bytes` is its own to keep. What it throws fails that call alone. */
  decode(bytes: Uint8Array): unknown;
}

/** A payload on its way out, apart from the encoder that prepared it. */
export interface Draft {
  kind: number;
  text: string | undefined;
  bytes: Uint8Array | undefined;
  size: number;
}

/** A payload that came in, kept beyond the chunk it came in. */
export interface KeptPayload {
  kind: number;
  bytes: Uint8Array;
}

/** Bytes that are ours are handed to the writer as they are instead of copied into the batch from this size on. */
const ATTACH_SIZE = 16 * 1024;

/** Text between `prepare` and `write`; one for all, as both happen in one turn with no user code between. */
const scratch = new Uint8Array(16 * 1024);
const scratchView = viewOf(scratch);

/** Prepares one payload at a time and writes it. */
export class PayloadEncoder {
  /** The payload kind of what is prepared. */
  kind = UNDEFINED;
  /** Its exact size in bytes. */
  size = 0;
  #text: string | undefined;
  #bytes: Uint8Array | undefined;
  #owned = false;
  readonly #serializer: Serializer | undefined;

  constructor(serializer: Serializer | undefined) {
    this.#serializer = serializer;
  }

  /**
   * Takes a value in.
   *
   * @throws {RpcError} `invalid_argument` if the value has no wire form.
   */
  prepare(value: unknown, transfer: boolean): void {
    if (value === undefined) this.#take(UNDEFINED, undefined, undefined, 0);
    else if (typeof value === "string") this.#prepareText(STRING, value);
    else if (value instanceof Uint8Array) {
      // A Proxy of bytes is an instance too, and has no bytes of its own.
      if (!ArrayBuffer.isView(value)) throw unserializable("a Proxy of bytes");
      this.#take(BYTES, undefined, value, value.length);
      this.#owned = transfer;
    } else if (value instanceof Snapshot) {
      const { kind, text, bytes } = value;
      if (text !== undefined) this.#prepareText(kind, text);
      // Not owned: it may be sent again, so the transport gets a copy.
      else this.#take(kind, undefined, bytes, value.size);
    } else if (this.#serializer !== undefined) {
      const bytes = serialize(this.#serializer, value);
      this.#take(CUSTOM, undefined, bytes, bytes.length);
      this.#owned = true;
    } else this.#prepareText(JSON_TEXT, toJson(value));
  }

  /** Takes in that the value is a stream. */
  prepareStream(): void {
    this.#take(STREAM, undefined, undefined, 0);
  }

  /** What is prepared as bytes, which may be the value's own. */
  toBytes(): Uint8Array {
    return this.#bytes ?? copyBytes(scratch, 0, this.size);
  }

  /** What is prepared, to be written in a later turn; a borrowed byte array is copied. */
  save(): Draft {
    const bytes = this.#bytes !== undefined && !this.#owned
      ? copyBytes(this.#bytes)
      : this.#bytes;
    return { kind: this.kind, text: this.#text, bytes, size: this.size };
  }

  /** Takes in again what `save` returned. */
  load(draft: Draft): void {
    if (draft.text !== undefined) this.#prepareText(draft.kind, draft.text);
    else this.#take(draft.kind, undefined, draft.bytes, draft.size);
    this.#owned = true;
  }

  /**
   * Whether the payload goes into the batch's own buffer (else {@linkcode attach}
   * it): also a big one that would have to be copied anyhow, as one chunk costs
   * less than two.
   */
  get inline(): boolean {
    return this.#bytes === undefined || !this.#owned || this.size < ATTACH_SIZE;
  }

  /** Writes an inline payload at `at` of what the outbox is filling. */
  write({ bytes, view }: Pick<Outbox, "bytes" | "view">, at: number): void {
    const { size } = this;
    if (this.#bytes !== undefined) bytes.set(this.#bytes, at);
    else if (size <= SHORT_COPY) copyWords(scratchView, size, view, at);
    else bytes.set(scratch.subarray(0, size), at);
  }

  /** Adds a payload that is not inline to the batch, uncopied. */
  attach(outbox: Outbox): void {
    outbox.attach(this.#bytes as Uint8Array);
  }

  /** Lets go of the value, so that an idle connection holds none. */
  clear(): void {
    this.#text = undefined;
    this.#bytes = undefined;
  }

  #prepareText(kind: number, text: string): void {
    const { length } = text;
    if (length <= SHORT_ENCODE && writeIfAscii(text, scratch)) {
      this.#take(kind, text, undefined, length);
    } else if (kind === STRING && !text.isWellFormed()) {
      // A lone surrogate has no UTF-8; in JSON it has an escape, in ASCII.
      this.#prepareText(JSON_TEXT, JSON.stringify(text));
    } else if (length * 3 <= scratch.length) {
      this.#take(kind, text, undefined, writeUtf8(text, scratch));
    } else {
      const bytes = utf8(text);
      this.#take(kind, undefined, bytes, bytes.length);
      this.#owned = true;
    }
  }

  #take(
    kind: number,
    text: string | undefined,
    bytes: Uint8Array | undefined,
    size: number,
  ): void {
    this.kind = kind;
    this.#text = text;
    this.#bytes = bytes;
    this.size = size;
    this.#owned = false;
  }
}

/**
 * A value in its wire form: what is sent of it, however late or often, is what
 * it was when this was made.
 */
export class Snapshot {
  readonly kind: number;
  readonly text: string | undefined;
  readonly bytes: Uint8Array | undefined;

  constructor(
    kind: number,
    text: string | undefined,
    bytes: Uint8Array | undefined,
  ) {
    this.kind = kind;
    this.text = text;
    this.bytes = bytes;
  }

  /** The most that it holds, in bytes: exact for bytes, for text what a string takes. */
  get size(): number {
    return this.bytes?.length ?? 2 * (this.text as string).length;
  }
}

/**
 * What can be sent in a value's place later: the value itself, if it cannot
 * change, else its {@linkcode Snapshot}.
 *
 * @throws {RpcError} `invalid_argument` if the value has no wire form.
 */
export function snapshot(
  value: unknown,
  transfer: boolean,
  serializer: Serializer | undefined,
): unknown {
  if (value === undefined || typeof value === "string") return value;
  if (value instanceof Snapshot || isStream(value)) return value;
  if (value instanceof Uint8Array) {
    if (!ArrayBuffer.isView(value)) throw unserializable("a Proxy of bytes");
    const bytes = transfer ? value : copyBytes(value);
    return new Snapshot(BYTES, undefined, bytes);
  }
  if (serializer !== undefined) {
    return new Snapshot(CUSTOM, undefined, serialize(serializer, value));
  }
  const fixed = value === null || typeof value === "number" ||
    typeof value === "boolean";
  return fixed ? value : new Snapshot(JSON_TEXT, toJson(value), undefined);
}

/** About how many bytes {@linkcode snapshot}'s result holds: no less than it takes on the wire. */
export function snapshotSize(value: unknown): number {
  if (typeof value === "string") return 2 * value.length;
  return value instanceof Snapshot ? value.size : 0;
}

/**
 * The value in `bytes[start..end)`; `owned` says that nobody else uses `bytes`.
 *
 * @throws {unknown} What JSON, UTF-8 or the serializer say of bytes that are none.
 */
export function decodePayload(
  kind: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  serializer: Serializer | undefined,
  owned: boolean,
): unknown {
  switch (kind) {
    case UNDEFINED:
      return undefined;
    case JSON_TEXT:
      return JSON.parse(readText(bytes, start, end));
    case BYTES:
      return ownBytes(bytes, start, end, owned);
    case STRING:
      return readText(bytes, start, end);
    default:
      if (serializer === undefined) {
        throw new TypeError("a custom payload, and no serializer to read it");
      }
      return serializer.decode(ownBytes(bytes, start, end, owned));
  }
}

/** The part of `bytes` as its receiver's own: a copy, unless all of `bytes` is nobody else's already. */
export function ownBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  owned: boolean,
): Uint8Array {
  return owned ? bytes.subarray(start, end) : copyBytes(bytes, start, end);
}

function toJson(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw unserializable("the value", cause);
  }
  if (text === undefined) throw unserializable(`a ${typeof value}`);
  return text;
}

function unserializable(what: string, cause?: unknown): RpcError {
  return new RpcError("invalid_argument", `${what} cannot be serialized`, {
    outcome: "not_sent",
    cause,
  });
}

function serialize(serializer: Serializer, value: unknown): Uint8Array {
  try {
    const bytes: unknown = serializer.encode(value);
    if (bytes instanceof Uint8Array) return bytes;
    throw new TypeError("the serializer did not return a Uint8Array");
  } catch (cause) {
    throw unserializable("the value", cause);
  }
}
