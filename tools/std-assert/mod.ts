/**
 * A private stand-in for the part of `@std/assert` that the tests use: same
 * names, same arguments, same results, so that the tests also run where JSR
 * cannot be reached. Never published; remove it, and nothing else changes.
 *
 * @module
 */

export * from "./compare.ts";
export * from "./equal.ts";
export * from "./throws.ts";
export * from "./values.ts";
export { AssertionError } from "./report.ts";
