/**
 * Feeds mutated and random bytes to parsers, clients and servers of every wire
 * for a while:
 * `deno task fuzz [--seconds N] [--seed S]`.
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

  --seconds N       how long, shared by the runtimes (60)
  --seed S          the first part's seed (random); the others' follow it
  --runtime NAME    only on node, bun or deno (may be repeated)
  --help            print this`;

const SCRIPT = "tests/fuzz/main.ts";
/** Seconds a part may take beyond its time. */
const GRACE = 60;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "60" },
        seed: { type: "string", default: String(Date.now() % 2 ** 31) },
        runtime: { type: "string", multiple: true },
        help: { type: "boolean" },
      },
    });
    const runtimes = (values.runtime ?? RUNTIMES) as Runtime[];
    const unknown = runtimes.find((name) => !RUNTIMES.includes(name));
    if (unknown) throw new Error(`Cannot fuzz: unknown runtime ${unknown}`);
    const seconds = Number(values.seconds) / runtimes.length;
    const seed = Number(values.seed);
    if (!(seconds > 0) || !Number.isSafeInteger(seed)) {
      throw new Error("Cannot fuzz: not a number");
    }
    return { seconds, seed, runtimes, help: values.help };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { help, seconds, seed, runtimes } = options();
  if (help) return console.log(USAGE);
  console.log(`seeds from ${seed}`);
  const rows = [];
  for (const [i, runtime] of runtimes.entries()) {
    const first = seed + i * PARTS;
    const argsOf = (part: number) => [
      `--seconds=${seconds}`,
      `--seed=${first + part}`,
    ];
    const timeout = (seconds + GRACE) * 1000;
    rows.push(await runParts(runtime, SCRIPT, argsOf, { timeout }));
  }
  console.log(table(rows));
  const cases = rows.reduce((sum, row) => sum + row.passed, 0);
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  console.log(`fuzz: ${cases} cases, ${failed} findings`);
  if (failed > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
