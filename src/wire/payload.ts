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

import type { FrameBuffer } from "./frame_buffer.ts";
import { isStream } from "../base/pull_source.ts";
import {
  copyBytes,
  copyWords,
  isBytes,
  isFixed,
  lengthOf,
  plainView,
  SHORT_COPY,
  viewOf,
} from "../base/bytes.ts";

import {
  readText,
  SHORT_ENCODE,
  utf8,
  writeIfAscii,
  writeUtf8,
} from "../base/utf8.ts";
import { type PayloadRole, toJson, unserializable } from "./to_json.ts";
import { isA } from "../base/user_code.ts";
import type { Serializer } from "../types/connection.ts";
import {
  BYTES,
  CUSTOM,
  JSON_TEXT,
  STREAM,
  STRING,
  UNDEFINED,
} from "./protocol.ts";
import { Snapshot } from "./snapshot.ts";

/** A payload on its way out, apart from the encoder that prepared it. */
export interface PreparedPayload {
  kind: number;
  text: string | undefined;
  bytes: Uint8Array | undefined;
  size: number;
}

/** A payload that came in, kept beyond the chunk it came in. */
export interface RetainedPayload {
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
   * Takes a value in; `role` is for messages.
   *
   * @throws {RpcError} `invalid_argument` if the value has no wire form.
   */
  prepare(value: unknown, transfer: boolean, role?: PayloadRole): void {
    if (value === undefined) this.#take(UNDEFINED, undefined, undefined, 0);
    else if (typeof value === "string") this.#prepareText(STRING, value);
    else if (isBytes(value)) {
      this.#take(BYTES, undefined, value, measure(value, role));
      this.#owned = transfer && isFixed(value);
    } else if (isA(value, Snapshot)) {
      const { kind, text, bytes, size } = value;
      if (text !== undefined) this.#prepareText(kind, text);
      else {
        if (bytes?.length !== size) throw unserializable(`params: ${GONE}`);
        // Not owned: it may be sent again, so the transport gets a copy.
        this.#take(kind, undefined, bytes, size);
      }
    } else if (this.#serializer !== undefined) {
      const bytes = serialize(this.#serializer, value, role);
      this.#take(CUSTOM, undefined, bytes, bytes.length);
      this.#owned = true;
    } else this.#prepareText(JSON_TEXT, toJson(value, role));
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
  save(): PreparedPayload {
    let bytes = this.#bytes;
    if (bytes !== undefined) {
      bytes = this.#owned ? plainView(bytes) : copyBytes(plainView(bytes));
    }
    const draft = { kind: this.kind, text: this.#text, bytes, size: this.size };
    this.clear();
    return draft;
  }

  /**
   * Takes in again what `save` returned.
   *
   * @throws {RpcError} `invalid_argument` if it has lost its bytes since: they
   *   were handed over with `transfer`, and then given to somebody else.
   */
  load(draft: PreparedPayload): void {
    const { bytes } = draft;
    if (bytes !== undefined && bytes.length !== draft.size) {
      throw unserializable(`params: ${GONE}`);
    }
    if (draft.text !== undefined) this.#prepareText(draft.kind, draft.text);
    else this.#take(draft.kind, undefined, bytes, draft.size);
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
  write(
    { bytes, view }: Pick<FrameBuffer, "bytes" | "view">,
    at: number,
  ): void {
    const { size } = this;
    if (this.#bytes !== undefined) bytes.set(this.#bytes, at);
    else if (size <= SHORT_COPY) copyWords(scratchView, size, view, at);
    else bytes.set(scratch.subarray(0, size), at);
  }

  /** Adds a payload that is not inline to the batch, uncopied. */
  attach(sendBuffer: FrameBuffer): void {
    sendBuffer.lend(plainView(this.#bytes as Uint8Array));
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

/** What says how values travel. */
export interface SnapshotSettings {
  readonly serializer?: Serializer;
  /** Another wire than the native one. */
  readonly protocol?: { readonly json?: boolean };
}

/**
 * What can be sent in a value's place later: the value itself, if it cannot
 * change, else its {@linkcode Snapshot}. On a wire with forms of its own (gob)
 * it is the value itself, which must not be changed before it is sent.
 *
 * @throws {RpcError} `invalid_argument` if the value has no wire form.
 */
export function snapshot(
  value: unknown,
  transfer: boolean,
  { serializer, protocol: wire }: SnapshotSettings,
): unknown {
  // Only a wire of its own kind can say what a value is on it.
  if (wire !== undefined && wire.json !== true) return value;
  if (value === undefined || typeof value === "string") return value;
  if (isA(value, Snapshot) || isStream(value)) return value;
  if (isBytes(value) && wire === undefined) {
    measure(value, "params");
    const own = transfer && isFixed(value);
    const bytes = own ? plainView(value) : copyBytes(plainView(value));
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
  return isA(value, Snapshot) ? value.size : 0;
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

/** The part of `bytes` as its receiver's own: a copy, unless all of `bytes` is nobody else's already, and not mostly something else. */
export function ownBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  owned: boolean,
): Uint8Array {
  return owned && 2 * (end - start) >= bytes.length
    ? bytes.subarray(start, end)
    : copyBytes(bytes, start, end);
}

/** What is wrong with bytes that have lost their memory, for messages. */
export const GONE =
  "bytes whose memory is gone (its buffer was transferred or shrunk)";

/** The length of bytes that are still there. */
function measure(bytes: Uint8Array, role: PayloadRole = "params"): number {
  try {
    return lengthOf(bytes);
  } catch (cause) {
    throw unserializable(`${role}: ${GONE}`, cause);
  }
}

function serialize(
  serializer: Serializer,
  value: unknown,
  role: PayloadRole = "params",
): Uint8Array {
  try {
    const bytes: unknown = serializer.encode(value);
    if (!isBytes(bytes)) {
      throw new TypeError("the serializer did not return a Uint8Array");
    }
    lengthOf(bytes);
    return isFixed(bytes) ? plainView(bytes) : copyBytes(plainView(bytes));
  } catch (cause) {
    throw unserializable(`the ${role}`, cause);
  }
}
