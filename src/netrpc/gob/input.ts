/**
 * Reads the primitives of gob (integers, floats, strings, bytes) from a
 * message, and enforces the limits of a message.
 *
 * Bounds:
 * - Nothing is read beyond the end of the message. A length is checked against
 *   the rest of the message before it is used.
 * - The values of one message are at most `maxElements`, at most `maxDepth`
 *   levels deep, and take at most as much memory as `maxExpansion` allows for
 *   the bytes of the message.
 *
 * @module
 */

import { NO_BYTES, viewOf } from "../../base/bytes.ts";
import { readText } from "../../base/utf8.ts";
import { GobError } from "./values.ts";

/**
 * Limits for the values of one gob message, which protect a receiver from small
 * messages that describe very large values. A message that exceeds one fails
 * with a {@linkcode GobError}.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { decodeGob, encodeGob, GobError } from "@sluice/rpc/netrpc";
 *
 * const nested = encodeGob([[[[1]]]]);
 * assertThrows(() => decodeGob(nested, undefined, { maxDepth: 3 }), GobError);
 * ```
 */
export interface GobLimits {
  /** How many levels deep values may be nested. Default: 1,000. */
  readonly maxDepth: number;
  /** The number of values in a message, including fields that the sender left out because they are zero. Default: 4,194,304. */
  readonly maxElements: number;
  /** How many bytes of memory the values may take for each byte of the message, in addition to 1 MiB for each message. The memory is estimated. Default: 64. */
  readonly maxExpansion: number;
}

/** The default of `maxExpansion`. */
const MAX_EXPANSION = 64;

/** The default limits. */
export const GOB_LIMITS: GobLimits = {
  maxDepth: 1000,
  maxElements: 4 * 1024 * 1024,
  maxExpansion: MAX_EXPANSION,
};

/** The memory that the values of any message may take, whatever its size, in bytes. */
const FREE_BYTES = 1024 * 1024;

/**
 * The memory that a value takes in addition to the reference to it, in bytes.
 * Measured on V8; JavaScriptCore needs less for most. Strings and numbers are
 * not counted, as they take less than 12 times their bytes in the message.
 */
export const SIZES = {
  bytes: 208,
  complex: 72,
  date: 96,
  map: 192,
  /** An entry of a map, including the growth of its table. */
  entry: 56,
  registered: 72,
};

/** The memory of a list of `n` elements, in bytes. */
export function listBytes(n: number): number {
  return 32 + 8 * n;
}

/** The memory of a struct, in bytes. Engines store one of more than 64 fields as a hash table. */
export function structBytes(fields: number): number {
  return fields <= 64 ? 64 + 8 * fields : 60 * fields;
}

const MAX_SAFE = 0x1fffffffffffffn;
const TWO_32 = 0x100000000;

/** The 64 bits of a float. */
const floatBytes = /* @__PURE__ */ new Uint8Array(8);
const floatView = /* @__PURE__ */ viewOf(floatBytes);

/** A position in a message, `at`, from which values are read up to `end`. */
export class GobInput {
  bytes: Uint8Array = NO_BYTES;
  at = 0;
  end = 0;
  #depth = 0;
  #elements = 0;
  /** Bytes of memory that further values may take. */
  #memoryLeft = 0;
  readonly #limits: GobLimits;

  constructor(limits: GobLimits) {
    this.#limits = limits;
  }

  /** Begins with the message `bytes[at..end)`, with all limits anew. */
  reset(bytes: Uint8Array, at: number, end: number): void {
    this.continueAt(bytes, at, end);
    this.#depth = 0;
    this.#elements = 0;
    this.#memoryLeft = FREE_BYTES + this.#limits.maxExpansion * (end - at);
  }

