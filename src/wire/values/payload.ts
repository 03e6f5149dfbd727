/**
 * Values to payloads and back. A payload is a kind and bytes.
 *
 * Invariants owned here:
 * - A value is encoded when it is prepared; later changes to it are not sent.
 *   Bytes are copied unless the user transferred them.
 * - No user code runs between `prepare` and `write`, so one scratch buffer,
 *   shared by all connections, can hold the text meanwhile.
 * - Decoded bytes belong to the receiver alone.
 * - A string arrives as it was sent. One with a lone surrogate travels as JSON.
 *
 * @module
 */

import {
  copyBytes,
  copyWords,
  isBytes,
  isFixed,
  lengthOf,
  plainView,
  SHORT_COPY,
  viewOf,
} from "../../base/bytes.ts";
import { isStream } from "../../base/pull_source.ts";
import { type PlacedReference, references } from "../../base/references.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import {
  readText,
  SHORT_ENCODE,
  utf8,
  writeIfAscii,
  writeUtf8,
} from "../../base/utf8.ts";
import type { Serializer, SerializerList } from "../../types/connection.ts";
import type { MessageBuffer } from "../frame_buffer.ts";
import {
  BYTES,
  CUSTOM,
  JSON_TEXT,
  STREAM,
  STRING,
  UNDEFINED,
} from "../protocol.ts";
import type { AnySerializer, SerializerAgreement } from "./serializers.ts";
import { Snapshot } from "./snapshot.ts";
import {
  LostPartError,
  type PayloadRole,
  toJson,
  unserializable,
} from "./to_json.ts";

/** A payload that was prepared and set aside, to be written later. */
export interface PreparedPayload {
  readonly kind: number;
  readonly text: string | undefined;
  readonly bytes: Uint8Array | undefined;
  readonly size: number;
}

/** A received payload: `bytes[at..end)`, in a frame or retained beyond it. */
export interface PayloadView {
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
}

/** From this size on, bytes that belong to the library are attached to the batch instead of copied into it. */
const ATTACH_SIZE = 16 * 1024;

/** The text between `prepare` and `write`. One for all connections: both happen in one turn, with no user code between. */
const scratch = /* @__PURE__ */ new Uint8Array(16384);
const scratchView = /* @__PURE__ */ viewOf(scratch);

/** Prepares one payload at a time and writes it. */
export class PayloadEncoder {
  /** The kind of the prepared payload. */
  kind = UNDEFINED;
  /** Its size in bytes. */
  size = 0;
  #text: string | undefined;
  #bytes: Uint8Array | undefined;
  /** Whether the bytes belong to the library, so that they need no copy. */
  #owned = false;
  /** Whether the buffer that the payload goes into copies the bytes itself. */
  apart = false;
  /** Flags of the request or reply with the prepared payload: that a stream comes beside the value, or none. */
  flags = 0;
  /** What replaces JSON in each direction. */
  readonly agreement: SerializerAgreement;

  constructor(agreement: SerializerAgreement) {
    this.agreement = agreement;
  }

  /**
   * Encodes a value; error messages name it by its `role`.
   *
   * @throws {RpcError} `invalid_argument` if the value cannot be serialized.
   */
  prepare(value: unknown, transfer: boolean, role?: PayloadRole): void {
    if (value === undefined) this.#take(UNDEFINED, undefined, undefined, 0);
    else if (typeof value === "string") this.#prepareText(STRING, value);
    else if (isBytes(value)) {
      this.#take(BYTES, undefined, value, measure(value, role));
      this.#owned = transfer && isFixed(value);
    } else if (isInstanceOf(value, Snapshot)) {
      if (value.references !== undefined) references.met++;
      // Not owned: it may be sent again, so the transport gets a copy.
      this.restorePrepared(value, false);
    } else {
      const { sender } = this.agreement;
      if (sender !== undefined) {
        const bytes = serialize(sender, value, role);
        this.#take(CUSTOM, undefined, bytes, bytes.length);
        this.#owned = true;
      } else this.#prepareText(JSON_TEXT, toJson(value, role));
    }
  }

  /** Prepares the payload of a value that is a stream. */
  prepareStream(): void {
    this.#take(STREAM, undefined, undefined, 0);
  }

  /** The prepared payload as bytes, which may be the value itself. */
  toBytes(): Uint8Array {
    return this.#bytes ?? copyBytes(scratch, 0, this.size);
  }

