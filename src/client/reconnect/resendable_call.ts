/**
 * A call that outlives its connection.
 *
 * Invariants owned here:
 * - It is told its end once, like any call: what ends only one way of sending
 *   it hands it back to its owner instead.
 * - Its outcome is the worst of all the ways it was sent: a call that may have
 *   run once stays `unknown`, however its next sending fails.
 *
 * @module
 */

import { Call } from "../../call/call.ts";
import { type Outcome, RpcError, worse } from "../../base/errors.ts";
import type { ActiveConnection } from "./dial.ts";
import type { SentOptions } from "../../call/options.ts";
import { isA } from "../../base/user_code.ts";

/** Who has a call between two connections. */
export interface ResendOwner {
  /** Whether a call that failed this way is to be sent again. */
  wants(call: ResendableCall, outcome: Outcome, error: unknown): boolean;
  /** Takes it back; it is in no table any more. */
  takeBack(call: ResendableCall): void;
  /** A call has ended, with this outcome of all the ways it was sent. */
  finished(outcome: Outcome): void;
}

/** An entry that goes from one connection's table to the next one's. */
export class ResendableCall extends Call {
  /** What it was sent with: fixed when it was made. */
  params: unknown = undefined;
  options: SentOptions | undefined = undefined;
  /** When it is due, by the clock's `now`. */
  due = Infinity;
  /** Its number among all calls of its client. */
  readonly number: number;
  /** The connection that has it; undefined while it waits for one. */
  link: ActiveConnection | undefined = undefined;
  /** Whether its handle has aborted it. */
  aborted = false;
  /** The worst outcome of the ways it was sent before. */
  worstOutcome: Outcome = "not_sent";
  /** Whether the connection that has it, or had it last, took it into its tables. */
  accepted = false;
  /** Between `settle` and `finish`: to be handed back. */
  #again = false;
  readonly #keeper: ResendOwner;

  constructor(method: string, number: number, keeper: ResendOwner) {
    super(method);
    this.number = number;
    this.#keeper = keeper;
  }

  override settle(outcome: Outcome, failed: boolean, result: unknown): void {
    const { link } = this;
    if (link !== undefined) {
      if (outcome === "executed") link.hasReplied = true;
      else if (failed && this.#keeper.wants(this, outcome, result)) {
        this.#again = true;
        return;
      }
    }
    const whole = worse(this.worstOutcome, outcome);
    if (this.worstOutcome === "not_sent") super.settle(outcome, failed, result);
    else {
      super.settle(
        whole,
        failed,
        failed ? this.#restate(result, whole) : result,
      );
    }
  }

  override finish(outcome: Outcome): void {
    if (!this.#again) {
      const first = this.worstOutcome === "not_sent";
      const whole = first ? outcome : worse(this.worstOutcome, outcome);
      super.finish(whole);
      this.#keeper.finished(whole);
      return;
    }
    this.#again = false;
    this.worstOutcome = worse(this.worstOutcome, outcome);
    this.state = "waiting";
    this.outcome = this.worstOutcome;
    this.seq = -1;
    this.#keeper.takeBack(this);
  }

  /** An error of the library's with the outcome of all ways of sending; what aborted the call is handed through as it is. */
  #restate(error: unknown, outcome: Outcome): unknown {
    try {
      const own = isA(error, RpcError) && error.method === this.method;
      if (!own || error.outcome === outcome) return error;
      const { code, message, data, remote } = error;
      const cause = "cause" in error ? { cause: error.cause } : undefined;
      const options = { outcome, data, remote, ...cause };
      return this.blame(new RpcError(code, message, options));
    } catch {
      // Its user's own.
      return error;
    }
  }
}
