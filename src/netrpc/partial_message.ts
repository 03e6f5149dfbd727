/**
 * The beginning of a message that spans chunks, until the rest has arrived.
 *
 * Bound: the buffer is at most twice as large as the bytes received so far (and
 * at least 64 bytes), so a peer that announces a large message and sends little
 * of it occupies little.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";

/** A buffer for the beginning of one message at a time. */
export class PartialMessage {
  /** The buffer; the message is in its first `size` bytes. */
  bytes: Uint8Array = NO_BYTES;
  size = 0;

  /** Appends `chunk[start..end)`. */
  append(chunk: Uint8Array, start: number, end: number): void {
    const needed = this.size + end - start;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(64, needed, 2 * this.size));
      grown.set(this.bytes.subarray(0, this.size));
      this.bytes = grown;
    }
    this.bytes.set(chunk.subarray(start, end), this.size);
    this.size = needed;
  }

  /** Returns the buffer and begins with an empty one. */
  take(): Uint8Array {
    const { bytes } = this;
    this.clear();
    return bytes;
  }

  /** Drops the bytes. */
  clear(): void {
    this.bytes = NO_BYTES;
    this.size = 0;
  }
}
