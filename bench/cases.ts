/**
 * The table of cases that need no sockets and no other processes: parts of the
 * library, and whole calls over memory. `mitata.ts` runs them on every runtime,
 * `deno_bench.ts` under `deno bench`.
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
  /** Number of operations in one run of the body. */
  readonly operations: number;
  /** Makes the body once. The body throws if a result is wrong. */
  readonly setup: () => Body;
}

/** The code that is measured. It may run any number of times. */
export type Body = (() => void) | (() => Promise<void>);

/** All cases. */
export const CASES: readonly Case[] = [
  ...FRAMES,
  ...PAYLOADS,
  ...PENDING,
  ...CALLS,
];
