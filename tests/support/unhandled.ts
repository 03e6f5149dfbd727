/**
 * Collects rejections and exceptions that no code has handled.
 *
 * @module
 */

import process from "node:process";

/** Collects them from now on; the runtime no longer reports them or exits. */
export function watchUnhandled(): unknown[] {
  const unhandled: unknown[] = [];
  for (const event of ["unhandledRejection", "uncaughtException"]) {
    process.on(event, (reason: unknown) => unhandled.push(reason));
  }
  return unhandled;
}
