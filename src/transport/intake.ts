/**
 * The reading half of every byte transport: chunks are pushed in as they
 * arrive, a `ReadableStream` hands them out as they are asked for.
 *
 * Invariants owned here:
 * - What arrived before an end or a failure is read before it. (A stream's own
 *   queue is thrown away by `controller.error()`, so the queue is kept here and
 *   the stream's own holds nothing.)
 * - `push` tells when the source must pause, `taken` when it may go on.
 * - After `cancel` the source keeps running and its bytes are dropped.
 *
 * @module
 */

import { type ByteSource, offer } from "./direct.ts";

/** How a transport learns what its reader does. */
export interface IntakeEvents {
  /** A chunk has left the queue: there may be room again. */
  taken(): void;
  /** Nobody will read any more; whatever is pushed from now on is dropped. */
  cancelled(): void;
}

/** A byte queue with two exits, of which one is used: a `ReadableStream`, or `read`. */
export class Intake implements ByteSource {
  /** Whether somebody has read the stream. */
  touched = false;
  /** What the user reads. */
  readonly readable: ReadableStream<Uint8Array>;
  readonly #limit: number;
  readonly #events: IntakeEvents;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #chunks: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;
  /** A read is waiting and the queue is empty. */
  #wanted = false;
  /** `ending`: an end or a failure comes after what is queued. */
  #state: "open" | "ending" | "done" = "open";
  #failure: { reason: unknown } | undefined;
  /** The `read` that waits. */
  #waiting:
    | PromiseWithResolvers<ReadableStreamReadResult<Uint8Array>>
    | undefined;

  /**
   * @param limit Bytes in the queue from which on the source should pause.
   * @param events Told of what the reader does.
   */
  constructor(limit: number, events: IntakeEvents) {
    this.#limit = limit;
    this.#events = events;
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: () => this.#cancel(),
    }, { highWaterMark: 0 });
    offer(this.readable, this);
  }

  /** The next chunk; for a connection that passes the stream by. */
  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    if (this.#head < this.#chunks.length) {
      const value = this.#shift();
      this.#finishIfEmpty();
      this.#events.taken();
      return Promise.resolve({ done: false, value });
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#state === "done") this.#answer();
    return promise;
  }

  /** Whether the source may go on: less than the limit is queued. */
  get room(): boolean {
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
    } else if (this.#wanted) {
      this.#wanted = false;
      this.#controller.enqueue(chunk);
    } else {
      this.#chunks.push(chunk);
      this.#bytes += chunk.byteLength;
    }
  }

  /** Ends the stream after what is queued; only the first end or failure counts. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#finishIfEmpty();
  }

  /** Fails the stream after what is queued; only the first end or failure counts. */
  fail(reason: unknown): void {
    if (this.#state !== "open") return;
    this.#failure = { reason };
    this.end();
  }

  /** Fails the stream at once: this end itself gave up, and wants no more. */
  drop(reason: unknown): void {
    if (this.#state === "done") return;
    this.#failure = { reason };
    this.#finish();
  }

  #pull(): void {
    this.touched = true;
    if (this.#head < this.#chunks.length) {
      this.#controller.enqueue(this.#shift());
      this.#finishIfEmpty();
      this.#events.taken();
    } else {
      this.#wanted = true;
    }
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

  #cancel(): void {
    if (this.#state === "done") return;
    this.#clear();
    this.#events.cancelled();
  }

  #finishIfEmpty(): void {
    if (this.#state === "ending" && this.#head === this.#chunks.length) {
      this.#finish();
    }
  }

  #finish(): void {
    this.#clear();
    if (this.#failure) this.#controller.error(this.#failure.reason);
    else this.#controller.close();
  }

  #clear(): void {
    this.#state = "done";
    this.#wanted = false;
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

/** Counts the bytes that wait in a `WritableStream`; what is no chunk of bytes is for the sink to refuse. */
export function byteStrategy(
  limit: number,
): { highWaterMark: number; size(chunk: unknown): number } {
  return {
    highWaterMark: Math.max(1, limit),
    size: (chunk) => chunk instanceof Uint8Array ? chunk.byteLength : 0,
  };
}

/** What a sink answers to a chunk that is none. */
export function notBytes(chunk: unknown): TypeError {
  return new TypeError(
    `Cannot write: expected a Uint8Array, received ${
      chunk === null ? "null" : typeof chunk
    }`,
  );
}

/** Bytes that each direction of a transport holds before it pauses its source. */
export const BUFFER = 65_536;
