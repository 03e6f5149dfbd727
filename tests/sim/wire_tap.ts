/**
 * Listens in on one direction of a connection, and counts what the window law
 * is about, apart from the library's own counting.
 *
 * @module
 */

import { HEADER_SIZE, readU32 } from "../../src/frame.ts";

/** Cuts bytes into frames: tells kind, id and size of each. */
export class FrameTap {
  readonly #frame: (kind: number, id: number, size: number) => void;
  readonly #header = new Uint8Array(HEADER_SIZE);
  #fill = 0;
  #missing = 0;

  constructor(frame: (kind: number, id: number, size: number) => void) {
    this.#frame = frame;
  }

  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#fill < HEADER_SIZE) {
        const part = bytes.subarray(at, at + HEADER_SIZE - this.#fill);
        this.#header.set(part, this.#fill);
        this.#fill += part.length;
        at += part.length;
        if (this.#fill < HEADER_SIZE) return;
        this.#missing = readU32(this.#header, 0);
      }
      const part = Math.min(this.#missing, bytes.length - at);
      this.#missing -= part;
      at += part;
      if (this.#missing > 0) return;
      this.#fill = 0;
      const size = HEADER_SIZE + readU32(this.#header, 0);
      this.#frame(this.#header[4], readU32(this.#header, 8), size);
    }
  }
}

/** Calls, by id, with what each counts in the window. */
export class Places {
  bytes = 0;
  readonly #sizes = new Map<number, number>();

  get calls(): number {
    return this.#sizes.size;
  }

  take(id: number, size: number): void {
    this.#sizes.set(id, size);
    this.bytes += size;
  }

  free(id: number): void {
    this.bytes -= this.#sizes.get(id) ?? 0;
    this.#sizes.delete(id);
  }

  has(id: number): boolean {
    return this.#sizes.has(id);
  }
}
