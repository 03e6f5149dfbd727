/**
 * Restarts the server process by draining it, under pipelined load: no call
 * may fail, and each that is not idempotent runs once:
 * `deno task chaos:drains --restarts N`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { main } from "./program.ts";
import type { ServerProcess } from "./server_process.ts";

const statuses: (number | null)[] = [];

await main({
  file: fileURLToPath(import.meta.url),
  task: "drains",
  what: "restarts",
  faults: false,
  act: async (load, times) => {
    for (let i = 0; i < times; i++) {
      await load.settled(Math.floor(100 + 1500 * load.random()));
      const old = load.server as ServerProcess;
      // In turns: the next one is there before the old one goes, or after.
      if (i % 2 === 0) {
        statuses.push(await old.drain());
        load.server = undefined;
      }
      load.server = await load.restart();
      if (i % 2 !== 0) statuses.push(await old.drain());
    }
    await load.settled(100);
  },
  judge: (_verdict, load) => {
    const bad = statuses.filter((status) => status !== 0);
    const wrong = bad.map((status) => `a drain ended with ${status}`);
    const { failed } = load.ledger;
    return failed === 0 ? wrong : [...wrong, `${failed} calls failed`];
  },
});
