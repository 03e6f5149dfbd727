/**
 * Runs the cases of `cases.ts` under mitata, on this runtime or on others.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { measure } from "mitata";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { type Case, CASES } from "./cases.ts";
import { command, OWN, type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { cpuSeconds } from "./demo/usage.ts";
import { choices } from "./support/options.ts";
import { collectOnce } from "./support/heap.ts";
import { round, short, table } from "./support/table.ts";

const USAGE = `Usage: deno task bench [options]

Measures the parts of the library, and whole calls within one process.

  --runtime NAMES   some of ${RUNTIMES.join(", ")}, one after the other
  --only TEXT       only cases whose group or name contains TEXT
  --quick           a few runs of each: shows that it works, not how fast
  --json            print one line of JSON for each case, and nothing else
  --help            print this`;

/** The result of a case, which is one line of `--json`. */
interface Row {
  readonly peer: "case";
  readonly style: string;
  readonly group: string;
  readonly runtime: string;
  readonly calls: number;
  readonly seconds: number;
  readonly calls_per_s: number;
  readonly cpu_s: number;
  readonly rss_mb: number;
  /** Nanoseconds for an operation: the median, and the 99th percentile. */
  readonly p50_ns: number;
  readonly p99_ns: number;
}

/** Options with which mitata only shows that a case works. */
const QUICK = { min_cpu_time: 1, min_samples: 2, batch_samples: 4 };

async function measureCase(each: Case, quick: boolean): Promise<Row> {
  const { name, group, operations } = each;
  const body = each.setup();
  const cpu = cpuSeconds();
  const stats = await measure(body, {
    gc: collectOnce,
    ...quick ? QUICK : {},
  });
  const runs = stats.ticks;
  const seconds = runs * stats.avg / 1e9;
  const calls = runs * operations;
  return {
    ...{ peer: "case", style: name, group, runtime: OWN, calls },
    seconds: round(seconds, 4),
    calls_per_s: round(calls / seconds, 1),
    cpu_s: round(cpuSeconds() - cpu, 4),
    rss_mb: round(process.memoryUsage().rss / 1e6, 1),
    p50_ns: round(stats.p50 / operations, 2),
    p99_ns: round(stats.p99 / operations, 2),
  };
}

function toCells({ style, group, calls_per_s, p50_ns, p99_ns }: Row) {
  return [group, style, short(calls_per_s), short(p50_ns), short(p99_ns)];
}

interface Options {
  readonly runtimes: readonly Runtime[];
  readonly only: string;
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: OWN },
      only: { type: "string", default: "" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { runtime, ...others } = values;
  return { runtimes: choices("runtime", runtime, RUNTIMES), ...others };
}

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Measures on this runtime. */
async function measureHere({ only, quick, json }: Options): Promise<void> {
  const rows: Row[] = [];
  for (const each of CASES) {
    if (!`${each.group} ${each.name}`.includes(only)) continue;
    const row = await measureCase(each, quick);
    if (json) console.log(JSON.stringify(row));
    rows.push(row);
  }
  if (rows.length === 0) {
    throw new Error(`Cannot measure: no case contains "${only}"`);
  }
  if (json) return;
  const head = ["group", "case", "per second", "median ns", "p99 ns"];
  console.log(`${OWN} ${process.versions[OWN]}\n`);
  console.log(table(head, rows.map(toCells)) + "\n");
}

/** Measures in a process of another runtime, which prints its own results. */
async function measureOn(runtime: Runtime): Promise<void> {
  const [program, args] = command(runtime, fileURLToPath(import.meta.url));
  const given = [...process.argv.slice(2), "--runtime", runtime];
  const child = spawn(program, [...args, ...given], { stdio: "inherit" });
  const [code, signal] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`${runtime}: ${signal ?? `exit status ${code}`}`);
  }
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen.help) return console.log(USAGE);
  for (const runtime of chosen.runtimes) {
    const alone = chosen.runtimes.length === 1 && runtime === OWN;
    await (alone ? measureHere(chosen) : measureOn(runtime));
  }
}

if (import.meta.main) {
  await tool(main);
  process.exit(); // Some connections are still open.
}
