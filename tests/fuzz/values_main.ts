/**
 * Passes hostile values to the library, a case for each of a sequence of seeds.
 * `tools/fuzz.ts` runs it in parts; the last line of its output is JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { turn } from "../support/clock.ts";
import { watchUnhandled } from "../support/unhandled.ts";
import { reportOf, ValueCase } from "./value_case.ts";

/** It stops after this many findings. */
const ENOUGH = 5;

/** The current case. If it never ends, the process prints it and exits. */
let under: string | undefined;
process.on("exit", () => {
  if (under !== undefined) console.log(`hangs: ${under}`);
});

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      cases: { type: "string", default: "1000" },
    },
  });
  const first = Number(values.seed);
  const end = first + Number(values.cases);
  const unhandled = watchUnhandled();
  let failed = 0;
  let runs = 0;
  for (let seed = first; seed < end && failed < ENOUGH; seed++) {
    runs++;
    const each = new ValueCase(seed);
    under = `seed ${seed}: ${each.name}`;
    const faults: unknown[] = [];
    await each.run().catch((error) => faults.push(error));
    await turn();
    faults.push(...unhandled.splice(0));
    for (const fault of faults) {
      console.log(`${under}: ${reportOf(fault)}`);
    }
    under = undefined;
    if (faults.length === 0) continue;
    failed++;
    console.log(`alone: deno task fuzz --values 1 --seed ${seed}`);
  }
  console.log(JSON.stringify({ runs, failed, seed: first }));
  process.exit(failed > 0 ? 1 : 0);
}

await main();
