/**
 * A child's tie to the program that started it: its standard input, which ends
 * when that program does, in whatever way. A child that sees to it is never
 * left behind, not even by a `SIGKILL`.
 *
 * @module
 */

import process from "node:process";

/** Resolves when the parent closes this process's standard input, or is gone. */
export function parentDone(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on("end", resolve);
    process.stdin.on("error", resolve);
    process.stdin.resume();
  });
}

/** Tells the parent something, as one line of JSON. */
export function tell(message: object): void {
  process.stdout.write(JSON.stringify(message) + "\n");
}
