/**
 * A call that can outlive its connection.
 *
 * Invariants:
 * - Its caller is notified once. If only the connection is to blame, the call
 *   goes back to its owner instead.
 * - Its outcome is the worst of all times it was sent: a call that may have run
 *   once stays `unknown`, whatever happens to it afterwards.
 *
 * @module
 */

import { Call, type CallState } from "../../call/call.ts";
import { type Outcome, RpcError, worse } from "../../base/errors.ts";
import type { ActiveConnection } from "./dial_attempt.ts";
import type { SentOptions } from "../../call/options.ts";
import { isInstanceOf } from "../../base/user_code.ts";

/** Decides what follows when a call's connection fails it. */
export interface ResendOwner {
  /** Whether a call that failed with this outcome and error is to be sent again. */
  shouldResend(call: ResendableCall, outcome: Outcome, error: unknown): boolean;
  /** Takes a call back that is to be sent again. No connection has it any more. */
  takeBack(call: ResendableCall): void;
  /** A call has ended, with this worst outcome. */
  onFinished(outcome: Outcome): void;
}

/** An entry that moves from the table of one connection to that of the next. */
export class ResendableCall extends Call {
  /** The params as they were when the call was made. */
  params: unknown = undefined;
  /** The options as they were when the call was made, without its time. */
  options: SentOptions | undefined = undefined;
  /** Its deadline, by the clock's `now`. */
  deadline = Infinity;
  /** Its position among all calls of the client. */
  readonly number: number;
  /** The connection that has the call; undefined while it waits for one. */
  active: ActiveConnection | undefined = undefined;
  /** Whether the connection that has the call, or had it last, accepted it. */
  accepted = false;
  /** Whether the caller aborted it by its handle. */
  aborted = false;
  /** The worst outcome of the times it was sent before. */
  worstOutcome: Outcome = "not_sent";
  /** Between `settle` and `finish`: whether the owner takes the call back. */
  #resending = false;
  readonly #owner: ResendOwner;

  constructor(method: string, number: number, owner: ResendOwner) {
    super(method);
    this.number = number;
    this.#owner = owner;
  }

  override settle(outcome: Outcome, failed: boolean, result: unknown): void {
    const { active } = this;
    if (active !== undefined) {
      if (outcome === "executed") active.hasReplied = true;
      else if (failed && this.#owner.shouldResend(this, outcome, result)) {
        this.#resending = true;
        return;
      }
    }
    const worst = worse(this.worstOutcome, outcome);
    const restate = failed && worst !== outcome;
    super.settle(
      worst,
      failed,
      restate ? this.#restate(result, worst) : result,
    );
  }

  override finish(outcome: Outcome, state?: CallState): void {
    const worst = worse(this.worstOutcome, outcome);
    if (!this.#resending) {
      super.finish(worst, state);
      this.#owner.onFinished(worst);
      return;
    }
    this.#resending = false;
    this.state = "waiting";
    this.outcome = this.worstOutcome = worst;
    this.seq = -1;
    this.#owner.takeBack(this);
  }

  /** Copies an error of the library with the worst outcome. The reason that a caller aborted the call with stays as it is. */
  #restate(error: unknown, outcome: Outcome): unknown {
    try {
      const own = isInstanceOf(error, RpcError) && error.method === this.method;
      if (!own || error.outcome === outcome) return error;
      const { code, message, data, remote } = error;
      const cause = "cause" in error ? { cause: error.cause } : undefined;
      const options = { outcome, data, remote, ...cause };
      return this.annotate(new RpcError(code, message, options));
    } catch {
      // Only an object of the caller throws when its fields are read.
      return error;
    }
  }
}
