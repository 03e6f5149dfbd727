/**
 * What a program must not leave to the runtime: rejections and exceptions that
 * nobody took.
 *
 * @module
 */

import process from "node:process";

/** Collects them from now on, in place of the runtime's own report. */
export function watchUnhandled(): unknown[] {
  const unhandled: unknown[] = [];
  for (const event of ["unhandledRejection", "uncaughtException"]) {
    process.on(event, (reason: unknown) => unhandled.push(reason));
  }
  return unhandled;
}
