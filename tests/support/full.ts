/**
 * Full numbers take longer than a test should: `SLUICE_FULL=1` asks for them.
 * A test says both as `FULL ? 1_000_000 : 50_000`, which is where the table in
 * `docs/faults.md` has them from.
 *
 * @module
 */

import process from "node:process";

/** Whether full numbers are asked for. */
export const FULL: boolean = process.env.SLUICE_FULL === "1";
