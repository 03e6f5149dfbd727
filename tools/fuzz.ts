/**
 * Feeds mutated and random bytes to the parsers, clients and servers of every
 * protocol: `deno task fuzz [--seconds N] [--cases N] [--seed S]`. Or passes
 * hostile values to the public interface: `deno task fuzz --values N`.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { type Runtime, RUNTIMES } from "./floors.ts";
import { PARTS, runParts } from "./parts.ts";
import { tool, usage } from "./process.ts";
import { table } from "./table.ts";

const USAGE = `Usage: deno task fuzz [options]

  --seconds N       seconds for all runtimes together (60)
  --cases N         least number of cases of all runtimes together (0): it
                    continues until then
  --values N        instead, N hostile values on each runtime, one for each seed
  --seed S          the first seed (random)
  --runtime NAME    only on node, bun or deno (may be repeated)
  --help            print this`;

const SCRIPT = "tests/fuzz/main.ts";
const VALUES = "tests/fuzz/values_main.ts";
/** Seconds that a part may take in addition; and how many cases a second it must reach. */
const GRACE = 60;
const CASES_A_SECOND = 500;
const VALUES_A_SECOND = 50;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "60" },
        cases: { type: "string", default: "0" },
        values: { type: "string", default: "0" },
        seed: { type: "string", default: String(Date.now() % 2 ** 31) },
        runtime: { type: "string", multiple: true },
        help: { type: "boolean" },
      },
    });
    const runtimes = (values.runtime ?? RUNTIMES) as Runtime[];
    const unknown = runtimes.find((name) => !RUNTIMES.includes(name));
    if (unknown) throw new Error(`Cannot fuzz: unknown runtime ${unknown}`);
    const seconds = Number(values.seconds) / runtimes.length;
    const cases = Math.ceil(Number(values.cases) / runtimes.length / PARTS);
    const seed = Number(values.seed);
    const hostile = Number(values.values);
    if (!(seconds > 0 && cases >= 0) || !Number.isSafeInteger(seed + hostile)) {
      throw new Error(
        `Cannot fuzz: not a number in ${process.argv.slice(2).join(" ")}`,
      );
    }
    return { seconds, cases, hostile, seed, runtimes, help: values.help };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { help, seconds, cases, hostile, seed, runtimes } = options();
  if (help) return console.log(USAGE);
  console.log(`seeds from ${seed}`);
  if (hostile > 0) return await fuzzValues(hostile, seed, runtimes);
  const rows = [];
  for (const [i, runtime] of runtimes.entries()) {
    const first = seed + i * PARTS;
    const argsOf = (part: number) => [
      `--seconds=${seconds}`,
      `--cases=${cases}`,
      `--seed=${first + part}`,
    ];
    const timeout = (seconds + GRACE + cases / CASES_A_SECOND) * 1000;
    rows.push(await runParts(runtime, SCRIPT, argsOf, { timeout }));
  }
  console.log(table(rows));
  const reports = rows.flatMap((row) => row.reports);
  // A report counts cases by target: `client`, `gob-server`, and the parsers.
  const sum = (of: (name: string) => boolean) => {
    const counts = reports.flatMap((report) => Object.entries(report));
    return counts.reduce(
      (n, [name, count]) => of(name) ? n + Number(count) : n,
      0,
    );
  };
  const clients = sum((name) => name.endsWith("client"));
  const servers = sum((name) => name.endsWith("server"));
  const runs = sum((name) => name === "runs");
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  console.log(
    `fuzz: ${runs} cases (${runs - clients - servers} for parsers, ` +
      `${clients} for clients, ${servers} for servers), ${failed} findings`,
  );
  if (failed > 0) process.exitCode = 1;
}

/** Runs the same seeds on each runtime, in parts. */
async function fuzzValues(
  hostile: number,
  seed: number,
  runtimes: readonly Runtime[],
): Promise<void> {
  const rows = [];
  const parts = Math.min(PARTS, hostile);
  const most = Math.ceil(hostile / parts);
  for (const runtime of runtimes) {
    const argsOf = (part: number) => [
      `--seed=${seed + part * most}`,
      `--cases=${Math.min(most, hostile - part * most)}`,
    ];
    const timeout = (GRACE + most / VALUES_A_SECOND) * 1000;
    rows.push(await runParts(runtime, VALUES, argsOf, { parts, timeout }));
  }
  console.log(table(rows));
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  console.log(`fuzz: ${hostile} values on each runtime, ${failed} findings`);
  if (failed > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
