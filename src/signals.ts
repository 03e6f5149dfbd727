/**
 * The abort signals that calls listen to.
 *
 * Invariants owned here:
 * - One listener per distinct signal, however many calls share it; it is there
 *   exactly while at least one of them needs it.
 * - The signal is held strongly meanwhile: one that nobody else holds (the
 *   result of `AbortSignal.any` or `timeout`) must still be able to fire.
 *
 * @module
 */

import type { Call } from "./call.ts";

interface Group {
  readonly calls: Set<Call>;
  readonly listener: () => void;
}

/** Calls by the signal that aborts them. */
export class Signals {
  readonly #groups = new Map<AbortSignal, Group>();
  readonly #abort: (call: Call, reason: unknown) => void;

  /** @param abort Called for each call of a signal that fired, in the order they were added. */
  constructor(abort: (call: Call, reason: unknown) => void) {
    this.#abort = abort;
  }

  /** How many listeners there are. */
  get size(): number {
    return this.#groups.size;
  }

  /** Makes `signal` abort `call` from now on. */
  add(signal: AbortSignal, call: Call): void {
    const group = this.#groups.get(signal);
    if (group === undefined) this.#listen(signal, call);
    else group.calls.add(call);
  }

  /** Ends that. */
  remove(signal: AbortSignal, call: Call): void {
    const group = this.#groups.get(signal);
    if (group === undefined || !group.calls.delete(call)) return;
    if (group.calls.size > 0) return;
    this.#groups.delete(signal);
    signal.removeEventListener("abort", group.listener);
  }

  #listen(signal: AbortSignal, call: Call): void {
    const calls = new Set([call]);
    const listener = () => {
      // Aborting a call takes it out of the set, which a Set's iteration allows.
      for (const each of calls) this.#abort(each, signal.reason);
    };
    this.#groups.set(signal, { calls, listener });
    signal.addEventListener("abort", listener);
  }
}
