/**
 * Promises that are not ours: what a handler or a schema returns.
 *
 * Invariant owned here: what is waited for calls back once, and never in the
 * turn it is asked.
 *
 * @module
 */

/** Whether to wait for it. Throws what its `then` getter throws, which is the handler's failure. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

/** A promise that calls back once, and later: a thenable of the user's may call back twice, and so may a promise that was tampered with. */
export function adopt<T>(thenable: PromiseLike<T>): Promise<T> {
  return isUntouched(thenable)
    ? thenable
    : new Promise((resolve) => resolve(thenable));
}

function isUntouched<T>(thenable: PromiseLike<T>): thenable is Promise<T> {
  try {
    return thenable.then === Promise.prototype.then &&
      (thenable as Promise<T>).constructor === Promise;
  } catch {
    return false;
  }
}
