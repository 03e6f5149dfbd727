/**
 * What stands around calls, the same on both sides: an onion of functions that
 * each get a call and the way on.
 *
 * Invariants owned here:
 * - The first one named is outermost: it sees a call first and its end last.
 * - Who uses none pays nothing: calls and handlers are wrapped when a client
 *   or a server is made, never asked when a call is.
 *
 * @module
 */

/** What a middleware knows of a call, on either side. */
export interface MiddlewareCall {
  /** The method called. */
  readonly method: string;
  /** As its caller, or the middleware before, gave them; on a server before any schema has seen them. */
  readonly params: unknown;
  /** Fires when the call is given up: aborted, late, or its connection gone. */
  readonly signal: AbortSignal;
  /** What is left of its deadline, in ms; `Infinity` without one. */
  readonly remaining: number;
}

/** What a middleware can change on the way on. */
export interface CallChange {
  /** Other params. */
  readonly params?: unknown;
}

/** The way on: to the next middleware, and at last to the call itself. Without an argument nothing changes; a call may be passed as it is. */
export type Next<Change> = (change?: Change) => Promise<unknown>;

/**
 * Stands around calls: returns their result, or something in its place, or
 * throws. It may go on (`next`) once, never, or several times.
 *
 * @example One that fits both sides
 * ```ts
 * import { type Middleware, RpcError } from "@sluice/rpc";
 *
 * const timed: Middleware = async (call, next) => {
 *   const began = performance.now();
 *   try {
 *     return await next();
 *   } finally {
 *     const ms = performance.now() - began;
 *     if (ms > 1000) console.warn(`${call.method} took ${ms} ms`);
 *   }
 * };
 * ```
 */
export type Middleware<
  C extends MiddlewareCall = MiddlewareCall,
  Change extends CallChange = CallChange,
> = (call: C, next: Next<Change>) => unknown;

/**
 * One function of several; `last` is where they lead. What each of them returns
 * goes through `keep`, in the async context in which it was called.
 */
export function compose<C extends MiddlewareCall, Change extends CallChange>(
  list: readonly Middleware<C, Change>[],
  change: (call: C, change: Change) => C,
  last: (call: C) => unknown,
  keep: (call: C, result: unknown) => unknown = (_call, result) => result,
): (call: C) => Promise<unknown> {
  // From the inside outwards, once: a call makes no more than its own way.
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
