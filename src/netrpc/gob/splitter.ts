/**
 * Cuts a byte stream into gob's messages: a byte count, then that many bytes.
 *
 * Invariants owned here:
 * - A length is checked before anything is allocated for it, and what is too
 *   long is passed over.
 * - A message that lies within one chunk is not copied; memory held for one
 *   that does not is at most twice what has come of it.
 *
 * @module
 */

import { NO_BYTES } from "../../base/bytes.ts";
import { LARGE } from "../../base/large_reads.ts";
import { GobError } from "./values.ts";

/** Takes messages; `bytes` is only lent for the time of the call. */
export interface MessageSink {
  /** Whether a message of so many bytes may be taken now; asked of large ones. If not, `push` comes no further. */
  mayRead?(bytes: number): boolean;
  /** One message, without its byte count. */
  message(bytes: Uint8Array, start: number, end: number): void;
  /** A message of more bytes than the limit, which are passed over; what this throws ends the stream. */
  tooLarge?(length: number): void;
}

/** Most bytes that a byte count takes. */
const MAX_PREFIX = 9;

/** Cuts one direction of a stream. */
export class MessageSplitter {
  /** Set to stop before the next message of the chunk. */
  stopped = false;
  readonly #sink: MessageSink;
  readonly #maxMessage: number;
  /** What has come of a message that spans chunks, its byte count included. */
  #held: Uint8Array = NO_BYTES;
  #fill = 0;
  /** What `#prefix` has found: the message's length, and where it begins. */
  #length = 0;
  #start = 0;
  /** Bytes left of a message that is passed over. */
  #excess = 0;

  constructor(sink: MessageSink, maxMessage: number) {
    this.#sink = sink;
    this.#maxMessage = maxMessage;
  }

  /** Cuts no message more, and lets go of the one that has begun. */
  stop(): void {
    this.stopped = true;
    this.#held = NO_BYTES;
    this.#fill = 0;
  }

  /** Whether a message has begun and not ended. */
  get inside(): boolean {
    return this.#fill > 0 || this.#excess > 0;
  }

  /** Bytes held of it. */
  get held(): number {
    return this.#fill;
  }

  /**
   * Cuts `chunk` from `at` until it is used up, or `stopped` is set; returns
   * how far it came.
   *
   * @throws {GobError} If a message is empty.
   */
  push(chunk: Uint8Array, at: number): number {
    if (this.#excess > 0) at = this.#passOver(chunk, at);
    else if (this.#fill > 0) {
      at = this.#resume(chunk, at);
      if (this.#fill > 0) return at;
    }
    while (at < chunk.length && !this.stopped) {
      if (!this.#prefix(chunk, at, chunk.length)) {
        return this.#hold(chunk, at, chunk.length);
      }
      const start = this.#start;
      if (this.#isTooLarge()) {
        at = this.#passOver(chunk, start);
        continue;
      }
      const end = start + this.#length;
      if (end > chunk.length) return this.#hold(chunk, at, chunk.length);
      if (this.#waits()) return at;
      at = end;
      this.#sink.message(chunk, start, end);
    }
    return at;
  }

  /** Goes on with the message that an earlier chunk began. */
  #resume(chunk: Uint8Array, at: number): number {
    while (!this.#prefix(this.#held, 0, this.#fill)) {
      if (at === chunk.length) return at;
      at = this.#hold(chunk, at, at + 1);
    }
    const start = this.#start;
    if (this.#isTooLarge()) {
      // Nothing but its byte count is held.
      this.#held = NO_BYTES;
      this.#fill = 0;
      return this.#passOver(chunk, at);
    }
    const end = start + this.#length;
    // Its last bytes are left, so that whoever waits is asked for them again.
    if (end - this.#fill <= chunk.length - at && this.#waits()) return at;
    at = this.#hold(chunk, at, Math.min(chunk.length, at + end - this.#fill));
    if (this.#fill < end) return at;
    const held = this.#held;
    this.#held = NO_BYTES;
    this.#fill = 0;
    this.#sink.message(held, start, end);
    return at;
  }

  #waits(): boolean {
    return this.#length >= LARGE &&
      this.#sink.mayRead?.(this.#length) === false;
  }

  #hold(chunk: Uint8Array, at: number, to: number): number {
    const wanted = this.#fill + to - at;
    if (wanted > this.#held.length) {
      const grown = new Uint8Array(Math.max(64, wanted, 2 * this.#fill));
      grown.set(this.#held.subarray(0, this.#fill));
      this.#held = grown;
    }
    this.#held.set(chunk.subarray(at, to), this.#fill);
    this.#fill = wanted;
    return to;
  }

  #isTooLarge(): boolean {
    const length = this.#length;
    if (length <= this.#maxMessage) return false;
    if (this.#sink.tooLarge === undefined) {
      throw new GobError(`a message of ${length} bytes`);
    }
    this.#sink.tooLarge(length);
    this.#excess = length;
    return true;
  }

  #passOver(chunk: Uint8Array, at: number): number {
    const n = Math.min(this.#excess, chunk.length - at);
    this.#excess -= n;
    return at + n;
  }

  /** Reads a byte count; false if it is cut off. */
  #prefix(bytes: Uint8Array, at: number, end: number): boolean {
    const first = bytes[at];
    let length = first;
    let width = 1;
    if (first >= 0x80) {
      width = 257 - first;
      if (width > MAX_PREFIX) throw new GobError("a byte count of no form");
      if (at + width > end) return false;
      length = 0;
      for (let i = 1; i < width; i++) length = length * 256 + bytes[at + i];
    }
    if (length === 0) throw new GobError("an empty message");
    this.#length = length;
    this.#start = at + width;
    return true;
  }
}
