/**
 * Assertions on two values: are they equal, the same, alike?
 *
 * @module
 */

import { equal } from "./equal.ts";
import { diff, fault, show, suffix } from "./report.ts";

/** Fails unless the two are deeply equal; the message shows the difference. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) {
    fault(`Values are not equal${suffix(msg)}\n${diff(actual, expected)}`);
  }
}

/** Fails if the two are deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) {
    fault(`Expected values not to be equal: ${show(actual)}${suffix(msg)}`);
  }
}

/** Fails unless the two are the same, by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (!Object.is(actual, expected)) {
    fault(
      `Values are not strictly equal${suffix(msg)}\n${diff(actual, expected)}`,
    );
  }
}

/** Fails if the two are the same, by `Object.is`. */
export function assertNotStrictEquals<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (Object.is(actual, expected)) {
    fault(`Expected values not to be the same: ${show(actual)}${suffix(msg)}`);
  }
}

/** Fails unless `actual` has, deeply, every property that `expected` has. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  if (!covers(actual, expected)) {
    fault(`Values do not match${suffix(msg)}\n${diff(actual, expected)}`);
  }
}

function covers(actual: unknown, expected: unknown): boolean {
  if (!isRecord(actual) || !isRecord(expected)) return equal(actual, expected);
  const keys = Array.isArray(expected)
    ? Object.keys(expected) // an array matches a longer one
    : Reflect.ownKeys(expected);
  return keys.every((key) =>
    Object.hasOwn(actual, key) && covers(actual[key], expected[key])
  );
}

/** Class instances match structurally; what equality knows by value does not. */
function isRecord(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null &&
    !(value instanceof Map || value instanceof Set || value instanceof Date ||
      value instanceof RegExp || ArrayBuffer.isView(value));
}
