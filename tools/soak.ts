/**
 * Runs a client and a server process for long: `deno task soak [--quick]`. Every
 * reply is checked, the counts of both processes are compared, and their memory
 * must not grow.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import type { Memory } from "../tests/support/heap.ts";
import { type Runtime, RUNTIMES } from "./floors.ts";
import { runParts } from "./parts.ts";
import { tool, usage } from "./process.ts";

const USAGE = `Usage: deno task soak [options]

  --quick           500,000 calls and 100 MB, on each runtime
  --calls N         number of calls (10,000,000)
  --megabytes N     payload in each direction, in MB (2,000)
  --runtime NAME    node, bun or deno; may be repeated (node; all with --quick)
  --seed S          seed of the calls (random)
  --help            print this`;

const SCRIPT = "tests/soak/main.ts";
/** Least number of calls a second, and milliseconds in addition, before it counts as hung. */
const SLOWEST = 2000;
const GRACE = 120_000;
/** By how much live memory may grow after the first tenth, as a share. */
const GROWTH = 0.1;
/** How many bytes may be added in a short run, whose first tenth is too short for the runtime to compile everything. */
const COMPILED = 2_000_000;

/** What `tests/soak/main.ts` reports. */
interface Report {
  readonly runs: number;
  readonly failed: number;
  readonly bytes: number;
  readonly seed: number;
  readonly seconds: number;
  readonly samples: readonly Record<"client" | "server", Memory>[];
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean" },
        calls: { type: "string" },
        megabytes: { type: "string" },
        runtime: { type: "string", multiple: true },
        seed: { type: "string" },
        help: { type: "boolean" },
      },
    });
    const { quick, seed, help } = values;
    const usual = quick ? RUNTIMES : ["node"];
    const runtimes = (values.runtime ?? usual) as Runtime[];
    const unknown = runtimes.find((name) => !RUNTIMES.includes(name));
    if (unknown) throw new Error(`Cannot soak: unknown runtime ${unknown}`);
    const calls = Number(values.calls ?? (quick ? 500_000 : 10_000_000));
    const megabytes = Number(values.megabytes ?? (quick ? 100 : 2000));
    if (!(calls >= 1000 && megabytes > 0)) {
      throw new Error(
        `Cannot soak: needs at least 1,000 calls and 1 MB, received ${calls} calls and ${megabytes} MB`,
      );
    }
    const compiled = quick ? COMPILED : 0;
    return { runtimes, calls, megabytes, compiled, seed, help };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Says what a side held after the first tenth and at the end, and whether it grew too much. */
function grown(
  { samples }: Report,
  end: "client" | "server",
  allowed: number,
): [string, boolean] {
  // Code that is no longer needed is freed late: the smaller of two samples counts.
  const [a, b] = [samples[0][end], samples[1][end]];
  const first = a.live < b.live ? a : b;
  const last = samples[samples.length - 1][end];
  const growth = last.live / first.live - 1;
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  const text = `${end} ${mb(first.live)} to ${mb(last.live)} MB live ` +
    `(${(100 * growth).toFixed(1)} %), ${mb(first.rss)} to ${
      mb(last.rss)
    } MB resident`;
  const most = Math.max(GROWTH * first.live, allowed);
  return [text, last.live - first.live > most];
}

/** Runs one runtime. Returns whether everything is right. */
async function soak(
  runtime: Runtime,
  { calls, megabytes, compiled, seed }: ReturnType<typeof options>,
): Promise<boolean> {
  const args = [`--calls=${calls}`, `--megabytes=${megabytes}`];
  if (seed !== undefined) args.push(`--seed=${seed}`);
  const { failed, reports } = await runParts(runtime, SCRIPT, () => args, {
    parts: 1,
    timeout: GRACE + 1000 * calls / SLOWEST,
  });
  const report = reports[0] as unknown as Report | undefined;
  if (report === undefined || report.samples.length < 2) return false;
  const [client, clientGrew] = grown(report, "client", compiled);
  const [server, serverGrew] = grown(report, "server", compiled);
  const payload = (report.bytes / 1e6).toFixed(0);
  console.log(
    `soak on ${runtime}: ${report.runs} calls, ${payload} MB each way, ` +
      `seed ${report.seed}: ${failed} disagreements; after the first tenth ` +
      `and at the end: ${client}; ${server}; ${report.seconds.toFixed(0)} s`,
  );
  return failed === 0 && !clientGrew && !serverGrew;
}

async function main(): Promise<void> {
  const given = options();
  if (given.help) return console.log(USAGE);
  for (const runtime of given.runtimes) {
    if (!await soak(runtime, given)) process.exitCode = 1;
  }
}

if (import.meta.main) await tool(main);
