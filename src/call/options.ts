/**
 * What a user can say of one call, read into the library's terms.
 *
 * @module
 */

import type { Call } from "./call.ts";
import type { Clock } from "../base/clock.ts";
import type { CallOptions } from "../types/call.ts";

/** The same with what the library says of a call to itself; it goes along with them wherever they are handed on. */
export interface SentOptions extends CallOptions {
  /** Nobody waits for the answer: a wire that has notifications sends one. */
  notification?: boolean | undefined;
  /** Has the stack of the code that made the call, if its client captures stacks. */
  calledAt?: Error | undefined;
}

/**
 * When a call is due, by the clock's `now`; `Infinity` if never.
 *
 * @throws {TypeError} If a time is not a number.
 */
export function dueTime(options: CallOptions, clock: Clock): number {
  const { timeout, deadline, ctx } = options;
  let left = Infinity;
  if (timeout !== undefined) left = checkTime("timeout", timeout);
  if (deadline !== undefined) {
    // The wall clock is read here alone; from here on time is monotonic.
    const at = checkTime("deadline", Number(deadline));
    left = Math.min(left, at - clock.date());
  }
  if (ctx !== undefined) {
    left = Math.min(left, checkTime("ctx", ctx.remaining));
  }
  return left === Infinity ? left : clock.now() + left;
}

function checkTime(name: string, value: number): number {
  if (typeof value === "number" && !Number.isNaN(value)) return value;
  throw new TypeError(`Cannot use ${name}: not a time, received ${value}`);
}

/** Has a call's errors say where it was made, if that was captured. */
export function notePlace(call: Call, { calledAt }: SentOptions): void {
  if (calledAt !== undefined) call.extras().calledAt = calledAt;
}

/** Whether an error is what a call was aborted with: that is its user's, and stays as it is. */
export function isAbort(
  options: CallOptions | undefined,
  error: unknown,
): boolean {
  try {
    const { signal, ctx } = options ?? {};
    return signal?.aborted === true && signal.reason === error ||
      ctx?.signal.aborted === true && ctx.signal.reason === error;
  } catch {
    // Options that cannot be read are why it failed.
    return false;
  }
}
