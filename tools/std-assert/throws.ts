/**
 * Assertions on errors: thrown, rejected with, or at hand.
 *
 * @module
 */

import { AssertionError, fault, show, suffix } from "./report.ts";
import type { AnyConstructor } from "./values.ts";

/** A class of errors. */
// deno-lint-ignore no-explicit-any
export type ErrorConstructor<E extends Error> = new (...args: any[]) => E;

/** Fails unless `error` is an `Error`, of that class, with that in its message. */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: AnyConstructor<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    fault(`Expected an Error, but got ${show(error)}${suffix(msg)}`);
  }
  if (ErrorClass && !(error instanceof ErrorClass)) {
    fault(
      `Expected an error of class ${ErrorClass.name}, ` +
        `but got ${error.constructor?.name}: ${error.message}${suffix(msg)}`,
    );
  }
  if (!msgMatches) return;
  const matches = typeof msgMatches === "string"
    ? error.message.includes(msgMatches)
    : msgMatches.test(error.message);
  if (!matches) {
    fault(
      `Expected the error's message to include ${show(msgMatches)}, ` +
        `but got ${show(error.message)}${suffix(msg)}`,
    );
  }
}

/** Fails unless `fn` throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Fails unless `fn` throws an error of that class, with that in its message. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const wanted = expectation(classOrMsg, msgIncludes, msg);
  try {
    fn();
  } catch (error) {
    return wanted.check(error);
  }
  fault(`Expected function to throw${suffix(wanted.msg)}`);
}

/** Fails unless `fn` returns a promise that rejects; resolves to the reason. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Fails unless it rejects with an error of that class, with that in its message. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const wanted = expectation(classOrMsg, msgIncludes, msg);
  const promise = begin(fn, wanted.msg);
  try {
    await promise;
  } catch (error) {
    return wanted.check(error);
  }
  fault(`Expected function to reject${suffix(wanted.msg)}`);
}

/** A synchronous throw, or a return of anything but a promise, is no rejection. */
function begin(fn: () => PromiseLike<unknown>, msg?: string) {
  let promise: unknown;
  let cause: unknown;
  try {
    promise = fn();
  } catch (error) {
    cause = error;
  }
  if (typeof (promise as PromiseLike<unknown>)?.then === "function") {
    return promise as PromiseLike<unknown>;
  }
  throw new AssertionError(
    `Function throws when expected to reject${suffix(msg)}`,
    { cause },
  );
}

function expectation(
  classOrMsg: ErrorConstructor<Error> | string | undefined,
  msgIncludes?: string,
  msg?: string,
) {
  if (typeof classOrMsg === "string") {
    return { msg: classOrMsg, check: (error: unknown) => error };
  }
  const check = (error: unknown) => {
    if (classOrMsg) assertIsError(error, classOrMsg, msgIncludes, msg);
    return error;
  };
  return { msg, check };
}
