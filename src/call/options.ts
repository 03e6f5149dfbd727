/**
 * The options of one call, read from what its caller passed.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { CallOptions } from "../types/call.ts";
import type { Call, CallExtras } from "./call.ts";

/** The options with those that only the library sets; they are passed on together. */
export interface SentOptions extends CallOptions {
  /** Nobody waits for the reply: a protocol that has notifications sends one. */
  notification?: boolean | undefined;
  /** Has the stack of the code that made the call, if its client captures stacks. */
  calledAt?: Error | undefined;
}

/**
 * The deadline of a call, by the clock's `now`; `Infinity` if it has none.
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

/**
 * Whether a call is urgent.
 *
 * @throws {TypeError} If its priority is not one.
 */
export function isUrgent({ priority }: CallOptions): boolean {
  if (priority === undefined || priority === "urgent") {
    return priority !== undefined;
  }
  throw new TypeError(
    `Cannot use priority: expected "urgent", received ${String(priority)}`,
  );
}

/** Makes a call's errors show where it was made, if that was captured. */
export function notePlace(call: Call, { calledAt }: SentOptions): void {
  if (calledAt !== undefined) call.extras().calledAt = calledAt;
}

/** Throws what a call was aborted with, if it was. */
export function throwIfAborted({ signal, inherited }: CallExtras): void {
  if (signal?.aborted) throw signal.reason;
  if (inherited?.aborted) throw inherited.reason;
}

/** Whether an error is the reason that a call was aborted with. That belongs to the caller, and is not changed. */
export function isAbort(
  options: CallOptions | undefined,
  error: unknown,
): boolean {
  try {
    const { signal, ctx } = options ?? {};
    return signal?.aborted === true && signal.reason === error ||
      ctx?.signal.aborted === true && ctx.signal.reason === error;
  } catch {
    // The call failed because its options cannot be read.
    return false;
  }
}
