/**
 * The memory that a transport reads into, where it must be given before
 * anything has come: an idle connection holds it all the time.
 *
 * Invariants owned here:
 * - It starts small, grows when a read fills it, and shrinks after some reads
 *   in a row that use little of it.
 * - A chunk keeps at most four times its length alive.
 *
 * @module
 */

/** Bytes to start with, and how much larger or smaller the next size is. */
const SMALLEST = 1024;
const STEP = 4;

/** Reads in a row that use less than the next smaller size, before it is taken. */
const PATIENCE = 8;

/** What to read into. */
export class ReadBuffer {
  /** Valid until `take`. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(SMALLEST);
  readonly #largest: number;
  #sparse = 0;

  constructor(largest: number) {
    this.#largest = largest;
  }

  /** The first `length` bytes, which have been read, as the reader's own. */
  take(length: number): Uint8Array {
    const { bytes } = this;
    const size = bytes.length;
    if (length < size / STEP) {
      // A view of it would keep all of the buffer.
      const chunk = bytes.slice(0, length);
      if (size > SMALLEST && ++this.#sparse === PATIENCE) {
        this.#resize(size / STEP);
      }
      return chunk;
    }
    this.#resize(
      length < size ? size : Math.min(size * STEP, this.#largest),
    );
    return bytes.subarray(0, length);
  }

  #resize(size: number): void {
    this.bytes = new Uint8Array(size);
    this.#sparse = 0;
  }
}
