/**
 * The write half of every byte transport: the write or close under way, and
 * the failure.
 *
 * Invariant: only the first failure counts, and it is final. The operation
 * under way, all later ones and all watchers get its reason.
 *
 * @module
 */

import { BUFFER, type ReadFailure } from "./read_half.ts";
import { lostError } from "./system_errors.ts";

/** Where a transport's bytes go; one write or close at a time. */
export abstract class WriteHalf {
  /** Bytes that may be buffered before a writer should wait. */
  readonly highWaterMark: number;
  /** See `ByteChannel`. */
  opened: Promise<void> | undefined = undefined;
  /** Why nothing more can be written. */
  failure: ReadFailure | undefined;
  /** Rejects the operation under way. */
  #reject: ((reason: unknown) => void) | undefined;
  #watchers: ((reason: unknown) => void)[] | undefined;

  constructor(highWaterMark = BUFFER) {
    this.highWaterMark = highWaterMark;
  }

  /** Writes all chunks, of which there must be at least one. Settles when there is capacity again. */
  abstract write(chunks: readonly Uint8Array[]): Promise<void>;

  /** Sends FIN after what was written. */
  abstract close(): Promise<void>;

  /** Ends both directions at once, even if writing is closed. */
  abstract abort(reason: unknown): void;

  /** Says whether the transport keeps the process alive. Does nothing for one that never does. */
  setRef(_on: boolean): void {}

  /** Calls `watcher` once writing fails, even if nobody writes. */
  watch(watcher: (reason: unknown) => void): void {
    if (this.failure) watcher(this.failure.reason);
    else (this.#watchers ??= []).push(watcher);
  }

  /** Makes writing fail for good. */
  fail(reason: unknown): void {
    if (this.failure) return;
    this.failure = { reason };
    this.#reject?.(reason);
    this.#reject = undefined;
    for (const watcher of this.#watchers ?? []) watcher(reason);
    this.#watchers = undefined;
  }

  /** Starts a write or the close. Settles when it calls `done`, or when writing fails. */
  protected untilDone(
    start: (done: (error?: unknown) => void) => void,
  ): Promise<void> {
    if (this.failure) return Promise.reject(this.failure.reason);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const done = (error?: unknown) => {
        if (error) this.fail(lostError(error));
        this.#reject = undefined;
        resolve();
      };
      try {
        start(done);
      } catch (error) {
        done(error);
      }
    });
  }
}
