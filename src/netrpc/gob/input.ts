/**
 * Reads gob's primitives from a message.
 *
 * Invariants owned here:
 * - Nothing is read past the message's end, and no length is believed before
 *   it has been held against what is left of the message.
 * - One message makes no more than `maxElements` values, nests no deeper than
 *   `maxDepth`, and takes no more memory than `maxExpansion` allows for its
 *   bytes, whatever it claims.
 *
 * @module
 */

import { readText } from "../../base/utf8.ts";
import { GobError } from "./values.ts";

/** What one message may make of itself. */
export interface GobLimits {
  /** How deep values may nest. Default 1,000. */
  readonly maxDepth: number;
  /** How many values a message may hold, those left out as zero included. Default 4,194,304. */
  readonly maxElements: number;
  /** How many bytes of memory the values of a message may take for each byte of it, beyond 1 MiB; estimated. Default 64. */
  readonly maxExpansion: number;
}

/** Bytes that a message's values may take for each byte of it. */
const MAX_EXPANSION = 64;

/** The defaults. */
export const GOB_LIMITS: GobLimits = {
  maxDepth: 1000,
  maxElements: 4 * 1024 * 1024,
  maxExpansion: MAX_EXPANSION,
};

/** What the values of any message may take, in bytes. */
const FREE_BYTES = 1024 * 1024;

/**
 * What values take beside their place in what holds them, in bytes: on V8, as
 * measured; JavaScriptCore takes less of most. Strings and numbers are not
 * counted: they take less than 12 times their bytes in the message.
 */
export const SIZES = {
  bytes: 208,
  complex: 72,
  date: 96,
  map: 192,
  /** A map's entry, its table's growth included. */
  entry: 56,
  registered: 72,
};

/** What a list takes. */
export function listBytes(n: number): number {
  return 32 + 8 * n;
}

/** What a struct takes. Engines keep one of more fields as a hash table. */
export function structBytes(fields: number): number {
  return fields <= 64 ? 64 + 8 * fields : 60 * fields;
}

const EMPTY = new Uint8Array(0);
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const TWO_32 = 0x100000000;

/** Eight bytes, for the bits of a float. */
const floatBytes = new Uint8Array(8);
const floatView = new DataView(floatBytes.buffer);

/** A place in a message. */
export class GobInput {
  bytes: Uint8Array = EMPTY;
  at = 0;
  end = 0;
  #depth = 0;
  #elements = 0;
  /** Bytes of memory that values may still take. */
  #room = 0;
  readonly #limits: GobLimits;

  constructor(limits: GobLimits) {
    this.#limits = limits;
  }

  /** Goes to `bytes[at..end)`. */
  open(bytes: Uint8Array, at: number, end: number): void {
    this.move(bytes, at, end);
    this.#depth = 0;
    this.#elements = 0;
    this.#room = FREE_BYTES + this.#limits.maxExpansion * (end - at);
  }

  /** Goes on at `bytes[at..end)` with the value it is in. */
  move(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Goes one level down. */
  enter(): void {
    if (++this.#depth > this.#limits.maxDepth) {
      throw new GobError(
        `values nest deeper than ${this.#limits.maxDepth} levels`,
      );
    }
  }

  /** Comes one level up. */
  leave(): void {
    this.#depth--;
  }

  /** Counts `n` values that are about to be made, and take so many bytes of memory. */
  spend(n: number, bytes: number): void {
    this.#elements += n;
    this.#room -= bytes;
    if (this.#room < 0) {
      throw new GobError(
        `a message whose values take over ${this.#limits.maxExpansion} times its own bytes, and 1 MiB`,
      );
    }
    if (this.#elements > this.#limits.maxElements) {
      throw new GobError(
        `a message of more than ${this.#limits.maxElements} values`,
      );
    }
  }

  /** An unsigned integer; a bigint past 2^53. */
  uint(): number | bigint {
    const first = this.#byte();
    if (first < 0x80) return first;
    const at = this.at;
    const n = this.#width(first);
    if (n <= 4) return this.#beBytes(at, n);
    const high = this.#beBytes(at, n - 4);
    const low = this.#beBytes(at + n - 4, 4);
    if (high < 0x200000) return high * TWO_32 + low;
    return (BigInt(high) << 32n) | BigInt(low);
  }

  /** An unsigned integer that must be a number. */
  small(): number {
    const value = this.uint();
    if (typeof value === "number") return value;
    throw new GobError(`the number ${value} is past 2^53`);
  }

  /** A signed integer; a bigint past 2^53. */
  int(): number | bigint {
    const u = this.uint();
    if (typeof u === "number") {
      if (u <= 0x7fffffff) return (u & 1) === 0 ? u >>> 1 : ~(u >>> 1);
      const half = Math.floor(u / 2);
      return u % 2 === 0 ? half : -half - 1;
    }
    const value = (u & 1n) === 0n ? u >> 1n : ~(u >> 1n);
    return value <= SAFE && value >= -SAFE ? Number(value) : value;
  }

  /** A type's id; negative before its definition. */
  typeId(): number {
    const id = this.int();
    if (typeof id === "number") return id;
    throw new GobError("a type id past 2^53");
  }

  /** A length or count of things that take a byte each at least. */
  length(): number {
    const n = this.uint();
    if (typeof n === "bigint" || n > this.end - this.at) {
      throw new GobError(
        `a length of ${n}, with ${this.end - this.at} bytes left`,
      );
    }
    return n;
  }

  /** Passes over bytes that stand behind their count, and says how many. */
  pass(): number {
    const n = this.length();
    this.at += n;
    return n;
  }

  /** A float: its bits, byte-reversed, as an unsigned integer. */
  float(): number {
    floatBytes.fill(0);
    const first = this.#byte();
    if (first < 0x80) floatBytes[7] = first;
    else {
      const at = this.at;
      const n = this.#width(first);
      for (let i = 0; i < n; i++) floatBytes[8 - n + i] = this.bytes[at + i];
    }
    return floatView.getFloat64(0, true);
  }

  /** A string; it must be UTF-8. */
  text(): string {
    const n = this.length();
    const start = this.at;
    this.at = start + n;
    try {
      return readText(this.bytes, start, this.at);
    } catch (cause) {
      throw new GobError("a string that is not UTF-8", { cause });
    }
  }

  /** Bytes, copied. */
  blob(): Uint8Array<ArrayBuffer> {
    const n = this.length();
    this.spend(0, SIZES.bytes + n);
    const copy = new Uint8Array(n);
    copy.set(this.bytes.subarray(this.at, this.at + n));
    this.at += n;
    return copy;
  }

  /** Says that the message must be over. */
  done(): void {
    if (this.at !== this.end) {
      throw new GobError(`${this.end - this.at} bytes behind the value`);
    }
  }

  #byte(): number {
    if (this.at >= this.end) throw new GobError("the message is cut short");
    return this.bytes[this.at++];
  }

  /** Takes the bytes that a first byte above 0x7f announces, and says how many. */
  #width(first: number): number {
    const n = 256 - first;
    if (n > 8) throw new GobError(`an integer of ${n} bytes`);
    if (this.at + n > this.end) throw new GobError("the message is cut short");
    this.at += n;
    return n;
  }

  /** Up to four bytes, big-endian. */
  #beBytes(at: number, n: number): number {
    let value = 0;
    for (let i = 0; i < n; i++) value = value * 256 + this.bytes[at + i];
    return value;
  }
}
