/**
 * Where callers are told, and what wakes a call before its answer does.
 *
 * Invariants owned here:
 * - Every call is told once, and finished once: an abandoned one is told when
 *   it is abandoned, and finished when its outcome is known.
 * - A call that was told listens to no signal and waits for no deadline.
 *
 * @module
 */

import type { Call, CallExtras } from "./call.ts";
import type { TimerHeap } from "../base/timers.ts";
import {
  callEndedError,
  type ConnectionError,
  type Outcome,
} from "../base/errors.ts";
import { noOutcomes, type OutcomeCounts } from "../types/stats.ts";
import { unavailableError } from "./errors.ts";
import { AbortListeners } from "../base/abort_listeners.ts";

/** What the ledger tells its table. */
export interface CallSettlerEvents {
  /** A signal that `call` listens to has fired. */
  abort(call: Call, reason: unknown): void;
  /** A call has been finished. */
  settled(): void;
}

/** Settles calls. */
export class CallSettler {
  /** Calls finished so far. */
  readonly counts: OutcomeCounts = noOutcomes();
  readonly #signals: AbortListeners<Call>;
  readonly #deadlines: TimerHeap;
  readonly #events: CallSettlerEvents;

  constructor(deadlines: TimerHeap, events: CallSettlerEvents) {
    this.#deadlines = deadlines;
    this.#events = events;
    this.#signals = new AbortListeners((call, reason) =>
      events.abort(call, reason)
    );
  }

  /** Listeners on abort signals. */
  get listeners(): number {
    return this.#signals.size;
  }

  /** From now on the call's signals and its deadline end it. */
  watch(call: Call, extra: CallExtras): void {
    const { signal, inherited } = extra;
    if (signal !== undefined) this.#signals.add(signal, call);
    if (inherited !== undefined) this.#signals.add(inherited, call);
    this.#deadlines.add(extra);
  }

  /** From now on they do not. */
  unwatch(call: Call, extra: CallExtras): void {
    const { signal, inherited } = extra;
    if (signal !== undefined) this.#signals.remove(signal, call);
    if (inherited !== undefined) this.#signals.remove(inherited, call);
    this.#deadlines.remove(extra);
  }

  /** Tells the caller of a call that was just taken out of its place. */
  settle(
    call: Call,
    outcome: Outcome,
    failed: boolean,
    result: unknown,
  ): void {
    if (call.extra !== undefined) this.unwatch(call, call.extra);
    call.settle(outcome, failed, result);
    this.finish(call, outcome);
    // Last: to cancel a source runs its user's code.
    call.extra?.streams?.release(failed ? result : callEndedError());
  }

  /** Fails a call with an error of the library's, which names it from now on. */
  fail(call: Call, outcome: Outcome, error: unknown): void {
    this.settle(call, outcome, true, call.blame(error));
  }

  /** Tells the caller of a stream; what ends the call goes on being listened to. */
  stream(call: Call, result: unknown): void {
    this.counts.executed++;
    call.stream(result);
  }

  /** Ends a call whose stream has ended, or is lost for the reason given: only who observes it is told any more. */
  finishStream(call: Call, lost?: unknown): void {
    const { extra } = call;
    if (call.state === "streaming" && extra !== undefined) {
      this.unwatch(call, extra);
    }
    const failure = extra?.streams?.reader?.failure;
    call.streamed(failure ?? (lost === undefined ? lost : { error: lost }));
    this.#events.settled();
  }

  /** Settles a call that its connection takes along; an abandoned one only learns its outcome. */
  failOnConnectionLoss(
    call: Call,
    outcome: Outcome,
    reason: ConnectionError,
  ): void {
    const streams = call.extra?.streams;
    if (streams?.reader) {
      const lost = call.blame(unavailableError(reason, "executed"));
      this.finishStream(call, lost);
      streams.release(lost);
    } else if (call.state === "abandoned") this.finish(call, outcome);
    else this.fail(call, outcome, unavailableError(reason, outcome));
  }

  /** Ends a call whose caller has been told. */
  finish(call: Call, outcome: Outcome): void {
    if (outcome === "executed") this.counts.executed++;
    else this.counts[outcome]++;
    call.finish(outcome);
    this.#events.settled();
  }
}
