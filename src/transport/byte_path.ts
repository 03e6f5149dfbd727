/**
 * The way of a connection's bytes: a reader and a writer of the duplex's
 * streams; or, for a duplex of our own, what lies under these.
 *
 * Invariant owned here: both streams are locked for the connection's life,
 * whichever way is taken.
 *
 * @module
 */

import type { Duplex } from "./duplex.ts";
import { halvesOf } from "./native_duplex.ts";

/** What a read brings. (`ReadableStreamReadResult` is no global of Node's types.) */
export type ReadResult = Awaited<
  ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>
>;

/** Both directions of one duplex. */
export interface BytePath {
  /** Whether the chunks of a write are its writer's again once it has succeeded. */
  readonly borrows: boolean;
  read(): Promise<ReadResult>;
  /** Writes all chunks, of which there is at least one. The chunks are the transport's from then on, or until then. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Sends FIN behind what was written; settles in any case. */
  close(): Promise<void>;
  /** Ends both directions at once. */
  destroy(reason: unknown): void;
  /** Calls `failed` once nothing more can be written, also while nobody writes: for after the peer's FIN, when no read tells that it is gone. */
  watch(failed: (reason: unknown) => void): void;
}

/**
 * Takes a duplex over.
 *
 * @throws {TypeError} If one of the streams is locked.
 */
export function takePath(duplex: Duplex): BytePath {
  const halves = halvesOf(duplex);
  return halves?.take() ? halves : new StreamPath(duplex);
}

class StreamPath implements BytePath {
  readonly borrows = false;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ readable, writable }: Duplex) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // Failures reach us by read and write; these would only be reported again.
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
  }

  read(): Promise<ReadResult> {
    return this.#reader.read();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    const last = chunks.length - 1;
    for (let i = 0; i < last; i++) {
      // The last one's promise tells of all: a stream fails for good.
      this.#writer.write(chunks[i]).catch(ignore);
    }
    return this.#writer.write(chunks[last]);
  }

  close(): Promise<void> {
    return this.#writer.close().catch(ignore);
  }

  destroy(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }

  watch(failed: (reason: unknown) => void): void {
    this.#writer.closed.catch(failed);
  }
}

function ignore(): void {}
