/**
 * Ties a child process to the program that started it: its standard input ends
 * when that program ends, even by `SIGKILL`. So a child that watches its standard
 * input never outlives its parent.
 *
 * @module
 */

import process from "node:process";

/** Resolves when the parent closes the standard input of this process, or has ended. */
export function parentDone(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on("end", resolve);
    process.stdin.on("error", resolve);
    process.stdin.resume();
  });
}

/** Sends a message to the parent, as one line of JSON. */
export function sendToParent(message: object): void {
  process.stdout.write(JSON.stringify(message) + "\n");
}
