/**
 * Two connected duplexes within one process, for tests, and for parts of a
 * program that talk to each other as if they were apart.
 *
 * Invariants:
 * - Each behaves as a socket: bounded buffers, half-close, reset.
 * - No timers and no randomness: everything happens in microtasks.
 * - A chunk is copied when it is written. The writer may use its memory again
 *   as soon as the write has settled, and the reader keeps what it reads.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { nativeDuplex } from "./native_duplex.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "./read_half.ts";
import { WriteHalf } from "./write_half.ts";

/** Options of {@linkcode memoryPair}. */
export interface MemoryPairOptions {
  /**
   * Bytes that each direction buffers before its writer has to wait. Default
   * 65,536. With 0 every write waits until it has been read.
   */
  highWaterMark?: number | undefined;
}

/**
 * Creates two connected duplexes: what is written to one is read from the
 * other.
 *
 * - `writable.write()` settles once its bytes fit into the buffer, at the
 *   latest when the reader has taken enough.
 * - `writable.close()` ends the peer's `readable` and leaves the other
 *   direction open.
 * - `writable.abort()` destroys both directions. The peer reads what has
 *   arrived, and then its `readable` errors with a {@linkcode ConnectionError}
 *   `unavailable`.
 * - `readable.cancel()` leaves writing open; what the peer still writes is
 *   dropped.
 *
 * @param options The size of the buffers.
 * @returns The two duplexes.
 * @throws {RangeError} If `highWaterMark` is negative or `NaN`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair } from "@sluice/rpc";
 *
 * const [a, b] = memoryPair();
 * const writer = a.writable.getWriter();
 * await writer.write(new Uint8Array([1, 2, 3]));
 * await writer.close();
 *
 * assertEquals(await Array.fromAsync(b.readable), [new Uint8Array([1, 2, 3])]);
 * ```
 */
export function memoryPair(
  options: MemoryPairOptions = {},
): [Duplex & DuplexInfo, Duplex & DuplexInfo] {
  const limit = options.highWaterMark ?? BUFFER;
  if (!(limit >= 0)) {
    throw new RangeError(
      `Cannot make a memory pair: highWaterMark must be 0 or more, received ${limit}`,
    );
  }
  const aToB = new MemoryPipe(limit);
  const bToA = new MemoryPipe(limit);
  aToB.reverse = bToA;
  bToA.reverse = aToB;
  return [
    nativeDuplex(bToA.readHalf, aToB, {
      local: "memory:a",
      remote: "memory:b",
    }),
    nativeDuplex(aToB.readHalf, bToA, {
      local: "memory:b",
      remote: "memory:a",
    }),
  ];
}

/** One direction: the write half of one duplex, and the read half of the other. */
class MemoryPipe extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf;
  /** The other direction. */
  reverse!: MemoryPipe;
  /** Settles the write that waits for the reader. */
  #finishWrite: (() => void) | undefined;
  #discarding = false;

  constructor(limit: number) {
    super(limit);
    this.readHalf = new ReadHalf(limit, this);
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) await this.#push(chunk);
  }

  async #push(chunk: Uint8Array): Promise<void> {
    if (this.failure) throw this.failure.reason;
    if (this.#discarding || chunk.byteLength === 0) return;
    this.readHalf.push(new Uint8Array(chunk));
    if (this.readHalf.bytes > this.highWaterMark) {
      await this.untilDone((done) => this.#finishWrite = done);
    }
  }

  close(): Promise<void> {
    this.readHalf.end();
    return Promise.resolve();
  }

  /** As a socket does: the local side is closed at once, the peer reads a reset. */
  abort(reason: unknown): void {
    const reset = new ConnectionError(
      "unavailable",
      "Connection lost: reset by the peer",
      { cause: reason },
    );
    this.reverse.readHalf.abort(reason);
    this.fail(reason);
    this.readHalf.fail(reset);
    this.reverse.fail(reset);
  }

  onRead(): void {
    if (this.readHalf.bytes <= this.highWaterMark) this.#finishWrite?.();
  }

  onCancel(): void {
    this.#discarding = true;
    this.#finishWrite?.();
  }
}
