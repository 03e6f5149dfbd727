/**
 * Simulates seeds, in parts. Run by `tools/sim.ts`; the last line it prints is
 * JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { watchUnhandled } from "../support/watch.ts";
import { simulate } from "./run.ts";

/** Seeds that fail before a part gives up: more would tell the same. */
const ENOUGH = 5;

async function main(): Promise<void> {
  // Thousands of expected errors, each with a stack that nobody reads.
  Error.stackTraceLimit = 0;
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "0" },
      seeds: { type: "string", default: "1" },
      step: { type: "string", default: "1" },
      trace: { type: "boolean" },
    },
  });
  const [first, seeds, step] = [values.seed, values.seeds, values.step]
    .map(Number);
  const unhandled = watchUnhandled();
  const hashes: string[] = [];
  let failed = 0;
  let calls = 0;
  let steps = 0;
  for (let i = 0; i < seeds && failed < ENOUGH; i++) {
    const seed = first + i * step;
    const run = await simulate(seed, values.trace);
    const problems = [...run.problems, ...unhandled.splice(0).map(String)];
    hashes.push(run.hash);
    calls += run.calls;
    steps += run.steps;
    for (const line of run.lines ?? []) console.log(line);
    if (problems.length === 0) continue;
    failed++;
    console.log(`seed ${seed}: ${problems.slice(0, 5).join("; ")}`);
    console.log(`again: deno task sim --seed ${seed}`);
  }
  const runs = hashes.length;
  const hash = hashes.length > 1000 ? undefined : hashes;
  console.log(JSON.stringify({ runs, failed, calls, steps, hashes: hash }));
  process.exit(failed > 0 ? 1 : 0);
}

await main();
