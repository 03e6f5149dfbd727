/**
 * A clock that moves only when a test moves it: the one of `@sluice/rpc/testing`.
 *
 * @module
 */

import { systemClock } from "../../src/base/clock.ts";

export { settle, TestClock } from "../../testing.ts";

/** Resolves after the event loop has turned once. */
export function turn(): Promise<void> {
  return systemClock.turn();
}