  /** Continues with `bytes[at..end)` within the same value. */
  continueAt(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Enters a nested value. */
  enter(): void {
    if (++this.#depth > this.#limits.maxDepth) {
      throw new GobError(
        `values are nested deeper than ${this.#limits.maxDepth} levels (maxDepth)`,
      );
    }
  }

  /** Leaves a nested value. */
  leave(): void {
    this.#depth--;
  }

  /** Counts `n` values that are about to be created, and the bytes of memory that they take. */
  charge(n: number, bytes: number): void {
    this.#elements += n;
    this.#memoryLeft -= bytes;
    if (this.#memoryLeft < 0) {
      throw new GobError(
        `the message's values take more memory than 1 MiB and ${this.#limits.maxExpansion} times its own bytes (maxExpansion)`,
      );
    }
    if (this.#elements > this.#limits.maxElements) {
      throw new GobError(
        `the message has more than ${this.#limits.maxElements} values (maxElements)`,
      );
    }
  }

  /** Reads an unsigned integer: a number up to 2^53 - 1, above that a bigint. */
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

  /** Reads an unsigned integer of at most 2^53 - 1. */
  safeUint(): number {
    const value = this.uint();
    if (typeof value === "number") return value;
    throw new GobError(`the number ${value} is above 2^53 - 1`);
  }

  /** Reads a signed integer: a number within ±(2^53 - 1), outside a bigint. */
  int(): number | bigint {
    const u = this.uint();
    if (typeof u === "number") {
      if (u <= 0x7fffffff) return (u & 1) === 0 ? u >>> 1 : ~(u >>> 1);
      const half = Math.floor(u / 2);
      return u % 2 === 0 ? half : -half - 1;
    }
    const value = (u & 1n) === 0n ? u >> 1n : ~(u >> 1n);
    return value <= MAX_SAFE && value >= -MAX_SAFE ? Number(value) : value;
  }

  /** Reads the id of a type; it is negative if the definition of the type follows. */
  typeId(): number {
    const id = this.int();
    if (typeof id === "number") return id;
    throw new GobError(`the type id ${id} is outside ±(2^53 - 1)`);
  }

  /** Reads a length: of bytes, or of elements that take one byte each at least. */
  length(): number {
    const n = this.uint();
    if (typeof n === "bigint" || n > this.end - this.at) {
      throw new GobError(
        `the message states a length of ${n}, but has only ${
          this.end - this.at
        } bytes left`,
      );
    }
    return n;
  }

  /** Skips bytes that follow their length; returns the length. */
  skip(): number {
    const n = this.length();
    this.at += n;
    return n;
  }

  /** Reads a float. Gob sends its 64 bits, in reverse order of bytes, as an unsigned integer. */
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

  /** Reads a string, which must be valid UTF-8. */
  text(): string {
    const n = this.length();
    const start = this.at;
    this.at = start + n;
    try {
      return readText(this.bytes, start, this.at);
    } catch (cause) {
      throw new GobError("a string is not valid UTF-8", { cause });
    }
  }

  /** Reads bytes, as a copy. */
  blob(): Uint8Array<ArrayBuffer> {
    const n = this.length();
    this.charge(0, SIZES.bytes + n);
    const copy = new Uint8Array(n);
    copy.set(this.bytes.subarray(this.at, this.at + n));
    this.at += n;
    return copy;
  }

  /** Checks that the message ends here. */
  expectEnd(): void {
    if (this.at !== this.end) {
      throw new GobError(
        `the message has ${this.end - this.at} bytes after its value`,
      );
    }
  }

  #byte(): number {
    if (this.at >= this.end) throw new GobError(CUT_SHORT);
    return this.bytes[this.at++];
  }

  /** Moves behind an integer that does not fit into its first byte; returns the number of bytes after the first one. */
  #width(first: number): number {
    const n = 256 - first;
    if (n > 8) {
      throw new GobError(`the message has an integer of ${n} bytes, at most 8`);
    }
    if (this.at + n > this.end) throw new GobError(CUT_SHORT);
    this.at += n;
    return n;
  }

  /** Reads up to four bytes, big-endian. */
  #beBytes(at: number, n: number): number {
    let value = 0;
    for (let i = 0; i < n; i++) value = value * 256 + this.bytes[at + i];
    return value;
  }
}

const CUT_SHORT = "the message is cut short";
