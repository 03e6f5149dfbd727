/**
 * Bytes of one message that come in several chunks.
 *
 * Invariant owned here: at most twice what has come is held, however much the
 * peer promised: a buffer grows by what arrives, never by what a header says.
 *
 * @module
 */

/** The first buffer's size, in bytes. */
const FIRST = 256;

/** A buffer that grows. */
export class Gather {
  #bytes = EMPTY;
  /** How many bytes are in. */
  size = 0;

  /** Copies `chunk[from..to)` in. */
  add(chunk: Uint8Array, from: number, to: number): void {
    const size = this.size + to - from;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(FIRST, size, 2 * this.size));
      grown.set(this.#bytes.subarray(0, this.size));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk.subarray(from, to), this.size);
    this.size = size;
  }

  /** What is in, lent until the next `add`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** Hands over what is in, and holds nothing any more. */
  take(): Uint8Array {
    const { bytes } = this;
    this.#bytes = EMPTY;
    this.size = 0;
    return bytes;
  }
}

const EMPTY = new Uint8Array(0);
