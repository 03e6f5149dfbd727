/**
 * Writes the primitives of gob (integers, floats, strings, bytes) into a buffer
 * that grows. An unsigned integer below 128 is one byte; a larger one is 256
 * minus the number of its bytes, then these bytes, big-endian.
 *
 * @module
 */

import { viewOf } from "../../base/bytes.ts";
import { isShortAscii, utf8, writeAscii } from "../../base/utf8.ts";
import { GobError } from "./values.ts";

/** The 64 bits of a float. */
const floatView = /* @__PURE__ */ viewOf(/* @__PURE__ */ new Uint8Array(8));
const MAX_SAFE = 0x1fffffffffffffn;
const TWO_32 = 0x100000000;
const LOW_32 = 0xffffffffn;

/** The number of bytes that an unsigned integer takes. */
export function uintSize(value: number): number {
  if (value < 0x80) return 1;
  let n = 2;
  for (let rest = value; rest > 0xff; rest = Math.floor(rest / 256)) n++;
  return n;
}

/** Writes an unsigned integer below 2^53 at `at`; returns the position behind it. */
export function writeUint(
  target: Uint8Array,
  at: number,
  value: number,
): number {
  if (value < 0x80) {
    target[at] = value;
    return at + 1;
  }
  const n = uintSize(value) - 1;
  target[at] = 256 - n;
  for (let i = n, rest = value; i > 0; i--) {
    target[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return at + n + 1;
}

/** The largest buffer that is reused for the next message, in bytes. */
const MAX_REUSED = 16 * 1024;

/** A buffer of `size` bytes written so far. */
export class GobOutput {
  bytes: Uint8Array = new Uint8Array(256);
  size = 0;
  #depth = 0;

  /** Grows the buffer, if necessary, so that `n` more bytes fit. */
  grow(n: number): void {
    const needed = this.size + n;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.size));
    this.bytes = grown;
  }

  /** Empties the buffer. A large one is replaced by a small one. */
  clear(): void {
    if (this.bytes.length > MAX_REUSED) this.bytes = new Uint8Array(256);
    this.size = 0;
    this.#depth = 0;
  }

  /** Enters a nested value. Fails for a value that contains itself. */
  enter(maxDepth: number): void {
    if (++this.#depth > maxDepth) {
      throw new GobError(
        `values are nested deeper than ${maxDepth} levels (maxDepth)`,
      );
    }
  }

  /** Leaves a nested value. */
  leave(): void {
    this.#depth--;
  }

  /** Writes one byte. */
  byte(value: number): void {
    this.grow(1);
    this.bytes[this.size++] = value;
  }

  /** Writes an unsigned integer: a number up to 2^53 - 1, or a bigint of up to 64 bits. */
  uint(value: number | bigint): void {
    this.grow(9);
    if (typeof value === "number") {
      this.size = writeUint(this.bytes, this.size, value);
      return;
    }
    if (value <= MAX_SAFE) {
      this.size = writeUint(this.bytes, this.size, Number(value));
      return;
    }
    this.#wide(Number(value >> 32n), Number(value & LOW_32));
  }

  /** Writes a signed integer, as an unsigned one whose bit 0 states whether the other bits are inverted. */
  int(value: number | bigint): void {
    if (typeof value === "number") {
      if (value >= -0x40000000 && value < 0x40000000) {
        this.uint((value < 0 ? (~value << 1) | 1 : value << 1) >>> 0);
        return;
      }
      value = BigInt(value);
    }
    this.uint(value < 0n ? (~value << 1n) | 1n : value << 1n);
  }

  /** Writes a float: its 64 bits, in reverse order of bytes, as an unsigned integer. */
  float(value: number): void {
    floatView.setFloat64(0, value, true);
    const high = floatView.getUint32(0, false);
    const low = floatView.getUint32(4, false);
    this.grow(9);
    if (high < 0x200000) {
      this.size = writeUint(this.bytes, this.size, high * TWO_32 + low);
    } else this.#wide(high, low);
  }

  /** Writes a string: its length in bytes, then UTF-8. */
  text(value: string): void {
    if (isShortAscii(value)) {
      this.grow(1 + value.length);
      this.bytes[this.size] = value.length;
      writeAscii(value, this.bytes, this.size + 1);
      this.size += 1 + value.length;
    } else this.blob(utf8(value));
  }

  /** Writes bytes behind their length. */
  blob(value: Uint8Array): void {
    this.uint(value.length);
    this.raw(value);
  }

  /** Writes bytes without their length. */
  raw(value: Uint8Array): void {
    this.grow(value.length);
    this.bytes.set(value, this.size);
    this.size += value.length;
  }

  /** Inserts, at `start`, the length of all that has been written from there on. */
  prefix(start: number): void {
    const n = this.size - start;
    const width = uintSize(n);
    this.grow(width);
    this.bytes.copyWithin(start + width, start, this.size);
    writeUint(this.bytes, start, n);
    this.size += width;
  }

  /** Returns a copy of all that has been written. */
  copy(): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(this.size);
    copy.set(this.bytes.subarray(0, this.size));
    return copy;
  }

  /** Writes an unsigned integer of 54 to 64 bits. */
  #wide(high: number, low: number): void {
    const n = 3 + uintSize(high);
    const at = this.size;
    this.bytes[at] = 256 - n;
    for (let i = n, rest = low; i > n - 4; i--, rest >>>= 8) {
      this.bytes[at + i] = rest;
    }
    for (let i = n - 4, rest = high; i > 0; i--, rest >>>= 8) {
      this.bytes[at + i] = rest;
    }
    this.size = at + n + 1;
  }
}
