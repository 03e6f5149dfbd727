/**
 * The read half of every byte transport: a queue into which the transport
 * pushes chunks as they arrive, and from which they are read.
 *
 * Invariants:
 * - What arrived before an end or a failure is read before it.
 * - The queue is bounded if its source keeps to `hasCapacity`: it pauses when
 *   that is false, and `onRead` says when it may continue.
 * - After `cancel` the source keeps running, and its bytes are dropped.
 *
 * @module
 */

import type { ReadResult } from "./duplex.ts";

/** Bytes that a transport buffers in each direction before it pauses its source. */
export const BUFFER = 65_536;

/** What a read half reports to its transport. */
export interface ReadHalfEvents {
  /** A chunk has left the queue, so there may be capacity again. */
  onRead(): void;
  /** The reader has cancelled; chunks pushed from now on are dropped. */
  onCancel(): void;
}

/** Why something has failed. The reason is wrapped, since `undefined` can be one. */
export interface ReadFailure {
  readonly reason: unknown;
}

/** A queue of chunks between a source that pushes and a reader that pulls. */
export class ReadHalf {
  readonly #limit: number;
  readonly #events: ReadHalfEvents;
  #chunks: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;
  /** `ending`: an end or a failure follows what is queued. */
  #state: "open" | "ending" | "done" = "open";
  #failure: ReadFailure | undefined;
  /** The pending `read`, if any. The queue is empty then. */
  #waiting: PromiseWithResolvers<ReadResult> | undefined;
  #watcher: ((failure: ReadFailure | undefined) => void) | undefined;

  /**
   * @param limit Bytes in the queue at which the source must pause.
   * @param events Receives what the reader does.
   */
  constructor(limit: number, events: ReadHalfEvents) {
    this.#limit = limit;
    this.#events = events;
  }

  // For the reader.

  /** The next chunk, as from a stream's reader; one read at a time. */
  read(): Promise<ReadResult> {
    if (this.#head < this.#chunks.length) {
      const value = this.#shift();
      this.#finishIfEmpty();
      this.#events.onRead();
      return Promise.resolve({ done: false, value });
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#state === "done") this.#settleWaiting();
    return promise;
  }

  /** Stops reading. A pending read gets the end. */
  cancel(): void {
    if (this.#state === "done") return;
    this.#clear();
    this.#events.onCancel();
  }

  /** Calls `watcher` at the end or failure, once everything before it was read, even if nobody reads. */
  watch(watcher: (failure: ReadFailure | undefined) => void): void {
    this.#watcher = watcher;
    if (this.#state === "done") watcher(this.#failure);
  }

  // For the source.

  /** Whether the source may continue: less than the limit is queued. */
  get hasCapacity(): boolean {
    return this.#bytes < this.#limit;
  }

  /** Bytes in the queue. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Chunks in the queue. */
  get chunks(): number {
    return this.#chunks.length - this.#head;
  }

  /** Takes over a chunk, or drops it if nobody will read it. */
  push(chunk: Uint8Array): void {
    if (this.#state !== "open") return;
    if (this.#waiting !== undefined) {
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve({ done: false, value: chunk });
    } else {
      this.#chunks.push(chunk);
      this.#bytes += chunk.byteLength;
    }
  }

  /** Ends after what is queued. Only the first end or failure counts. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#finishIfEmpty();
  }

  /** Fails after what is queued. Only the first end or failure counts. */
  fail(reason: unknown): void {
    if (this.#state !== "open") return;
    this.#failure = { reason };
    this.end();
  }

  /** Fails at once, and drops what is queued: the local user has aborted. */
  abort(reason: unknown): void {
    if (this.#state === "done") return;
    this.#failure = { reason };
    this.#finish();
  }

  /** Takes the first chunk by a head index: `Array.shift` would move the whole queue. */
  #shift(): Uint8Array {
    const chunk = this.#chunks[this.#head++]!;
    this.#bytes -= chunk.byteLength;
    if (this.#head === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#head = 0;
    } else if (this.#head === 256) {
      this.#chunks.splice(0, 256);
      this.#head = 0;
    }
    return chunk;
  }

  #finishIfEmpty(): void {
    if (this.#state === "ending" && this.#head === this.#chunks.length) {
      this.#finish();
    }
  }

  #finish(): void {
    this.#clear();
    this.#watcher?.(this.#failure);
  }

  #clear(): void {
    this.#state = "done";
    this.#chunks = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#settleWaiting();
  }

  /** Gives a pending `read` the end or the failure. */
  #settleWaiting(): void {
    if (this.#failure) this.#waiting?.reject(this.#failure.reason);
    else this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }
}
