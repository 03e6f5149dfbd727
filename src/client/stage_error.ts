/**
 * What a stage fails with: everything that is needed to go back and go on.
 *
 * Invariant owned here: `unacknowledged` has every input that a stage took and
 * whose result it did not deliver, in the order of the inputs.
 *
 * @module
 */

import { brand } from "../base/brand.ts";
import { causeOf, type Outcome } from "../base/errors.ts";
import { messageOf } from "../base/user_code.ts";

/** An input whose result was not delivered. */
export interface Unacknowledged<I = unknown> {
  /** Its number among the stage's inputs, from 0. */
  readonly index: number;
  /** The input itself, as it was written. */
  readonly input: I;
  /** Whether its call may have run, as known when the stage ended: of one that was cancelled in flight `unknown`. */
  readonly outcome: Outcome;
}

/**
 * A stage has failed, or was given up; or, with `onError: "yield"`, one of its
 * calls has failed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { StageError } from "@sluice/rpc";
 *
 * const left = [{ index: 7, input: "x", outcome: "unknown" }] as const;
 * const error = new StageError(7, new Error("lost"), left);
 * assertEquals(error.message, "The stage failed at input 7: lost");
 * ```
 */
export class StageError<I = unknown> extends Error {
  /** The class name, fixed so that minifying does not change it. */
  override readonly name = "StageError";
  /** The input whose call failed; where none did (abort, cancel, the source's own error), the first that was not delivered. */
  readonly index: number;
  /** Every input that was taken and not delivered, in order; the failed one is among them. */
  readonly unacknowledged: readonly Unacknowledged<I>[];

  static {
    brand(this, "StageError");
  }

  /** Made by stages; `cause` is what the call, the source, the reader or the signal gave as its reason. */
  constructor(
    index: number,
    cause: unknown,
    unacknowledged: readonly Unacknowledged<I>[],
  ) {
    const why = messageOf(cause, `a ${typeof cause}`);
    super(`The stage failed at input ${index}: ${why}`, causeOf({ cause }));
    this.index = index;
    this.unacknowledged = unacknowledged;
  }
}
