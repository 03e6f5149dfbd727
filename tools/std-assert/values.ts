/**
 * Assertions on what a value is, contains or exceeds.
 *
 * @module
 */

import { equal } from "./equal.ts";
import { AssertionError, fault, show, suffix } from "./report.ts";

/** A class, for `assertInstanceOf`. */
// deno-lint-ignore no-explicit-any
export type AnyConstructor<T = any> = abstract new (...args: any[]) => T;

/** Fails unless `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Fails unless `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): void {
  if (expr) throw new AssertionError(msg);
}

/** Fails, always. */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${suffix(msg)}`);
}

/** Fails, always: marks a line that is never reached. */
export function unreachable(reason?: string): never {
  throw new AssertionError(reason ?? "Unreachable.");
}

/** Fails if `actual` is `null` or `undefined`. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    fault(`Expected a value, but got ${actual}${suffix(msg)}`);
  }
}

/** Fails unless `actual` is an instance of `ExpectedType`. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  ExpectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (!(actual instanceof ExpectedType)) {
    fault(
      `Expected an instance of ${ExpectedType.name}, but got ${show(actual)}` +
        suffix(msg),
    );
  }
}

/** Fails unless `actual` matches the pattern. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (!expected.test(actual)) {
    fault(`Expected ${show(actual)} to match ${expected}${suffix(msg)}`);
  }
}

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (!actual.includes(expected)) {
    fault(
      `Expected ${show(actual)} to contain ${show(expected)}${suffix(msg)}`,
    );
  }
}

/** Fails unless each item of `expected` deeply equals one of `actual`. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  msg?: string,
): void {
  const items = Array.from(actual);
  const missing = Array.from(expected).filter((e) =>
    !items.some((item) => equal(item, e))
  );
  if (missing.length > 0) {
    fault(
      `Expected ${show(actual)} to include ${show(expected)}${suffix(msg)}\n` +
        `missing: ${show(missing)}`,
    );
  }
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  order(actual > expected, actual, ">", expected, msg);
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  order(actual >= expected, actual, ">=", expected, msg);
}

/** Fails unless `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  order(actual < expected, actual, "<", expected, msg);
}

/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  order(actual <= expected, actual, "<=", expected, msg);
}

function order(
  holds: boolean,
  actual: unknown,
  sign: string,
  expected: unknown,
  msg?: string,
): void {
  if (!holds) {
    fault(`Expected ${show(actual)} ${sign} ${show(expected)}${suffix(msg)}`);
  }
}

/** Fails unless the numbers differ by no more than `tolerance` (1e-7 of `expected`). */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance: number = Number.isFinite(expected)
    ? Math.abs(expected * 1e-7)
    : 1e-7,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  if (Math.abs(expected - actual) <= tolerance) return;
  fault(
    `Expected ${actual} to be within ${tolerance} of ${expected}${suffix(msg)}`,
  );
}
