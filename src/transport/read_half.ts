/**
 * The reading half of every byte transport: chunks are pushed in as they
 * arrive, and read as they are asked for.
 *
 * Invariants owned here:
 * - What arrived before an end or a failure is read before it.
 * - `push` tells when the source must pause, `taken` when it may go on.
 * - After `cancel` the source keeps running and its bytes are dropped.
 *
 * @module
 */

/** Bytes that each direction of a transport holds before it pauses its source. */
export const BUFFER = 65_536;

/** How a transport learns what its reader does. */
export interface ReadHalfEvents {
  /** A chunk has left the queue: there may be room again. */
  onRead(): void;
  /** Nobody will read any more; whatever is pushed from now on is dropped. */
  onCancel(): void;
}

/** Why something has failed; what people throw may be `undefined`. */
export interface ReadFailure {
  readonly reason: unknown;
}

/** A queue of bytes between a source that pushes and a reader that asks. */
export class ReadHalf {
  readonly #limit: number;
  readonly #events: ReadHalfEvents;
  #chunks: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;
  /** `ending`: an end or a failure comes after what is queued. */
  #state: "open" | "ending" | "done" = "open";
  #failure: ReadFailure | undefined;
  /** The `read` that waits. */
  #waiting:
    | PromiseWithResolvers<ReadableStreamReadResult<Uint8Array>>
    | undefined;
  #watcher: ((failure: ReadFailure | undefined) => void) | undefined;

  /**
   * @param limit Bytes in the queue from which on the source should pause.
   * @param events Told of what the reader does.
   */
  constructor(limit: number, events: ReadHalfEvents) {
    this.#limit = limit;
    this.#events = events;
  }

  // For the reader.

  /** The next chunk, as from a stream's reader; one read at a time. */
  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    if (this.#head < this.#chunks.length) {
      const value = this.#shift();
      this.#finishIfEmpty();
      this.#events.onRead();
      return Promise.resolve({ done: false, value });
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#state === "done") this.#answer();
    return promise;
  }

  /** Wants no more. A read that waits gets the end. */
  cancel(): void {
    if (this.#state === "done") return;
    this.#clear();
    this.#events.onCancel();
  }

  /** Tells once everything is read that there will be no more, also while nobody reads. */
  watch(watcher: (failure: ReadFailure | undefined) => void): void {
    this.#watcher = watcher;
    if (this.#state === "done") watcher(this.#failure);
  }

  // For the source.

  /** Whether the source may go on: less than the limit is queued. */
  get hasCapacity(): boolean {
    return this.#bytes < this.#limit;
  }

  /** Bytes queued. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes over a chunk; dropped if nobody will read it. */
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

  /** Ends after what is queued; only the first end or failure counts. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#finishIfEmpty();
  }

  /** Fails after what is queued; only the first end or failure counts. */
  fail(reason: unknown): void {
    if (this.#state !== "open") return;
    this.#failure = { reason };
    this.end();
  }

  /** Fails at once: this end itself gave up, and wants no more. */
  drop(reason: unknown): void {
    if (this.#state === "done") return;
    this.#failure = { reason };
    this.#finish();
  }

  /** A head index instead of `Array.shift`, which costs the length of the queue. */
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
    this.#answer();
  }

  /** Tells the `read` that waits that there will be no more. */
  #answer(): void {
    if (this.#failure) this.#waiting?.reject(this.#failure.reason);
    else this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }
}
