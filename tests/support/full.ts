/**
 * Whether tests run with their full numbers, which take long: `SLUICE_FULL=1`.
 *
 * A test writes both numbers as `FULL ? 1_000_000 : 50_000`. The table in
 * `docs/faults.md` is made from these.
 *
 * @module
 */

/** Whether tests run with their full numbers. In a page, which has no environment, they do not. */
export const FULL: boolean = globalThis.process?.env.SLUICE_FULL === "1";
