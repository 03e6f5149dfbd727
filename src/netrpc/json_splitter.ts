/**
 * Cuts a byte stream into JSON objects, whatever stands between them.
 *
 * Invariants owned here:
 * - Every byte is looked at once, however the stream is cut into chunks.
 * - An object's size and depth are checked as it comes; memory held for one
 *   that spans chunks is at most twice what has come of it. Of one that is too
 *   large both ends are kept, for what they say, and the rest is passed over.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import { LARGE } from "../base/large_reads.ts";

/** Takes objects' bytes, which are only lent for the time of the call. */
export interface ObjectSink {
  /** Whether an object of so many bytes may be taken now; asked of large ones. If not, `push` comes no further. */
  mayRead?(bytes: number): boolean;
  /** One object. */
  object(bytes: Uint8Array, start: number, end: number): void;
  /** An object of more than the limit: how it begins, how it ends, and its size. */
  tooLarge(head: Uint8Array, tail: Uint8Array, size: number): void;
}

/** How much of both ends is kept of an object that is too large, in bytes. */
const KEPT_END = 512;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Cuts one direction of a stream. */
export class JsonSplitter {
  /** Set to stop before the next object of the chunk. */
  stopped = false;
  readonly #sink: ObjectSink;
  readonly #maxSize: number;
  readonly #maxDepth: number;
  /** What has come of an object that spans chunks. */
  #held: Uint8Array = NO_BYTES;
  #fill = 0;
  /** How deep the next byte stands; 0 between objects. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** What is kept of an object that is too large: its beginning, its latest bytes, and its size so far. */
  #over: { head: Uint8Array; tail: Uint8Array; size: number } | undefined;

  constructor(sink: ObjectSink, maxSize: number, maxDepth: number) {
    this.#sink = sink;
    this.#maxSize = maxSize;
    this.#maxDepth = maxDepth;
  }

  /** Cuts no object more, and lets go of the one that has begun. */
  stop(): void {
    this.stopped = true;
    this.#held = NO_BYTES;
    this.#fill = 0;
    this.#over = undefined;
  }

  /** Whether an object has begun and not ended. */
  get inside(): boolean {
    return this.#depth > 0;
  }

  /** Bytes held of it. */
  get held(): number {
    return this.#fill;
  }

  /**
   * Cuts `chunk` from `at` until it is used up, or `stopped` is set; returns
   * how far it came.
   *
   * @throws {Error} If something else than an object begins, or one is too deep.
   */
  push(chunk: Uint8Array, at: number): number {
    while (at < chunk.length && !this.stopped) {
      if (this.#depth === 0) {
        at = skipSpace(chunk, at);
        if (at === chunk.length) return at;
        if (chunk[at] !== OPEN_BRACE) throw new Error("it sent no JSON object");
      }
      const start = at;
      at = this.#scan(chunk, at);
      const size = this.#fill + at - start;
      if (size > this.#maxSize || this.#over !== undefined) {
        this.#passOver(chunk.subarray(start, at));
      } else if (this.#depth > 0) this.#hold(chunk, start, at);
      else if (size >= LARGE && this.#waits(size)) {
        // Its last bytes are left, so that whoever waits is asked for them again.
        this.#hold(chunk, start, at - 1);
        this.#depth = 1;
        return at - 1;
      } else this.#deliver(chunk, start, at);
    }
    return at;
  }

  #waits(size: number): boolean {
    return this.#sink.mayRead?.(size) === false;
  }

  /** Looks at bytes until the object ends; returns where. */
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
          throw new Error(`an object deeper than ${this.#maxDepth} levels`);
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

  #passOver(part: Uint8Array): void {
    if (this.#over === undefined) {
      const held = this.#held.subarray(0, this.#fill);
      const head = joined(
        held.subarray(0, KEPT_END),
        part.subarray(0, KEPT_END),
      );
      this.#over = { head, tail: held, size: this.#fill };
      this.#held = NO_BYTES;
      this.#fill = 0;
    }
    const over = this.#over;
    over.tail = joined(over.tail.subarray(-KEPT_END), part.subarray(-KEPT_END));
    over.size += part.length;
    if (this.#depth > 0) return;
    this.#over = undefined;
    this.#sink.tooLarge(over.head, over.tail, over.size);
  }

  #hold(chunk: Uint8Array, start: number, end: number): void {
    const wanted = this.#fill + end - start;
    if (wanted > this.#held.length) {
      const grown = new Uint8Array(Math.max(64, wanted, 2 * this.#fill));
      grown.set(this.#held.subarray(0, this.#fill));
      this.#held = grown;
    }
    this.#held.set(chunk.subarray(start, end), this.#fill);
    this.#fill = wanted;
  }

  #deliver(chunk: Uint8Array, start: number, end: number): void {
    if (this.#fill === 0) {
      this.#sink.object(chunk, start, end);
      return;
    }
    this.#hold(chunk, start, end);
    const held = this.#held;
    const size = this.#fill;
    this.#held = NO_BYTES;
    this.#fill = 0;
    this.#sink.object(held, 0, size);
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
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
