/**
 * Writes gob's primitives into a buffer that grows.
 *
 * @module
 */

import { isShortAscii, utf8, writeAscii } from "../../base/utf8.ts";
import { GobError } from "./values.ts";

const floatBytes = new Uint8Array(8);
const floatView = new DataView(floatBytes.buffer);
const TWO_32 = 0x100000000;
const LOW_32 = 0xffffffffn;

/** Bytes that an unsigned integer takes. */
export function uintSize(value: number): number {
  if (value < 0x80) return 1;
  let n = 2;
  for (let rest = value; rest > 0xff; rest = Math.floor(rest / 256)) n++;
  return n;
}

/** Writes an unsigned integer below 2^53 at `at`; returns where it ends. */
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

/** Buffers larger than this are not kept for the next message. */
const MAX_KEPT = 16 * 1024;

/** What is written so far. */
export class GobOutput {
  bytes: Uint8Array = new Uint8Array(256);
  size = 0;
  #depth = 0;

  /** Makes room for `n` bytes more. */
  grow(n: number): void {
    const wanted = this.size + n;
    if (wanted <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(wanted, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.size));
    this.bytes = grown;
  }

  /** Begins anew; what has become large is let go. */
  clear(): void {
    if (this.bytes.length > MAX_KEPT) this.bytes = new Uint8Array(256);
    this.size = 0;
    this.#depth = 0;
  }

  /** Goes one level down; values that contain themselves end here. */
  enter(maxDepth: number): void {
    if (++this.#depth > maxDepth) {
      throw new GobError(`values nest deeper than ${maxDepth} levels`);
    }
  }

  /** Comes one level up. */
  leave(): void {
    this.#depth--;
  }

  /** One byte. */
  byte(value: number): void {
    this.grow(1);
    this.bytes[this.size++] = value;
  }

  /** A number that is a whole one from 0 to 2^53, or a bigint of up to 64 bits. */
  uint(value: number | bigint): void {
    this.grow(9);
    if (typeof value === "number") {
      this.size = writeUint(this.bytes, this.size, value);
      return;
    }
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.size = writeUint(this.bytes, this.size, Number(value));
      return;
    }
    this.#wide(Number(value >> 32n), Number(value & LOW_32));
  }

  /** A signed integer: bit 0 says whether the others are inverted. */
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

  /** A float. */
  float(value: number): void {
    floatView.setFloat64(0, value, true);
    const high = floatView.getUint32(0, false);
    const low = floatView.getUint32(4, false);
    this.grow(9);
    if (high < 0x200000) {
      this.size = writeUint(this.bytes, this.size, high * TWO_32 + low);
    } else this.#wide(high, low);
  }

  /** A string. */
  text(value: string): void {
    if (isShortAscii(value)) {
      this.grow(1 + value.length);
      this.bytes[this.size] = value.length;
      writeAscii(value, this.bytes, this.size + 1);
      this.size += 1 + value.length;
    } else this.blob(utf8(value));
  }

  /** Bytes, with their count. */
  blob(value: Uint8Array): void {
    this.uint(value.length);
    this.raw(value);
  }

  /** Bytes as they are. */
  raw(value: Uint8Array): void {
    this.grow(value.length);
    this.bytes.set(value, this.size);
    this.size += value.length;
  }

  /** What was written from `start` on, with its byte count put before it. */
  prefix(start: number): void {
    const n = this.size - start;
    const width = uintSize(n);
    this.grow(width);
    this.bytes.copyWithin(start + width, start, this.size);
    writeUint(this.bytes, start, n);
    this.size += width;
  }

  /** A copy of everything. */
  copy(): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(this.size);
    copy.set(this.bytes.subarray(0, this.size));
    return copy;
  }

  /** An integer of 54 to 64 bits. */
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
