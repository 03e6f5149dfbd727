/**
 * Node's streams, sockets above all, as a {@linkcode Duplex}.
 *
 * Invariants owned here:
 * - Whatever way a stream ends (only `end`, only `error`, only `close`),
 *   everything that waits for it settles, and no `error` goes uncaught.
 * - What had arrived before a reset is read before the error.
 * - A write settles when the system has its bytes; one write is under way at a
 *   time. (`write()` returning `true` is not enough: the chunk may still lie in
 *   the stream's own buffer, and its memory is the caller's again once we
 *   settle.)
 * - At most 64 KiB and one chunk are read ahead, besides the stream's own
 *   buffer.
 *
 * `Duplex.toWeb` is not used: it counts chunks instead of bytes, and drops what
 * has arrived when an error comes.
 *
 * @module
 */

import { type ByteSink, offer } from "./direct.ts";
import type { Duplex } from "../duplex.ts";
import { ConnectionError } from "../errors.ts";
import { describeFault } from "./address.ts";
import { BUFFER, byteStrategy, Intake, notBytes } from "./intake.ts";
import type { NodeReadable, NodeWritable } from "./node.ts";

/** How an adapter departs from what Node's streams do by themselves. */
export interface AdapterOptions {
  /** Never end or destroy the output: it is the process's own. */
  keepOutput?: boolean;
  /** Tell the peer that this end has given up, before the streams are destroyed. */
  reset?(): void;
}

/** A duplex over a pair of Node streams, which may be one socket; see the module. */
export class Adapter implements Duplex, ByteSink {
  /** Whether somebody has written through the stream. */
  touched = false;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #input: NodeReadable;
  readonly #output: NodeWritable;
  readonly #options: AdapterOptions;
  /** One socket: the end of one direction by a fault is the end of both. */
  readonly #shared: boolean;
  readonly #intake: Intake;
  #control!: WritableStreamDefaultController;
  /** The write or close under way; a sink has one at a time. */
  #waiting: { resolve(): void; reject(reason: unknown): void } | undefined;
  #paused = false;
  #cancelled = false;
  #readingDone = false;
  #writingDone = false;
  /** Why nothing more can be written. */
  #failure: { reason: unknown } | undefined;

  constructor(
    input: NodeReadable,
    output: NodeWritable,
    options: AdapterOptions,
  ) {
    this.#input = input;
    this.#output = output;
    this.#options = options;
    this.#shared = (input as unknown) === output;
    this.#intake = new Intake(BUFFER, {
      taken: () => this.#flow(),
      cancelled: () => {
        this.#cancelled = true;
        this.#flow();
        this.#settleEnds();
      },
    });
    this.readable = this.#intake.readable;
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#control = controller;
        // The sink's `abort` is called only when the write under way has
        // settled, which one towards a stalled peer never does by itself.
        const { signal } = controller;
        signal.addEventListener("abort", () => this.#abort(signal.reason));
      },
      write: (chunk) => this.#writeChunk(chunk),
      close: () => this.#close(),
    }, byteStrategy(BUFFER));
    offer(this.writable, this);
    this.#listen();
  }

  #listen(): void {
    const input = this.#input;
    const output = this.#output;
    input.on("data", (chunk) => this.#arrived(chunk as Uint8Array));
    input.on("end", () => this.#ended());
    // The listeners for `error` stay for good: one that comes late is nobody's.
    input.on("error", (error) => this.#failReading(lost(error)));
    input.on("close", () => this.#failReading(lost(undefined)));
    output.on("error", (error) => this.#failWriting(lost(error)));
    output.on("close", () => this.#failWriting(lost(undefined)));
  }

  #arrived(chunk: Uint8Array): void {
    if (this.#cancelled || this.#readingDone) return;
    // A Buffer's `slice` shares memory where a Uint8Array's copies.
    this.#intake.push(
      new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength),
    );
    if (!this.#intake.room && !this.#paused) {
      this.#paused = true;
      this.#input.pause();
    }
  }

  /** After a cancel the rest is read and dropped: unread input would turn our FIN into a reset. */
  #flow(): void {
    if (this.#paused && (this.#cancelled || this.#intake.room)) {
      this.#paused = false;
      this.#input.resume();
    }
  }

  #ended(): void {
    this.#readingDone = true;
    this.#intake.end();
    this.#settleEnds();
  }

  /** Writes chunks at once, in one system call where they are several; for a connection that passes the stream by. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.reason);
    const output = this.#output;
    const last = chunks.length - 1;
    return this.#wait((done) => {
      if (last === 0) {
        output.write(chunks[0], done);
        return;
      }
      output.cork?.();
      for (let i = 0; i < last; i++) output.write(chunks[i]);
      output.write(chunks[last], done);
      output.uncork?.();
    });
  }

  #writeChunk(chunk: unknown): Promise<void> | undefined {
    this.touched = true;
    if (!(chunk instanceof Uint8Array)) {
      const reason = notBytes(chunk);
      this.#abort(reason);
      throw reason;
    }
    if (chunk.byteLength === 0) return;
    return this.#wait((done) => this.#output.write(chunk, done));
  }

  #close(): Promise<void> {
    return this.#wait((done) => {
      const ended = (error?: unknown) => {
        if (!error) this.#writingDone = true;
        done(error);
        this.#settleEnds();
      };
      if (this.#options.keepOutput) ended();
      else this.#output.end(ended);
    });
  }

  /** Starts a write or the end, and settles with it or with the failure of writing. */
  #wait(start: (done: (error?: unknown) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      this.#waiting = waiting;
      try {
        start((error) => {
          if (error) this.#failWriting(lost(error));
          if (this.#waiting !== waiting) return;
          this.#waiting = undefined;
          resolve();
        });
      } catch (error) {
        this.#failWriting(lost(error));
      }
    });
  }

  #abort(reason: unknown): void {
    this.#readingDone = true;
    this.#writingDone = true;
    this.#failure = { reason };
    this.#intake.drop(reason);
    // The stream fails by itself. To fail it from here, before it has noted the
    // abort, would make the promise of `abort` reject.
    this.#rejectWaiting(reason);
    this.#options.reset?.();
    this.#destroy();
  }

  #failReading(reason: unknown): void {
    if (this.#readingDone) return;
    this.#readingDone = true;
    this.#salvage();
    this.#intake.fail(reason);
    this.#input.destroy();
    if (this.#shared) this.#failWriting(reason);
    else this.#settleEnds();
  }

  #failWriting(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    this.#failure = { reason };
    this.#rejectWaiting(reason);
    this.#control.error(reason);
    if (this.#shared) this.#failReading(reason);
    else this.#settleEnds();
  }

  #rejectWaiting(reason: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(reason);
  }

  /** What had arrived and waited in the stream's own buffer while we had it paused. */
  #salvage(): void {
    if (!this.#paused || this.#cancelled) return;
    let chunk: unknown;
    while ((chunk = this.#input.read()) instanceof Uint8Array) {
      this.#intake.push(new Uint8Array(chunk));
    }
  }

  /** Both directions are done: nothing must keep the process alive. */
  #settleEnds(): void {
    if (!this.#writingDone) return;
    if (this.#readingDone || (this.#cancelled && !this.#shared)) {
      this.#destroy();
    }
  }

  #destroy(): void {
    this.#readingDone = true;
    this.#input.destroy();
    if (!this.#shared && !this.#options.keepOutput) this.#output.destroy();
  }
}

/** The fault of a stream that has ended otherwise than by `end` and `finish`. */
function lost(cause: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `Connection lost: ${
      cause === undefined ? "closed before its end" : describeFault(cause)
    }`,
    { cause },
  );
}
