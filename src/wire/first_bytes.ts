/**
 * The first bytes of a stream, to name what a peer speaks instead of our wire.
 *
 * Invariant owned here: they are kept until the peer's HELLO has been read, and
 * no longer.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import { ConnectionError } from "../base/errors.ts";
import { HEADER_SIZE, readU32 } from "./frame.ts";
import { looksLike } from "./sniff.ts";

/** What came first, as many bytes as a frame header has. */
export class FirstBytes {
  #bytes: Uint8Array = new Uint8Array(HEADER_SIZE);
  #fill = 0;

  /** Takes note of a chunk, from `at`. */
  note(chunk: Uint8Array, at: number): void {
    const room = HEADER_SIZE - this.#fill;
    const part = chunk.subarray(at, at + room);
    this.#bytes.set(part, this.#fill);
    this.#fill += part.length;
  }

  /** Lets go of them. */
  forget(): void {
    this.#bytes = NO_BYTES;
  }

  /** The error for a stream that broke the rules before its HELLO: if its first bytes cannot be a HELLO's, says what they look like. */
  explain(error: unknown): unknown {
    const first = this.#bytes.subarray(0, this.#fill);
    const short = first.length >= 4 && readU32(first, 0) <= 0xffff;
    if (short || first.length < 4) return error;
    return new ConnectionError(
      "not_sluice",
      `the peer does not speak Sluice; it sent ${looksLike(first)}`,
      { cause: error },
    );
  }
}
