/**
 * Two crossed byte pipes within one process: the transport of tests, and of
 * parts of a program that talk to each other as if they were apart.
 *
 * Invariants owned here:
 * - It behaves as a socket does: bounded buffers, half-close, reset.
 * - No timers and no randomness: everything happens in microtasks.
 * - A chunk is copied when written, as the writer may use its memory again as
 *   soon as the write has settled, while the reader keeps what it reads.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { ConnectionError } from "../base/errors.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "./read_half.ts";
import { WriteHalf } from "./write_half.ts";
import { ownDuplex } from "./native_duplex.ts";

/** Options of {@linkcode memoryPair}. */
export interface MemoryPairOptions {
  /**
   * Bytes that each direction holds before its writer has to wait; 64 KiB
   * unless given. With 0 every write waits until it has been read.
   */
  highWaterMark?: number | undefined;
}

/** One direction: what one end writes and the other reads. */
class MemoryPipe extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf;
  /** The other direction. */
  back!: MemoryPipe;
  /** Settles the write that waits for the reader. */
  #release: (() => void) | undefined;
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
      await this.wait((done) => this.#release = done);
    }
  }

  close(): Promise<void> {
    this.readHalf.end();
    return Promise.resolve();
  }

  /** What a socket does: the own end is gone at once, the peer sees a reset. */
  abort(reason: unknown): void {
    const reset = new ConnectionError(
      "unavailable",
      "Connection lost: reset by the peer",
      { cause: reason },
    );
    this.back.readHalf.drop(reason);
    this.fail(reason);
    this.readHalf.fail(reset);
    this.back.fail(reset);
  }

  onRead(): void {
    if (this.readHalf.bytes <= this.highWaterMark) this.#release?.();
  }

  onCancel(): void {
    this.#discarding = true;
    this.#release?.();
  }
}

/**
 * Two connected duplexes: what is written to one is read from the other.
 *
 * Each behaves as a socket: `writable.write()` settles once its bytes are
 * within the buffer or the reader has taken enough; `writable.close()` ends the
 * peer's `readable` and leaves the other direction alone; `writable.abort()`
 * destroys both directions, and the peer, after what has arrived, reads a
 * {@linkcode ConnectionError} `unavailableError`; `readable.cancel()` leaves writing
 * alone, and what the peer still writes is dropped.
 *
 * @param options The size of the buffers.
 * @returns The two ends.
 * @throws {RangeError} If `highWaterMark` is negative or not a number.
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
  const there = new MemoryPipe(limit);
  const back = new MemoryPipe(limit);
  there.back = back;
  back.back = there;
  return [
    ownDuplex(back.readHalf, there, { local: "memory:a", remote: "memory:b" }),
    ownDuplex(there.readHalf, back, { local: "memory:b", remote: "memory:a" }),
  ];
}
