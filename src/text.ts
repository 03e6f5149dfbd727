/**
 * Text to UTF-8 and back, on the hot path.
 *
 * Invariants owned here:
 * - Decoding is strict: bytes that are not UTF-8 throw, none is replaced, and
 *   a byte order mark is kept.
 * - A copy shares no memory with its source. (`Buffer.prototype.slice` does,
 *   and chunks from Node are Buffers: so never `bytes.slice`.)
 *
 * @module
 */

/** No bytes at all; shared, as an empty typed array takes 200 bytes too. */
export const NO_BYTES: Uint8Array = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Up to this many bytes a loop decodes ASCII fastest. Measured at 13 bytes, loop,
 * `latin1Slice` with its check, TextDecoder: Node 76, 77, 96 ns; Deno 53, 65,
 * 293 ns; Bun 96, 68, 98 ns.
 */
const LOOP_DECODE = 16;

/**
 * Up to this many, `latin1Slice` does, where the runtime has it. Measured at 31
 * bytes, loop, `latin1Slice` with its check, TextDecoder: Node 84, 88, 97 ns;
 * Deno 75, 72, 306 ns; Bun 191, 75, 108 ns.
 */
const SLICE_DECODE = 256;

/** Bytes to a string, one character each: what Node's `Buffer` has, on all three runtimes and for any bytes. Browsers have none. */
const latin1Slice = (globalThis as {
  Buffer?: {
    prototype: {
      latin1Slice?(this: Uint8Array, start: number, end: number): string;
    };
  };
}).Buffer?.prototype.latin1Slice;

/**
 * Up to this many characters a loop encodes ASCII faster than `encodeInto`.
 * Measured at 16 characters: Node 27 ns to 46 ns, Deno 30 to 87, Bun 14 to 40;
 * at 64 it loses on Node and Deno.
 */
export const SHORT_ENCODE = 32;

/** Whether a loop over its characters is the way to encode `text`. */
export function isShortAscii(text: string): boolean {
  if (text.length > SHORT_ENCODE) return false;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return false;
  }
  return true;
}

/** Writes text that {@linkcode isShortAscii} holds for. */
export function writeAscii(text: string, target: Uint8Array, at: number): void {
  for (let i = 0; i < text.length; i++) target[at + i] = text.charCodeAt(i);
}

/** The UTF-8 of `text`; a lone surrogate becomes U+FFFD, as the platform does it. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Writes the UTF-8 of `text`; `target` must have room for three bytes a character. Returns the bytes written. */
export function writeUtf8(text: string, target: Uint8Array): number {
  return encoder.encodeInto(text, target).written;
}

/**
 * The text in `bytes[start..end)`.
 *
 * @throws {TypeError} If that is not UTF-8.
 */
export function readText(
  bytes: Uint8Array,
  start: number,
  end: number,
): string {
  if (end - start > LOOP_DECODE) {
    return latin1Slice !== undefined && end - start <= SLICE_DECODE &&
        isAscii(bytes, start, end)
      ? latin1Slice.call(bytes, start, end)
      : decode(bytes, start, end);
  }
  let text = "";
  let i = start;
  // Eight at a time: one concatenation for eight bytes instead of eight.
  for (; i + 8 <= end; i += 8) {
    const a = bytes[i], b = bytes[i + 1], c = bytes[i + 2], d = bytes[i + 3];
    const e = bytes[i + 4], f = bytes[i + 5], g = bytes[i + 6];
    const h = bytes[i + 7];
    if ((a | b | c | d | e | f | g | h) >= 0x80) {
      return decode(bytes, start, end);
    }
    text += String.fromCharCode(a, b, c, d, e, f, g, h);
  }
  for (; i < end; i++) {
    const a = bytes[i];
    if (a >= 0x80) return decode(bytes, start, end);
    text += String.fromCharCode(a);
  }
  return text;
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let all = 0;
  for (let i = start; i < end; i++) all |= bytes[i];
  return all < 0x80;
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  return decoder.decode(bytes.subarray(start, end));
}

/** The first `max` bytes of the UTF-8 of `text`, never cut inside a character. */
export function boundedUtf8(text: string, max: number): Uint8Array {
  // Four bytes a character at most, so what lies beyond cannot matter.
  const bytes = encoder.encode(text.length > max ? text.slice(0, max) : text);
  if (bytes.length <= max) return bytes;
  let end = max;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** A copy of `bytes[start..end)` that is its owner's alone. */
export function copyBytes(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}
