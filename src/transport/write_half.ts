/**
 * The writing half of every byte transport: what they share of a write under
 * way, and of a failure.
 *
 * Invariants owned here:
 * - Only the first failure counts, and it is for good: the write or close under
 *   way, all later ones, and who watches get its reason.
 *
 * @module
 */

import { lost } from "./address.ts";
import { BUFFER, type ReadFailure } from "./read_half.ts";

/** Where bytes go; one write or close at a time. */
export abstract class WriteHalf {
  /** Bytes that may wait before a writer should. */
  readonly highWaterMark: number;
  /** Why nothing more can be written. */
  failure: ReadFailure | undefined;
  #reject: ((reason: unknown) => void) | undefined;
  #watchers: ((reason: unknown) => void)[] | undefined;

  constructor(highWaterMark = BUFFER) {
    this.highWaterMark = highWaterMark;
  }

  /** Writes all chunks, of which there is at least one; settles when there is room again. */
  abstract write(chunks: readonly Uint8Array[]): Promise<void>;

  /** Sends FIN behind what was written. */
  abstract close(): Promise<void>;

  /** Ends both directions at once, also one that lingers after its close. */
  abstract abort(reason: unknown): void;

  /** Says whether the transport keeps the process alive; nothing to do where it never does. */
  setRef(_on: boolean): void {}

  /** Tells of the failure of writing, also while nobody writes. */
  watch(watcher: (reason: unknown) => void): void {
    if (this.failure) watcher(this.failure.reason);
    else (this.#watchers ??= []).push(watcher);
  }

  /** Nothing more can be written. */
  fail(reason: unknown): void {
    if (this.failure) return;
    this.failure = { reason };
    this.#reject?.(reason);
    this.#reject = undefined;
    for (const watcher of this.#watchers ?? []) watcher(reason);
    this.#watchers = undefined;
  }

  /** Starts a write or the close, and settles with it or with the failure of writing. */
  protected wait(
    start: (done: (error?: unknown) => void) => void,
  ): Promise<void> {
    if (this.failure) return Promise.reject(this.failure.reason);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const done = (error?: unknown) => {
        if (error) this.fail(lost(error));
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
