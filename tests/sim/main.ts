/**
 * Simulates seeds, in parts. Run by `tools/sim.ts`; the last line it prints is
 * JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { watchUnhandled } from "../support/unhandled.ts";
import { simulateHostile } from "./hostile_world.ts";
import { simulate } from "./run.ts";
import { addTallies, type Tallies } from "./tally.ts";

/** A part stops after this many failed seeds: more would show nothing new. */
const ENOUGH = "5";

/** What the last line of output contains. */
class Report {
  runs = 0;
  failed = 0;
  calls = 0;
  steps = 0;
  connections = 0;
  hashes: string[] | undefined = [];
  readonly tallies: Tallies = {};
}

/** Runs one seed, and returns what was wrong. */
type Life = (seed: number, report: Report) => Promise<readonly string[]>;

const honest = (trace: boolean): Life => async (seed, report) => {
  const run = await simulate(seed, trace);
  report.hashes?.push(run.hash);
  report.calls += run.calls;
  report.steps += run.steps;
  for (const line of run.lines ?? []) console.log(line);
  return run.problems;
};

const hostile: Life = async (seed, report) => {
  const run = await simulateHostile(seed);
  report.connections += run.connections;
  addTallies(report.tallies, run.tallies);
  return run.problems;
};

async function main(): Promise<void> {
  // Thousands of expected errors, each with a stack that nobody reads.
  Error.stackTraceLimit = 0;
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "0" },
      seeds: { type: "string", default: "1" },
      step: { type: "string", default: "1" },
      hostile: { type: "boolean", default: false },
      enough: { type: "string", default: ENOUGH },
      trace: { type: "boolean", default: false },
    },
  });
  const [first, seeds, step, enough] = [
    values.seed,
    values.seeds,
    values.step,
    values.enough,
  ]
    .map(Number);
  const unhandled = watchUnhandled();
  const report = new Report();
  const live = values.hostile ? hostile : honest(values.trace);
  for (let i = 0; i < seeds && report.failed < enough; i++) {
    const seed = first + i * step;
    const found = await live(seed, report);
    const problems = [...found, ...unhandled.splice(0).map(String)];
    report.runs++;
    if (problems.length === 0) continue;
    report.failed++;
    console.log(`seed ${seed}: ${problems.slice(0, 5).join("; ")}`);
    const which = values.hostile ? "--hostile 1 " : "";
    console.log(`again: deno task sim ${which}--seed ${seed}`);
  }
  if (report.runs > 1000) report.hashes = undefined;
  console.log(JSON.stringify(report));
  process.exit(report.failed > 0 ? 1 : 0);
}

await main();
