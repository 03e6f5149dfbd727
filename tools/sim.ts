/**
 * Simulates clients and servers over faulty connections, one run for each seed:
 * `deno task sim [--seeds N] [--seed S]`. Or simulates connections whose peers
 * break the rules: `deno task sim --hostile N [--seed S]`.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { LINKS } from "../tests/sim/hostile_world.ts";
import { addTallies, type Tallies } from "../tests/sim/tally.ts";
import { type Runtime, RUNTIMES } from "./floors.ts";
import { PARTS, type Parts, runParts } from "./parts.ts";
import { tool, usage } from "./process.ts";
import { table } from "./table.ts";

const USAGE = `Usage: deno task sim [options]

  --seeds N         number of seeds (1,000; 1 with --seed)
  --seed S          the first seed (random)
  --hostile N       instead, N connections whose peers break the rules, ${LINKS} for
                    each seed
  --runtime NAME    node, bun or deno (node); with --hostile also all
  --compare N       number of seeds that run on all three runtimes, which must
                    give the same traces (20)
  --trace           print every step
  --help            print this`;

const SCRIPT = "tests/sim/main.ts";
const LIMIT = 24 * 3600_000;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        seeds: { type: "string" },
        seed: { type: "string" },
        hostile: { type: "string" },
        runtime: { type: "string", default: "node" },
        compare: { type: "string", default: "20" },
        trace: { type: "boolean", default: false },
        help: { type: "boolean" },
      },
    });
    const { seed, runtime, trace, help } = values;
    const hostile = values.hostile !== undefined;
    const given = hostile
      ? String(Math.ceil(Number(values.hostile) / LINKS))
      : values.seeds ?? (seed === undefined ? "1000" : "1");
    const numbers = [given, seed ?? String(Date.now() % 2 ** 31)].map(Number);
    const [seeds, first] = numbers;
    const compare = Math.min(seeds, Number(values.compare));
    if (![seeds, first, compare].every(Number.isSafeInteger)) {
      throw new Error(
        `Cannot simulate: not a number in ${process.argv.slice(2).join(" ")}`,
      );
    }
    const runtimes = hostile && runtime === "all"
      ? RUNTIMES
      : RUNTIMES.filter((name) => name === runtime);
    if (runtimes.length === 0) {
      throw new Error(`Cannot simulate: unknown runtime ${runtime}`);
    }
    return {
      seeds,
      first,
      compare,
      trace,
      help,
      hostile,
      runtimes,
    };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Runs the seeds from `first` in as many parts as pay. */
async function simulate(
  runtime: Runtime,
  first: number,
  seeds: number,
  more: readonly string[] = [],
): Promise<Parts> {
  const parts = Math.min(PARTS, seeds);
  return await runParts(runtime, SCRIPT, (part) => {
    const share = Math.ceil((seeds - part) / parts);
    const those = [`--seed=${first + part}`, `--seeds=${share}`];
    return [...those, `--step=${parts}`, ...more];
  }, { parts, timeout: LIMIT });
}

/** Runs seeds in one part, and keeps the hashes of their traces. */
async function hashes(runtime: Runtime, first: number, seeds: number) {
  const args = [`--seed=${first}`, `--seeds=${seeds}`];
  const parts = await runParts(runtime, SCRIPT, () => args, {
    parts: 1,
    timeout: LIMIT,
  });
  return { parts, hashes: (parts.reports[0]?.hashes ?? []) as string[] };
}

/** Runs the same seeds on every runtime. A trace that differs counts as failed. */
async function compare(first: number, seeds: number): Promise<Parts[]> {
  const results = [];
  for (const runtime of RUNTIMES) {
    results.push({ runtime, ...await hashes(runtime, first, seeds) });
  }
  const [expected] = results;
  for (const { runtime, hashes, parts } of results) {
    for (let i = 0; i < seeds; i++) {
      if (hashes[i] === expected.hashes[i]) continue;
      parts.failed++;
      console.log(
        `seed ${first + i}: trace ${hashes[i]} on ${runtime}, ${
          expected.hashes[i]
        } on ${expected.runtime}`,
      );
    }
    parts.name = `${runtime}, compared`;
  }
  return results.map(({ parts }) => parts);
}

/** Runs connections whose peers break the rules, and prints what was tried. */
async function simulateHostile(
  runtimes: readonly Runtime[],
  first: number,
  seeds: number,
): Promise<void> {
  const rows: Parts[] = [];
  for (const runtime of runtimes) {
    rows.push(await simulate(runtime, first, seeds, ["--hostile"]));
  }
  const tried: Tallies = {};
  for (const { name, reports } of rows) {
    for (const { connections, tallies } of reports) {
      addTallies(tried, { connections: { [name]: Number(connections) } });
      addTallies(tried, tallies as Tallies);
    }
  }
  for (const [what, tally] of Object.entries(tried)) {
    console.log(`\n${what}`);
    const counts = Object.entries(tally).sort(([, a], [, b]) => b - a);
    for (const [name, n] of counts) {
      console.log(`${String(n).padStart(12)}  ${name}`);
    }
  }
  console.log(`\n${table(rows)}`);
  const sum = Object.values(tried.connections ?? {}).reduce((a, b) => a + b, 0);
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  console.log(`sim: ${sum} broken connections; ${failed} seeds failed`);
  if (failed > 0) process.exitCode = 1;
}

async function main(): Promise<void> {
  const { help, seeds, first, runtimes, hostile, trace, ...rest } = options();
  if (help) return console.log(USAGE);
  console.log(`seeds ${first} to ${first + seeds - 1}`);
  if (hostile) return await simulateHostile(runtimes, first, seeds);
  const [runtime] = runtimes;
  if (trace) {
    const args = [`--seed=${first}`, "--trace"];
    await runParts(runtime, SCRIPT, () => args, {
      parts: 1,
      timeout: LIMIT,
      echo: true,
    });
    return;
  }
  const rows = [await simulate(runtime, first, seeds)];
  if (rest.compare > 0) rows.push(...await compare(first, rest.compare));
  const sum = (name: string) =>
    rows[0].reports.reduce((sum, report) => sum + Number(report[name]), 0);
  console.log(table(rows));
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  console.log(
    `sim: ${seeds} seeds, ${sum("steps")} steps, ${
      sum("calls")
    } calls; ${failed} failed`,
  );
  if (failed > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
