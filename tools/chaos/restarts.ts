/**
 * Restarts the server process by draining it, under pipelined load: no call
 * may fail, and each that is not idempotent runs once:
 * `deno task chaos --restarts N`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import type { Load } from "./load.ts";
import { main, type Program } from "./program.ts";
import type { ServerProcess } from "./server_process.ts";

/** Drains the server; a drain that fails counts. */
async function drain(load: Load, server: ServerProcess): Promise<void> {
  const status = await server.drain();
  if (status !== 0) load.faults.push(`a drain ended with ${status}`);
}

/** The program. */
export const RESTARTS: Program = {
  file: fileURLToPath(import.meta.url),
  what: "restarts",
  faults: false,
  act: async (load, times) => {
    for (let i = 0; i < times; i++) {
      await load.settled(Math.floor(100 + 1500 * load.random()));
      const old = load.server as ServerProcess;
      // In turns: the next one is there before the old one goes, or after.
      if (i % 2 === 0) {
        await drain(load, old);
        load.server = undefined;
      }
      load.server = await load.restart();
      if (i % 2 !== 0) await drain(load, old);
    }
    await load.settled(100);
  },
  judge: ({ callLog: { failed } }) =>
    failed === 0 ? [] : [`${failed} calls failed`],
};

if (import.meta.main) await main(RESTARTS);
