/**
 * Has the server process stand still under pipelined load until the client's
 * keepalive takes it for dead, then go on: what it had read by then runs after
 * all, and nothing may run twice: `deno task chaos --stops N`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { main, type Program } from "./program.ts";

/** Milliseconds of silence after which the client asks, and as many for the answer. */
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
      // It goes on at once, or when dials have hung for a while, too.
      const longer = i % 2 === 0 ? 0 : 3 * PATIENCE * load.random();
      server?.stop();
      try {
        await load.lost();
        await new Promise((resolve) => setTimeout(resolve, longer));
      } finally {
        // One that stands still would not notice that its parent is gone.
        server?.go();
      }
    }
    await load.settled(100);
  },
};

if (import.meta.main) await main(STOPS);
