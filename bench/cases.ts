/**
 * The pure cases, as a plain table: parts of the library, and whole calls over
 * memory, without sockets or other processes. `mitata.ts` runs them on every
 * runtime, `deno_bench.ts` under `deno bench`.
 *
 * @module
 */

import { CALLS } from "./cases/calls.ts";
import { FRAMES } from "./cases/frames.ts";
import { PAYLOADS } from "./cases/payloads.ts";
import { PENDING } from "./cases/pending.ts";

/** Something to measure. */
export interface Case {
  readonly name: string;
  readonly group: string;
  /** How many operations one run of the body is. */
  readonly operations: number;
  /** Makes the body, once. The body throws if what it did was wrong. */
  readonly setup: () => Body;
}

/** What is measured; it may be run any number of times. */
export type Body = (() => void) | (() => Promise<void>);

/** All of them. */
export const CASES: readonly Case[] = [
  ...FRAMES,
  ...PAYLOADS,
  ...PENDING,
  ...CALLS,
];
