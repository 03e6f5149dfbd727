/**
 * The way of a connection's bytes: a reader and a writer of the duplex's
 * streams, or past the streams where they are an adapter's of our own.
 *
 * A chunk through a pair of Web Streams costs several promises and queues a
 * direction, which a caller that waits for each reply pays in full. Measured
 * over TCP, one call at a time, direct against streams: see
 * `docs/performance.md`.
 *
 * Invariants owned here:
 * - Both streams are locked for the connection's life, whichever way is taken,
 *   and closing, aborting and cancelling always go through them: so the two
 *   ways differ in nothing but cost.
 *
 * @module
 */

import type { Duplex } from "./duplex.ts";
import { type ByteSink, type ByteSource, under } from "./transport/direct.ts";

/** Both directions of one duplex. */
export class BytePath {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #source: ByteSource | undefined;
  readonly #sink: ByteSink | undefined;

  /** @throws {TypeError} If one of the streams is locked. */
  constructor({ readable, writable }: Duplex) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.#source = under(readable);
    this.#sink = under(writable);
    // Failures reach us by read and write; these would only be reported again.
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
  }

  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    return this.#source === undefined
      ? this.#reader.read()
      : this.#source.read();
  }

  /** Writes all chunks, of which there is at least one. The chunks are the transport's from then on. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#sink !== undefined) return this.#sink.write(chunks);
    const last = chunks.length - 1;
    for (let i = 0; i < last; i++) {
      // The last one's promise tells of all: a stream fails for good.
      this.#writer.write(chunks[i]).catch(ignore);
    }
    return this.#writer.write(chunks[last]);
  }

  /** Sends FIN behind what was written; settles in any case. */
  close(): Promise<void> {
    return this.#writer.close().catch(ignore);
  }

  /** Ends both directions at once. */
  destroy(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }
}

function ignore(): void {}
