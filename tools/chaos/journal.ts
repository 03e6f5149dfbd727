/**
 * The journal that a server process keeps on disk: what its handlers did, written
 * before any reply is sent.
 *
 * A line is one `write` to a file opened for appending. So it is in the kernel
 * before the next step, and no `kill -9` can undo it or mix it with the lines of
 * another process.
 *
 * @module
 */

import { openSync, readFileSync, writeSync } from "node:fs";

/** How often each call started and ended, by its number. */
export interface Runs {
  readonly started: Map<number, number>;
  readonly ended: Map<number, number>;
}

/** Writes the journal. */
export class Journal {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  /** The handler of call `key` starts. */
  start(key: number): void {
    writeSync(this.#file, `S${key}\n`);
  }

  /** The handler of call `key` is about to reply. */
  end(key: number): void {
    writeSync(this.#file, `E${key}\n`);
  }
}

/** Reads a journal. */
export function readJournal(path: string): Runs {
  const runs: Runs = { started: new Map(), ended: new Map() };
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line === "") continue;
    const key = Number(line.slice(1));
    const table = line[0] === "S" ? runs.started : runs.ended;
    if (!Number.isInteger(key) || !"SE".includes(line[0]!)) {
      throw new Error(
        `Cannot read the journal: the line ${JSON.stringify(line)} is damaged`,
      );
    }
    table.set(key, (table.get(key) ?? 0) + 1);
  }
  return runs;
}
