/**
 * Splits a byte stream into gob messages. A message is its length, an unsigned
 * integer of up to nine bytes, then that many bytes.
 *
 * Bounds: a length is checked before anything is allocated for it, and a
 * message that is too long is skipped without being stored. A message that lies
 * within one chunk is not copied.
 *
 * @module
 */

import { LARGE } from "../../base/large_reads.ts";
import { PartialMessage } from "../partial_message.ts";
import { GobError } from "./values.ts";

/** Receives messages. It may use `bytes` only during the call. */
export interface GobMessageHandler {
  /** Whether a message of this size may be read now; called for messages of `LARGE` bytes and more. If not, `push` stops before it. */
  mayRead?(bytes: number): boolean;
  /** Called with each message, without its length. */
  message(bytes: Uint8Array, start: number, end: number): void;
  /** Called for a message above the limit, which is then skipped. An exception ends the stream. */
  tooLarge?(length: number): void;
}

/** The longest form of a message's length, in bytes. */
const MAX_PREFIX = 9;

/** Splits one direction of a stream. */
export class MessageSplitter {
  /** Set it to make `push` stop before the next message. */
  stopped = false;
  readonly #handler: GobMessageHandler;
  readonly #maxMessage: number;
  /** The beginning of a message that spans chunks, including its length. */
  readonly #partial = new PartialMessage();
  /** The message's length and start, as `#readLength` has found them. */
  #length = 0;
  #start = 0;
  /** Bytes left of a message that is skipped. */
  #skip = 0;

  constructor(handler: GobMessageHandler, maxMessage: number) {
    this.#handler = handler;
    this.#maxMessage = maxMessage;
  }

  /** Stops for good, and drops a message that has begun. */
  stop(): void {
    this.stopped = true;
    this.#partial.clear();
  }

  /** Whether a message has begun and not ended. */
  get insideMessage(): boolean {
    return this.#partial.size > 0 || this.#skip > 0;
  }

  /** The bytes stored of a message that has begun. */
  get bufferedBytes(): number {
    return this.#partial.size;
  }

  /**
   * Splits `chunk` from `at` until its end, or until it is stopped. Returns the
   * position that it has reached.
   *
   * @throws {GobError} If a message is empty, or its length is invalid.
   */
  push(chunk: Uint8Array, at: number): number {
    if (this.#skip > 0) at = this.#skipBytes(chunk, at);
    else if (this.#partial.size > 0) {
      at = this.#resume(chunk, at);
      if (this.#partial.size > 0) return at;
    }
    while (at < chunk.length && !this.stopped) {
      if (!this.#readLength(chunk, at, chunk.length)) {
        return this.#store(chunk, at, chunk.length);
      }
      const start = this.#start;
      if (this.#isTooLarge()) {
        at = this.#skipBytes(chunk, start);
        continue;
      }
      const end = start + this.#length;
      if (end > chunk.length) return this.#store(chunk, at, chunk.length);
      if (this.#mustWait()) return at;
      at = end;
      this.#handler.message(chunk, start, end);
    }
    return at;
  }

  /** Continues the message that an earlier chunk began. */
  #resume(chunk: Uint8Array, at: number): number {
    const partial = this.#partial;
    while (!this.#readLength(partial.bytes, 0, partial.size)) {
      if (at === chunk.length) return at;
      at = this.#store(chunk, at, at + 1);
    }
    const start = this.#start;
    if (this.#isTooLarge()) {
      // Only the length has been stored.
      partial.clear();
      return this.#skipBytes(chunk, at);
    }
    const end = start + this.#length;
    const missing = end - partial.size;
    // The last bytes stay in the chunk, so that `push` is called again for them.
    if (missing <= chunk.length - at && this.#mustWait()) return at;
    at = this.#store(chunk, at, Math.min(chunk.length, at + missing));
    if (partial.size === end) this.#handler.message(partial.take(), start, end);
    return at;
  }

  #mustWait(): boolean {
    return this.#length >= LARGE &&
      this.#handler.mayRead?.(this.#length) === false;
  }

  #store(chunk: Uint8Array, at: number, to: number): number {
    this.#partial.append(chunk, at, to);
    return to;
  }

  #isTooLarge(): boolean {
    const length = this.#length;
    if (length <= this.#maxMessage) return false;
    if (this.#handler.tooLarge === undefined) {
      throw new GobError(
        `a message has ${length} bytes, at most ${this.#maxMessage}`,
      );
    }
    this.#handler.tooLarge(length);
    this.#skip = length;
    return true;
  }

  #skipBytes(chunk: Uint8Array, at: number): number {
    const n = Math.min(this.#skip, chunk.length - at);
    this.#skip -= n;
    return at + n;
  }

  /** Reads a message's length at `at`; returns false if it is incomplete. */
  #readLength(bytes: Uint8Array, at: number, end: number): boolean {
    const first = bytes[at];
    let length = first;
    let width = 1;
    if (first >= 0x80) {
      width = 257 - first;
      if (width > MAX_PREFIX) {
        throw new GobError(
          `the length of a message has ${width - 1} bytes, at most 8`,
        );
      }
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
