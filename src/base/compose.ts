/**
 * Composes middleware, of either side, into one function.
 *
 * @module
 */

/** One middleware, of either side. */
type Layer<C, Change> = (
  call: C,
  next: (change?: Change) => Promise<unknown>,
) => unknown;

/**
 * Composes middleware into one function; the innermost calls `last`. The result
 * of each passes through `keep`, in the async context in which it was called.
 */
export function compose<C, Change>(
  list: readonly Layer<C, Change>[],
  change: (call: C, change: Change) => C,
  last: (call: C) => unknown,
  keep: (call: C, result: unknown) => unknown = (_call, result) => result,
): (call: C) => Promise<unknown> {
  // Composed once, from the inside outwards.
  return list.reduceRight<(call: C) => Promise<unknown>>(
    (inner, middleware) => async (call) =>
      keep(
        call,
        await middleware(
          call,
          (given) =>
            inner(
              given === undefined || given === call as unknown
                ? call
                : change(call, given),
            ),
        ),
      ),
    async (call) => keep(call, await last(call)),
  );
}

/**
 * Checks a list of middleware.
 *
 * @throws {TypeError} If one of them is no function.
 */
export function checkList(list: readonly unknown[]): void {
  for (const each of list) {
    if (typeof each === "function") continue;
    throw new TypeError(
      `Cannot use middleware: not a function, received ${typeof each}`,
    );
  }
}
