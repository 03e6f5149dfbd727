/**
 * Kills the server process under pipelined load, starts it again, and compares
 * the client's log with the journal that the server wrote to disk:
 * `deno task chaos --kills N`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { main, type Program } from "./program.ts";

/** The program. */
export const KILLS: Program = {
  file: fileURLToPath(import.meta.url),
  what: "kills",
  faults: true,
  act: async (load, times) => {
    for (let i = 0; i < times; i++) {
      await load.settled(Math.floor(100 + 1500 * load.random()));
      await load.server?.kill();
      load.server = undefined;
      load.server = await load.restart();
    }
    await load.settled(100);
  },
};

if (import.meta.main) await main(KILLS);
