/**
 * Promises that are not ours: what a handler or a schema returns.
 *
 * Invariant owned here: what is waited for calls back once, and never in the
 * turn it is asked.
 *
 * @module
 */

/** Whether to wait for it. Throws what it throws on being looked at, which is the handler's failure. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

const { then } = Promise.prototype;

/**
 * Calls `kept` or `broken` back, once and later, whatever the thenable does: a
 * user's may call back twice or at once, and so may a promise that was tampered
 * with; a Proxy of a promise is none, and cannot be waited for at all.
 */
export function whenSettled(
  thenable: PromiseLike<unknown>,
  kept: (value: unknown) => void,
  broken: (error: unknown) => void,
): void {
  try {
    if (
      thenable.then === then && (thenable as object).constructor === Promise
    ) {
      // What throws here has not begun to wait.
      then.call(thenable as Promise<unknown>, kept, broken);
      return;
    }
  } catch {
    // Waited for below, which rejects with what it throws.
  }
  new Promise((resolve) => resolve(thenable)).then(kept, broken);
}
