/**
 * The journal that a server process under fire keeps on disk: what its
 * handlers did, written before anybody is told.
 *
 * Invariant owned here: a line is one `write` to a file opened for appending,
 * so it is in the kernel's hands before the next step, and no `kill -9` takes
 * it back or tears it apart from the lines of another process.
 *
 * @module
 */

import { openSync, readFileSync, writeSync } from "node:fs";

/** How often each call was started and ended, by its number. */
export interface Runs {
  readonly started: Map<number, number>;
  readonly ended: Map<number, number>;
}

/** The writing side. */
export class Journal {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  /** A handler has begun with call `key`. */
  start(key: number): void {
    writeSync(this.#file, `S${key}\n`);
  }

  /** It is about to answer. */
  end(key: number): void {
    writeSync(this.#file, `E${key}\n`);
  }
}

/** Reads it all. */
export function readJournal(path: string): Runs {
  const runs: Runs = { started: new Map(), ended: new Map() };
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line === "") continue;
    const key = Number(line.slice(1));
    const table = line[0] === "S" ? runs.started : runs.ended;
    if (!Number.isInteger(key) || !"SE".includes(line[0]!)) {
      throw new Error(`The journal is torn: ${JSON.stringify(line)}`);
    }
    table.set(key, (table.get(key) ?? 0) + 1);
  }
  return runs;
}
