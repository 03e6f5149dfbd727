/**
 * Stops the server process (SIGSTOP) under pipelined load until the client's
 * keepalive closes the connection, then lets it continue. What the server had
 * read by then still runs, and nothing may run twice:
 * `deno task chaos --stops N`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { main, type Program } from "./program.ts";

/** Milliseconds without a byte after which the client sends a PING, and as many for the PONG. */
const PATIENCE = 200;

/** The program. */
export const STOPS: Program = {
  file: fileURLToPath(import.meta.url),
  what: "stops",
  faults: true,
  patience: PATIENCE,
  act: async (load, times) => {
    for (let i = 0; i < times; i++) {
      await load.settled(Math.floor(100 + 1500 * load.random()));
      const { server } = load;
      // It continues at once, or after dials have hung for a while.
      const longer = i % 2 === 0 ? 0 : 3 * PATIENCE * load.random();
      server?.stop();
      try {
        await load.lost();
        await new Promise((resolve) => setTimeout(resolve, longer));
      } finally {
        // A stopped process would not notice that its parent has exited.
        server?.go();
      }
    }
    await load.settled(100);
  },
};

if (import.meta.main) await main(STOPS);
