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

import type { Duplex, DuplexInfo } from "../duplex.ts";
import { ConnectionError } from "../errors.ts";
import { type ByteSink, offer } from "./direct.ts";
import { BUFFER, byteStrategy, Intake, notBytes } from "./intake.ts";

/** Options of {@linkcode memoryPair}. */
export interface MemoryPairOptions {
  /**
   * Bytes that each direction holds before its writer has to wait; 64 KiB
   * unless given. With 0 every write waits until it has been read.
   */
  highWaterMark?: number;
}

/** One direction: what one end writes and the other reads. */
class Pipe implements ByteSink {
  /** Whether somebody has written through the stream. */
  touched = false;
  readonly intake: Intake;
  readonly writable: WritableStream<Uint8Array>;
  readonly #limit: number;
  #controller!: WritableStreamDefaultController;
  /** Settles the one write that waits for the reader; a sink has one write at a time. */
  #waiting: { resolve(): void; reject(reason: unknown): void } | undefined;
  #discarding = false;
  /** Why nothing more can be written. */
  #failure: { reason: unknown } | undefined;

  constructor(limit: number, abort: (reason: unknown) => void) {
    this.#limit = limit;
    this.intake = new Intake(limit, {
      taken: () => this.#taken(),
      cancelled: () => {
        this.#discarding = true;
        this.#release();
      },
    });
    this.writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          // The sink's `abort` would wait for the write under way.
          const { signal } = controller;
          signal.addEventListener("abort", () => abort(signal.reason));
        },
        write: (chunk) => {
          this.touched = true;
          if (chunk instanceof Uint8Array) return this.#push(chunk);
          const reason = notBytes(chunk);
          abort(reason);
          throw reason;
        },
        close: () => this.intake.end(),
      },
      byteStrategy(limit),
    );
    offer(this.writable, this);
  }

  /** Writes chunks one by one; for a connection that passes the stream by. */
  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      if (this.#failure) throw this.#failure.reason;
      await this.#push(chunk);
    }
  }

  /** The peer is gone: no more is written. */
  fail(reason: unknown): void {
    this.#controller.error(reason);
    this.free(reason);
  }

  /**
   * Rejects the write that waits. After an abort that is all: the stream fails
   * by itself, and to fail it before it has noted the abort would make the
   * promise of `abort` reject.
   */
  free(reason: unknown): void {
    this.#failure ??= { reason };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(reason);
  }

  #push(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#discarding || chunk.byteLength === 0) return;
    this.intake.push(new Uint8Array(chunk));
    if (this.intake.bytes <= this.#limit) return;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #taken(): void {
    if (this.intake.bytes <= this.#limit) this.#release();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve();
  }
}

/**
 * Two connected duplexes: what is written to one is read from the other.
 *
 * Each behaves as a socket: `writable.write()` settles once its bytes are
 * within the buffer or the reader has taken enough; `writable.close()` ends the
 * peer's `readable` and leaves the other direction alone; `writable.abort()`
 * destroys both directions, and the peer, after what has arrived, reads a
 * {@linkcode ConnectionError} `unavailable`; `readable.cancel()` leaves writing
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
  const there: Pipe = new Pipe(limit, (reason) => destroy(there, back, reason));
  const back: Pipe = new Pipe(limit, (reason) => destroy(back, there, reason));
  return [
    { readable: back.intake.readable, writable: there.writable, ...NAMES[0] },
    { readable: there.intake.readable, writable: back.writable, ...NAMES[1] },
  ];
}

const NAMES = [
  { local: "memory:a", remote: "memory:b" },
  { local: "memory:b", remote: "memory:a" },
] as const;

/** What a socket does on abort: the own end is gone at once, the peer sees a reset. */
function destroy(own: Pipe, other: Pipe, reason: unknown): void {
  const reset = new ConnectionError(
    "unavailable",
    "Connection lost: reset by the peer",
    { cause: reason },
  );
  other.intake.drop(reason);
  own.free(reason);
  own.intake.fail(reset);
  other.fail(reset);
}
