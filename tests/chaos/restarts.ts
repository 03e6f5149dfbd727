/**
 * Drains a server and replaces it, again and again, while clients without any
 * retry call it: `deno task restarts [--restarts N] [--clients N]`. No call that
 * a connection has accepted may be refused or lost.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { PLACES, printTally, restartUnderLoad } from "../support/restarts.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      restarts: { type: "string", default: "50" },
      clients: { type: "string", default: "3" },
    },
  });
  const [restarts, clients] = [Number(values.restarts), Number(values.clients)];
  for (const [name, place] of Object.entries(PLACES)) {
    const tally = await restartUnderLoad(place, restarts, clients);
    console.log(`${name}: ${printTally(restarts, tally)}`);
    const { refused, unknown, miscounted } = tally;
    if (refused + unknown + miscounted > 0) process.exitCode = 1;
  }
}

if (import.meta.main) await main();
