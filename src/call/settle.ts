/**
 * Settles calls: notifies the caller, and ends what could end the call before
 * its reply does.
 *
 * - Every caller is notified once, and every call finished once: an abandoned
 *   call's caller is notified when it is abandoned, and the call is finished
 *   when its outcome is known.
 * - A call whose caller was notified listens to no signal and has no deadline.
 *
 * @module
 */

import { AbortListeners } from "../base/abort_listeners.ts";
import {
  callEndedError,
  type ConnectionError,
  type Outcome,
  type RpcError,
} from "../base/errors.ts";
import type { TimerHeap } from "../base/timers.ts";
import { noOutcomes, type OutcomeCounts } from "../types/stats.ts";
import type { Call, CallExtras, CallState } from "./call.ts";
import { unavailableError } from "./errors.ts";

/** What the settler reports to the table of its calls. */
export interface CallSettlerEvents {
  /** A signal that `call` listens to has fired. */
  abort(call: Call, reason: unknown): void;
  /** A call has been finished. */
  settled(): void;
}

/** Settles calls, and watches their signals and deadlines until then. */
export class CallSettler {
  /** Calls finished so far. */
  readonly counts: OutcomeCounts = noOutcomes();
  readonly #signals: AbortListeners<Call>;
  readonly #deadlines: TimerHeap;
  readonly #events: CallSettlerEvents;

  constructor(deadlines: TimerHeap, events: CallSettlerEvents) {
    this.#deadlines = deadlines;
    this.#events = events;
    this.#signals = new AbortListeners(events);
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
    extra.links?.drop();
  }

  /** Settles a call that was just taken out of its place. */
  settle(
    call: Call,
    outcome: Outcome,
    failed: boolean,
    result: unknown,
  ): void {
    // First: a signal of the user's may run code as its listener is removed, and
    // that must find a call which nothing ends any more.
    call.state = "done";
    if (call.extra !== undefined) this.unwatch(call, call.extra);
    call.settle(outcome, failed, result);
    this.finish(call, outcome);
    // Last: to cancel a source runs its user's code.
    call.extra?.streams?.release(failed ? result : callEndedError());
  }

  /** Fails a call with an error of the library, which names the call from now on. */
  fail(call: Call, outcome: Outcome, error: unknown): void {
    this.settle(call, outcome, true, call.annotate(error));
  }

  /** Gives the caller its stream, which is as good as a reply, or says why it gets none. The call lives on until that has ended, and can still be aborted. */
  stream(call: Call, failed: boolean, result: unknown): void {
    this.counts.executed++;
    if (failed && call.extra !== undefined) this.unwatch(call, call.extra);
    call.settle("executed", failed, result);
    call.finish("executed", failed ? "abandoned" : "streaming");
  }

  /** Ends a call whose stream has ended, or is lost with the given error. */
  finishStream(call: Call, lost?: RpcError): void {
    const { extra } = call;
    if (call.state === "streaming" && extra !== undefined) {
      call.state = "done";
      this.unwatch(call, extra);
    }
    const failure = extra?.streams?.reader?.failure;
    call.endStream(failure ?? (lost && { error: lost }));
    this.#events.settled();
  }

  /** Settles a call that its connection has lost; of an abandoned one only the outcome is still open. */
  failOnConnectionLoss(
    call: Call,
    outcome: Outcome,
    reason: ConnectionError,
  ): void {
    const streams = call.extra?.streams;
    if (streams?.reader) {
      const lost = call.annotate(unavailableError(reason, "executed"));
      this.finishStream(call, lost);
      streams.release(lost);
    } else if (call.state === "abandoned") this.finish(call, outcome);
    else this.fail(call, outcome, unavailableError(reason, outcome));
  }

  /** Finishes a call whose caller has been notified; `state` is another than `done` if it has a stream. */
  finish(call: Call, outcome: Outcome, state?: CallState): void {
    if (outcome === "executed") this.counts.executed++;
    else this.counts[outcome]++;
    call.finish(outcome, state);
    this.#events.settled();
  }
}
