/**
 * Bytes: inspected, copied, and kept for reuse.
 *
 * - A copy shares no memory with its source. (`Buffer.prototype.slice` does,
 *   and chunks from Node are Buffers: so never `bytes.slice`.)
 * - Memory that is not cleared is overwritten, all of it, by the code that asked
 *   for it, before any other code sees it.
 * - A user's bytes are recognised and measured by what they are, not by what
 *   their prototype or properties say: bytes of another realm and subclasses
 *   are bytes, a Proxy is none, and a `length` that lies is not believed.
 *
 * @module
 */

import { ConnectionError, quote } from "./errors.ts";
import { typeName } from "./inspect.ts";
import { isInstanceOf } from "./user_code.ts";

/** No bytes at all; shared, as an empty typed array takes 200 bytes too. */
export const NO_BYTES: Uint8Array = /* @__PURE__ */ new Uint8Array(0);
/** The same, to read and write several bytes at once. */
export const NO_VIEW: DataView = /* @__PURE__ */ viewOf(NO_BYTES);

/** All of `bytes`, to read and write several at once. */
export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** Reads a property of every instance of a built-in class, whatever the instance's own properties say. It throws for other values, or is `undefined` for them. */
export function getter<T>(
  { prototype }: { readonly prototype: object },
  name: PropertyKey,
): (this: unknown) => T {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as () => T;
}

/** {@linkcode getter} for all typed arrays. */
export function arrayGetter<T>(name: PropertyKey): (this: unknown) => T {
  return getter(Object.getPrototypeOf(Uint8Array), name);
}

/** The class of a typed array, by name; `undefined` for any other value. */
export const typedArrayTag: (this: unknown) => string | undefined =
  /* @__PURE__ */ arrayGetter(Symbol.toStringTag);
const lengthGetter = /* @__PURE__ */ arrayGetter<number>("length");
const offsetGetter = /* @__PURE__ */ arrayGetter<number>("byteOffset");
const bufferGetter = /* @__PURE__ */ arrayGetter<ArrayBuffer>("buffer");
const bufferLength = /* @__PURE__ */ getter<number>(ArrayBuffer, "byteLength");

/** Whether it is a `Uint8Array`, a subclass of it such as Node's `Buffer`, or one of another realm. Never throws. */
export function isBytes(value: unknown): value is Uint8Array {
  // Whether it is an instance costs less to ask, on Bun above all.
  return ArrayBuffer.isView(value) &&
    (isInstanceOf(value, Uint8Array) ||
      typedArrayTag.call(value) === "Uint8Array");
}

/**
 * How many bytes it has.
 *
 * @throws {TypeError} If they are gone: its buffer was transferred, or shrunk.
 */
export function lengthOf(bytes: Uint8Array): number {
  const length = lengthGetter.call(bytes);
  // Only such a view can have lost its memory; to copy from it says so.
  if (length === 0) NO_BYTES.set(bytes);
  return length;
}

/** A plain view of the same memory: what it does is ours to say. */
export function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(
    bufferGetter.call(bytes),
    offsetGetter.call(bytes),
    lengthGetter.call(bytes),
  );
}

/** Whether its memory can be used later: it is neither shared nor resizable. */
export function isFixed(bytes: Uint8Array): boolean {
  const buffer: ArrayBuffer & { resizable?: boolean } = bufferGetter.call(
    bytes,
  );
  return buffer instanceof ArrayBuffer && buffer.resizable !== true;
}

/** The bytes that {@linkcode copyWords} may write, and read, behind those it copies. */
export const SPILL = 3;

/** Up to this many bytes it beats `set`, which needs a view of its own besides. */
export const SHORT_COPY = 64;

/** Copies `n` bytes from the start of `from`, four at a time. */
export function copyWords(
  from: DataView,
  n: number,
  to: DataView,
  at: number,
): void {
  for (let i = 0; i < n; i += 4) to.setInt32(at + i, from.getInt32(i));
}

/** Clearing less than this costs less than asking for memory that is not. */
const MIN_BLANK = 4096;

/** Memory that nobody has cleared, of an `ArrayBuffer` of its own: what Node's `Buffer` has. Deno's clears it all the same. */
const allocate = /* @__PURE__ */ findAllocate();

function findAllocate(): ((n: number) => Uint8Array) | undefined {
  const { Buffer, Deno } = globalThis as {
    Buffer?: { allocUnsafeSlow(n: number): Uint8Array };
    Deno?: unknown;
  };
  return Deno === undefined ? Buffer?.allocUnsafeSlow : undefined;
}

/**
 * `n` bytes to be overwritten, all of them: they may hold any old data of this
 * process. (For payloads of 64 KiB it saves 7 % of both sides' CPU time on Node,
 * and 8 % on Bun.)
 */
export function blank(n: number): Uint8Array {
  return n < MIN_BLANK || allocate === undefined
    ? new Uint8Array(n)
    : new Uint8Array(allocate(n).buffer);
}

/** A copy of `bytes[start..end)`. */
export function copyBytes(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): Uint8Array {
  const copy = blank(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}

/** The largest size of a segment, in bytes; only these are kept. */
export const MAX_SEGMENT: number = 64 * 1024;

/** One megabyte. */
const MOST_SPARE = 16;

/** The last one given back is the first one used: the processor's cache may still have it. */
const spare: Uint8Array[] = [];

/** A full segment, with whatever it has held before. */
export function takeSegment(): Uint8Array {
  return spare.pop() ?? new Uint8Array(MAX_SEGMENT);
}

/** Gives full segments back. */
export function keepSegments(segments: readonly Uint8Array[]): void {
  for (const segment of segments) {
    if (spare.length === MOST_SPARE) return;
    spare.push(segment);
  }
}

/**
 * The bytes of a chunk that a stream has yielded. A plain `Uint8Array` is
 * returned as it is. Any other view, Node's `Buffer` and an `ArrayBuffer`, of
 * any realm, become a view of the same memory. Shared memory is copied, since
 * other threads can write to it.
 *
 * Text is refused: nothing here guesses how it would be encoded.
 *
 * @throws {ConnectionError} `invalid_argument` if it is anything else, or its
 *   memory has been transferred.
 */
export function toChunk(value: unknown): Uint8Array {
  if (Object.getPrototypeOf(value ?? 0) === Uint8Array.prototype) {
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
  if (typeof value === "string") {
    throw notBytes(`a string (${quote(value, 24)})`);
  }
  const type = typeName(value);
  throw notBytes(type === "object" ? "an object that is no bytes" : type);
}

/** Whether it is an `ArrayBuffer`, also of another realm. */
function isUnshared(value: unknown): value is ArrayBuffer {
  try {
    bufferLength.call(value);
    return true;
  } catch {
    return false;
  }
}

function notBytes(what: string): ConnectionError {
  return new ConnectionError(
    "invalid_argument",
    `the transport yielded ${what}: a duplex's readable must yield bytes (Uint8Array); encode text, or do not call setEncoding()`,
  );
}