  /** Sets the prepared payload aside, to write it in a later turn. Copies bytes that belong to the user. */
  savePrepared(): PreparedPayload {
    let bytes = this.#bytes;
    if (bytes !== undefined) {
      bytes = this.#owned ? plainView(bytes) : copyBytes(plainView(bytes));
    }
    const saved = { kind: this.kind, text: this.#text, bytes, size: this.size };
    this.clear();
    return saved;
  }

  /**
   * Prepares what `savePrepared` returned, or a snapshot.
   *
   * @throws {RpcError} `invalid_argument` if its bytes have lost their memory:
   *   the user transferred them to the library, and then to somebody else; or if
   *   the serializer that was chosen meanwhile cannot serialize it.
   */
  restorePrepared(
    { kind, text, bytes, size }: PreparedPayload,
    owned = true,
  ): void {
    if (text !== undefined) return this.#prepareText(kind, text);
    if (bytes !== undefined && bytes.length !== size) {
      throw unserializable(`params: ${GONE}`);
    }
    this.#take(kind, undefined, bytes, size);
    this.#owned = owned;
  }

  /**
   * Whether to {@linkcode write} the payload into the batch; else
   * {@linkcode attach} it. A large one that must be copied anyway is inline,
   * too: one chunk costs less than two.
   */
  get inline(): boolean {
    return this.#bytes === undefined ||
      !this.apart && (!this.#owned || this.size < ATTACH_SIZE);
  }

  /** Writes an inline payload at `at` of the send buffer. */
  write(
    { bytes, view }: Pick<MessageBuffer, "bytes" | "view">,
    at: number,
  ): void {
    const { size } = this;
    if (this.#bytes !== undefined) bytes.set(this.#bytes, at);
    else if (size <= SHORT_COPY) copyWords(scratchView, size, view, at);
    else bytes.set(scratch.subarray(0, size), at);
  }

  /** Adds a payload that is not inline to the batch, uncopied. */
  attach(sendBuffer: Pick<MessageBuffer, "lend">): void {
    sendBuffer.lend(plainView(this.#bytes as Uint8Array));
  }

  /** Drops the value, so that an idle connection does not keep it in memory. */
  clear(): void {
    this.#text = undefined;
    this.#bytes = undefined;
    this.apart = false;
    this.flags = 0;
  }

  #prepareText(kind: number, text: string): void {
    const { length } = text;
    if (length <= SHORT_ENCODE && writeIfAscii(text, scratch)) {
      this.#take(kind, text, undefined, length);
    } else if (kind === STRING && !text.isWellFormed()) {
      // A lone surrogate has no form in UTF-8, but an escape in JSON.
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

/** The options that decide how values are encoded. */
export interface SnapshotSettings {
  readonly serializer?: Serializer | SerializerList | undefined;
  /** Another protocol than the native one. */
  readonly protocol?: { readonly json?: boolean };
}

/**
 * Returns what can be sent in place of a value later: the value itself, if it
 * cannot change, else a {@linkcode Snapshot}. With a protocol that has its own
 * forms of values (gob) it is the value itself, which must not be changed
 * before it is sent.
 *
 * @throws {RpcError} `invalid_argument` if the value cannot be serialized.
 */
export function snapshot(
  value: unknown,
  transfer: boolean,
  { serializer, protocol }: SnapshotSettings,
): unknown {
  // Only such a protocol knows its form of a value.
  if (protocol !== undefined && protocol.json !== true) return value;
  if (value === undefined || typeof value === "string") return value;
  if (isInstanceOf(value, Snapshot) || isStream(value)) return value;
  if (isBytes(value) && protocol === undefined) {
    measure(value, "params");
    const own = transfer && isFixed(value);
    const bytes = own ? plainView(value) : copyBytes(plainView(value));
    return new Snapshot(BYTES, undefined, bytes);
  }
  const forms = (serializer as AnySerializer)?.forms?.(value);
  if (forms !== undefined) return forms;
  const fixed = serializer === undefined &&
    (value === null || typeof value === "number" || typeof value === "boolean");
  return fixed ? value : inForm(value, serializer as Serializer | undefined);
}

/**
 * A value in the form of one serializer; undefined stands for JSON.
 *
 * @throws {RpcError} `invalid_argument` if the value cannot be serialized.
 */
export function inForm(
  value: unknown,
  serializer: Serializer | undefined,
  role?: PayloadRole,
): Snapshot {
  const { met } = references;
  const text = serializer ? undefined : toJson(value, role);
  const bytes = serializer && serialize(serializer, value, role);
  const list = referencesIn(value, met);
  const kind = serializer ? CUSTOM : JSON_TEXT;
  return new Snapshot(kind, text, bytes, list, serializer);
}

/**
 * The references of a value that has just been encoded; `met` is how many had
 * been encoded before.
 *
 * @throws {RpcError} `invalid_argument` if one of them is where no path leads.
 */
function referencesIn(
  value: unknown,
  met: number,
): readonly PlacedReference[] | undefined {
  const count = references.met - met;
  return count === 0 ? undefined : references.find?.(value, count);
}

/** About how many bytes the result of {@linkcode snapshot} holds: at least as many as it has when it is sent. */
export function snapshotSize(value: unknown): number {
  if (typeof value === "string") return 2 * value.length;
  return isInstanceOf(value, Snapshot) ? value.size : 0;
}

/**
 * Decodes a payload; `owned` says that nobody else uses its bytes.
 *
 * @throws {unknown} What JSON, UTF-8 or the serializer throws for bytes that
 *   are not valid.
 */
export function decodePayload(
  { kind, bytes, at, end }: PayloadView,
  serializer: Serializer | undefined,
  owned: boolean,
): unknown {
  switch (kind) {
    case UNDEFINED:
      return undefined;
    case JSON_TEXT:
      return JSON.parse(readText(bytes, at, end));
    case BYTES:
      return ownBytes(bytes, at, end, owned);
    case STRING:
      return readText(bytes, at, end);
    default:
      if (serializer === undefined) {
        throw new TypeError("there is no serializer for a custom payload");
      }
      return serializer.decode(ownBytes(bytes, at, end, owned));
  }
}

/** Returns `bytes[start..end)` as the receiver's own: a copy, unless `bytes` is owned and most of it is in that range. */
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

/** What bytes are that have lost their memory, for error messages. */
export const GONE =
  "bytes whose memory is gone (its buffer was transferred or shrunk)";

/**
 * The length of bytes.
 *
 * @throws {RpcError} `invalid_argument` if they have lost their memory.
 */
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
    const bytes: unknown = serializer.encode(
      references.blank?.(value, serializer) ?? value,
    );
    if (!isBytes(bytes)) {
      throw new TypeError("the serializer did not return a Uint8Array");
    }
    lengthOf(bytes);
    return isFixed(bytes) ? plainView(bytes) : copyBytes(plainView(bytes));
  } catch (cause) {
    if (isInstanceOf(cause, LostPartError)) {
      const { what, advice, path } = cause;
      throw unserializable(`${role}${path}: ${what}`, undefined, advice);
    }
    throw unserializable(`the ${role}`, cause);
  }
}
