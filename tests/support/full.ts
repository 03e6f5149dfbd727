/**
 * Whether tests run with their full numbers, which take long: `SLUICE_FULL=1`.
 *
 * A test writes both numbers as `FULL ? 1_000_000 : 50_000`. The table in
 * `docs/faults.md` is made from these.
 *
 * @module
 */

import process from "node:process";

/** Whether tests run with their full numbers. */
export const FULL: boolean = process.env.SLUICE_FULL === "1";
