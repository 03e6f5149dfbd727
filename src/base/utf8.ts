/**
 * Text to UTF-8 and back, on the hot path.
 *
 * Decoding is strict: bytes that are not UTF-8 throw, none is replaced, and a
 * byte order mark is kept.
 *
 * @module
 */

const encoder = /* @__PURE__ */ new TextEncoder();
const decoder = /* @__PURE__ */ new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true,
});

/** A value for one runtime, and another for all others. */
function valueOn(runtime: string, value: number, otherwise: number): number {
  return runtime in globalThis ? value : otherwise;
}

/**
 * Up to this many bytes of ASCII are decoded by one `String.fromCharCode`, where
 * that is fastest: not on Bun, which has the fastest `latin1Slice`. Measured at
 * 6 and at 13 bytes, that, `latin1Slice` with its check, and pieces of eight
 * put together: Node 40, 64, 53 and 62, 80, 82 ns; Deno 33, 62, 42 and 56, 79,
 * 78 ns; Bun 90, 68, 84 and 131, 92, 133 ns.
 */
const CODES_DECODE = /* @__PURE__ */ valueOn("Bun", 4, 16);
/** For each length up to that: the array of the arguments, made when first used. */
const CODES: number[][] = [];

/**
 * Up to this many, `latin1Slice` does, where the runtime has it. Measured at 31
 * bytes, loop, `latin1Slice` with its check, TextDecoder: Node 84, 88, 97 ns;
 * Deno 75, 72, 306 ns; Bun 191, 75, 108 ns.
 */
const SLICE_DECODE = 256;

/** Bytes to a string, one character each: what Node's `Buffer` has, on all three runtimes and for any bytes. Browsers have none. */
const latin1Slice = /* @__PURE__ */ (() =>
  (globalThis as {
    Buffer?: {
      prototype: {
        latin1Slice?(this: Uint8Array, start: number, end: number): string;
      };
    };
  }).Buffer?.prototype.latin1Slice)();

/**
 * Up to this many characters a loop encodes ASCII fastest, else `encodeInto`.
 * Measured with strings just concatenated, as most are, at 13, 19, 31 and 48
 * characters, loop to `encodeInto`: Node 80 ns to 71, 91 to 64, 110 to 65, 153
 * to 71; Bun 106 to 113, 109 to 114, 117 to 107, 141 to 117; Deno 67 to 95, 79
 * to 104, 101 to 128, 142 to 138. (Flat ones of 16: Node 27 to 46.)
 */
export const SHORT_ENCODE = /* @__PURE__ */ valueOn("Deno", 40, 16);

/** Whether {@linkcode writeAscii} can encode `text`. */
export function isShortAscii(text: string): boolean {
  if (text.length > SHORT_ENCODE) return false;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return false;
  }
  return true;
}

/** Writes text of at most {@linkcode SHORT_ENCODE} characters to the start of `target`; says whether it is ASCII, so that this is its UTF-8. */
export function writeIfAscii(text: string, target: Uint8Array): boolean {
  let all = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    target[i] = c;
    all |= c;
  }
  return all < 0x80;
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
  const length = end - start;
  if (length <= CODES_DECODE) {
    const codes = CODES[length] ??= new Array<number>(length).fill(0);
    let all = 0;
    for (let i = 0; i < length; i++) all |= codes[i] = bytes[start + i];
    if (all < 0x80) return String.fromCharCode(...codes);
  } else if (
    length <= SLICE_DECODE && latin1Slice !== undefined &&
    isAscii(bytes, start, end)
  ) return latin1Slice.call(bytes, start, end);
  return decode(bytes, start, end);
}

/** Whether `bytes[start..end)` is UTF-8. */
export function checkText(
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (isAscii(bytes, start, end)) return true;
  try {
    decode(bytes, start, end);
    return true;
  } catch {
    return false;
  }
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
