/**
 * Splits a byte stream into JSON objects, with any white space between them.
 *
 * Bounds: every byte is scanned once, however the stream is divided into
 * chunks. The size and depth of an object are checked while it arrives. Of an
 * object that is too large only the first and last {@linkcode KEPT_END} bytes
 * are kept, which may name the call.
 *
 * @module
 */

import { LARGE } from "../base/large_reads.ts";
import { PartialMessage } from "./partial_message.ts";

/** Receives objects. It may use `bytes` only during the call. */
export interface JsonObjectHandler {
  /** Whether an object of this size may be read now; called for objects of `LARGE` bytes and more. If not, `push` stops before its end. */
  mayRead?(bytes: number): boolean;
  /** Called with each object. */
  object(bytes: Uint8Array, start: number, end: number): void;
  /** Called for an object above the limit, with its first and last bytes and its size. */
  tooLarge(head: Uint8Array, tail: Uint8Array, size: number): void;
}

/** The bytes that are kept of each end of an object that is too large. */
const KEPT_END = 512;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Splits one direction of a stream. */
export class JsonSplitter {
  /** Set it to make `push` stop before the next object. */
  stopped = false;
  readonly #handler: JsonObjectHandler;
  readonly #maxSize: number;
  readonly #maxDepth: number;
  /** The beginning of an object that spans chunks. */
  readonly #partial = new PartialMessage();
  /** The depth at which the next byte stands; 0 between objects. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** What is kept of an object that is too large: its first bytes, its latest bytes, and its size so far. */
  #oversized: { head: Uint8Array; tail: Uint8Array; size: number } | undefined;

  constructor(handler: JsonObjectHandler, maxSize: number, maxDepth: number) {
    this.#handler = handler;
    this.#maxSize = maxSize;
    this.#maxDepth = maxDepth;
  }

  /** Stops for good, and drops an object that has begun. */
  stop(): void {
    this.stopped = true;
    this.#partial.clear();
    this.#oversized = undefined;
  }

  /** Whether an object has begun and not ended. */
  get insideMessage(): boolean {
    return this.#depth > 0;
  }

  /** The bytes stored of an object that has begun. */
  get bufferedBytes(): number {
    return this.#partial.size;
  }

  /**
   * Splits `chunk` from `at` until its end, or until it is stopped. Returns the
   * position that it has reached.
   *
   * @throws {Error} If something other than an object begins, or an object is
   * nested too deeply.
   */
  push(chunk: Uint8Array, at: number): number {
    while (at < chunk.length && !this.stopped) {
      if (this.#depth === 0) {
        at = skipSpace(chunk, at);
        if (at === chunk.length) return at;
        if (chunk[at] !== OPEN_BRACE) {
          throw new Error("a message is not a JSON object");
        }
      }
      const start = at;
      at = this.#scan(chunk, at);
      const size = this.#partial.size + at - start;
      if (size > this.#maxSize || this.#oversized !== undefined) {
        this.#skip(chunk.subarray(start, at));
      } else if (this.#depth > 0) this.#partial.append(chunk, start, at);
      else if (size >= LARGE && this.#mustWait(size)) {
        // The last byte stays in the chunk, so that `push` is called again for it.
        this.#partial.append(chunk, start, at - 1);
        this.#depth = 1;
        return at - 1;
      } else this.#deliver(chunk, start, at);
    }
    return at;
  }

  #mustWait(size: number): boolean {
    return this.#handler.mayRead?.(size) === false;
  }

  /** Scans to the end of the object or the chunk, and returns the position. */
  #scan(chunk: Uint8Array, at: number): number {
    let depth = this.#depth;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
        continue;
      }
      if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (++depth > this.#maxDepth) {
          throw new Error(
            `a message is nested deeper than ${this.#maxDepth} levels (maxDepth)`,
          );
        }
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (--depth === 0) {
          this.#depth = 0;
          return at + 1;
        }
      }
    }
    this.#depth = depth;
    return at;
  }

  #deliver(chunk: Uint8Array, start: number, end: number): void {
    const partial = this.#partial;
    if (partial.size === 0) return this.#handler.object(chunk, start, end);
    partial.append(chunk, start, end);
    const { size } = partial;
    this.#handler.object(partial.take(), 0, size);
  }

  /** Skips a part of an object that is too large. */
  #skip(part: Uint8Array): void {
    if (this.#oversized === undefined) {
      const { size } = this.#partial;
      const begun = this.#partial.take().subarray(0, size);
      const head = concat(
        begun.subarray(0, KEPT_END),
        part.subarray(0, KEPT_END),
      );
      this.#oversized = { head, tail: begun, size };
    }
    const object = this.#oversized;
    object.tail = concat(
      object.tail.subarray(-KEPT_END),
      part.subarray(-KEPT_END),
    );
    object.size += part.length;
    if (this.#depth > 0) return;
    this.#oversized = undefined;
    this.#handler.tooLarge(object.head, object.tail, object.size);
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function skipSpace(chunk: Uint8Array, at: number): number {
  while (at < chunk.length && isSpace(chunk[at])) at++;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
