/**
 * What a transport yields, as plain bytes.
 *
 * Invariant owned here: what is no bytes ends its connection with an error that
 * says so; nothing guesses how text would be encoded.
 *
 * This file is below `duplex.ts`; it imports none of its types.
 *
 * @module
 */

import { ConnectionError, quote } from "../base/errors.ts";

const BYTES = Uint8Array.prototype;
const bufferLength = Object.getOwnPropertyDescriptor(
  ArrayBuffer.prototype,
  "byteLength",
)?.get as () => number;

/**
 * The bytes of a chunk: a plain `Uint8Array` as it is, any other view, Node's
 * `Buffer` and an `ArrayBuffer`, of any realm, as a view of the same memory;
 * shared memory as a copy, since others can write to it.
 *
 * @throws {ConnectionError} `invalid_argument` if it is anything else, or its
 * memory has been transferred.
 */
export function toChunk(value: unknown): Uint8Array {
  if (Object.getPrototypeOf(value ?? 0) === BYTES) {
    const bytes = value as Uint8Array;
    if (bytes.buffer instanceof ArrayBuffer) return bytes;
  }
  try {
    if (ArrayBuffer.isView(value)) {
      const { buffer, byteOffset, byteLength } = value;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      return isUnshared(buffer) ? bytes : new Uint8Array(bytes);
    }
    if (isUnshared(value)) return new Uint8Array(value);
  } catch {
    throw notBytes("bytes whose memory has been transferred");
  }
  const text = typeof value === "string"
    ? `a string (${quote(value, 24)})`
    : describe(value);
  throw notBytes(text);
}

/** By its brand: one of another realm is no instance of ours. */
function isUnshared(value: unknown): value is ArrayBuffer {
  try {
    bufferLength.call(value);
    return true;
  } catch {
    return false;
  }
}

function describe(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object"
    ? "an object that is no bytes"
    : typeof value;
}

function notBytes(what: string): ConnectionError {
  return new ConnectionError(
    "invalid_argument",
    `the transport yielded ${what}: a duplex's readable must yield bytes (Uint8Array); encode text before, with a TextEncoderStream or no setEncoding()`,
  );
}
