/**
 * What a failed assertion throws, and how it words it.
 *
 * @module
 */

import { AssertionError as Report } from "node:assert";
import { inspect } from "node:util";

/** What every failed assertion throws. */
export class AssertionError extends Error {
  /** Makes an error with a message and, optionally, a cause. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** Throws an AssertionError. */
export function fault(message: string): never {
  throw new AssertionError(message);
}

/** What a caller's own message adds to ours. */
export function suffix(msg?: string): string {
  return msg ? `: ${msg}` : ".";
}

/** A value as a message shows it. */
export function show(value: unknown): string {
  return inspect(value, { depth: 6, maxArrayLength: 50, maxStringLength: 500 });
}

/** How two values differ, line by line. */
export function diff(actual: unknown, expected: unknown): string {
  return new Report({ actual, expected, operator: "deepStrictEqual" }).message;
}
