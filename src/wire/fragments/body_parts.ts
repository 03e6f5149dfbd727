/**
 * Gathers the bytes of one body that arrives in parts.
 *
 * - The memory grows with the bytes received, not with the length that was
 *   promised.
 * - A part is copied once, when the body is whole; only parts below
 *   {@linkcode OWN_PART} bytes are copied a second time.
 *
 * @module
 */

import { blank, NO_BYTES } from "../../base/bytes.ts";

/** The smallest buffer for small parts, in bytes. */
export const OWN_PART = 4096;

/** The parts of a body whose length is known. */
export class BodyParts {
  /** Bytes of the body so far. */
  filled = 0;
  /** Bytes copied so far, of all bodies. */
  copied = 0;
  #parts: Uint8Array[] = [];
  /** Bytes used of the last part, if it is a buffer of its own with room left; else 0. */
  #tailFill = 0;
  /** Bytes that small parts in a row have had. */
  #run = 0;

  /**
   * Takes from `bytes[at..end)` what is missing of `length` bytes, and returns
   * where it stopped. At least OWN_PART bytes are kept as a view. Fewer are
   * copied into a buffer as large as those in a row before them: so bytes that
   * trickle in cost neither an object each nor a buffer of the whole length.
   */
  take(bytes: Uint8Array, at: number, end: number, length: number): number {
    while (at < end && this.filled < length) {
      const missing = length - this.filled;
      const last = this.#parts.length - 1;
      let take = Math.min(missing, end - at);
      if (take >= OWN_PART && take < length) {
        this.#endTail();
        this.#parts.push(bytes.subarray(at, at + take));
      } else if (this.#tailFill > 0) {
        const tail = this.#parts[last];
        take = Math.min(take, tail.length - this.#tailFill);
        tail.set(bytes.subarray(at, at + take), this.#tailFill);
        this.#tailFill += take;
        if (this.#tailFill === tail.length) this.#tailFill = 0;
        this.copied += take;
        this.#run += take;
      } else {
        const room = Math.min(missing, Math.max(OWN_PART, this.#run));
        take = Math.min(take, room);
        const own = new Uint8Array(room);
        own.set(bytes.subarray(at, at + take));
        this.#parts.push(own);
        this.#tailFill = take < room ? take : 0;
        this.copied += take;
        this.#run += take;
      }
      this.filled += take;
      at += take;
    }
    return at;
  }

  /** What follows is kept as a view. */
  #endTail(): void {
    const fill = this.#tailFill;
    this.#tailFill = this.#run = 0;
    if (fill === 0) return;
    const last = this.#parts.length - 1;
    this.#parts[last] = this.#parts[last].subarray(0, fill);
  }

  /** The whole body, in memory that nobody else uses; what follows is another body. */
  join(): Uint8Array {
    const parts = this.#parts;
    let body = parts[0] ?? NO_BYTES;
    if (parts.length > 1) {
      body = blank(this.filled);
      let at = 0;
      for (const part of parts) {
        body.set(part, at);
        at += part.length;
      }
      this.copied += at;
    }
    this.clear();
    return body;
  }

  /** Drops what it has. */
  clear(): void {
    this.#parts = [];
    this.filled = this.#tailFill = this.#run = 0;
  }
}
