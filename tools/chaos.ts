/**
 * Breaks a recorded session at every byte of both directions, in four ways, on
 * every runtime: `deno task chaos [--quick] [--runtime NAME]`. Or breaks server
 * processes under load: `deno task chaos --kills N`, and the like.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { KILLS } from "./chaos/kills.ts";
import { main as runProgram, type Program } from "./chaos/program.ts";
import { RESTARTS } from "./chaos/restarts.ts";
import { STOPS } from "./chaos/stops.ts";
import { type Runtime, RUNTIMES } from "./floors.ts";
import { PARTS, runParts } from "./parts.ts";
import { tool, usage } from "./process.ts";
import { table } from "./table.ts";

const USAGE = `Usage: deno task chaos [options]

  --quick           all offsets on Node, every seventh on Bun and Deno
  --runtime NAME    only on node, bun or deno (may be repeated)
  --only CASE       one case, such as out:cut:123
  --help            print this

Or, with a server process under load (more options: --kills 1 --help):

  --kills N         kills it (kill -9) and starts it anew
  --restarts N      restarts it by draining it: no call may fail
  --stops N         has it stand still (SIGSTOP) until it is given up, and go on`;

/** What is done to server processes, each asked for by an option of its name. */
const PROGRAMS: readonly Program[] = [KILLS, RESTARTS, STOPS];

const SCRIPT = "tests/chaos/cuts.ts";
const LIMIT = 1_800_000;
/** Of a quick run's offsets; the phase moves on each minute, so that none is left out for good. */
const SEVENTH = 7;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean" },
        runtime: { type: "string", multiple: true },
        only: { type: "string" },
        help: { type: "boolean" },
      },
    });
    const runtimes = (values.runtime ?? RUNTIMES) as Runtime[];
    const unknown = runtimes.find((name) => !RUNTIMES.includes(name));
    if (unknown) throw new Error(`Cannot run: unknown runtime ${unknown}`);
    return { ...values, runtimes };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** The program that the command line asks for, if it asks for one. */
function asked(): Program | undefined {
  return PROGRAMS.find(({ what }) =>
    process.argv.some((arg) => arg.split("=")[0] === `--${what}`)
  );
}

async function main(): Promise<void> {
  const program = asked();
  if (program !== undefined) return await runProgram(program);
  const { help, quick, runtimes, only } = options();
  if (help) return console.log(USAGE);
  const phase = Math.floor(Date.now() / 60_000) % SEVENTH;
  const rows = [];
  for (const runtime of runtimes) {
    const every = quick && runtime !== "node" ? SEVENTH : 1;
    const from = every === 1 ? 0 : phase;
    const parts = only === undefined ? PARTS : 1;
    const argsOf = (part: number) =>
      only === undefined
        ? [`--every=${every}`, `--phase=${from}`, `--part=${part}/${parts}`]
        : [`--only=${only}`];
    const row = await runParts(runtime, SCRIPT, argsOf, {
      parts,
      timeout: LIMIT,
    });
    const { calls, out, back } = row.reports[0] ?? {};
    console.log(
      `${runtime}: ${calls} calls, ${out} + ${back} bytes; every ${every}, from ${from}`,
    );
    rows.push(row);
  }
  console.log(table(rows));
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  const passed = rows.reduce((sum, row) => sum + row.passed, 0);
  console.log(`chaos: ${passed} faults survived, ${failed} not`);
  if (failed === 0) return;
  console.log("again: deno task chaos --runtime NAME --only CASE");
  process.exitCode = 1;
}

if (import.meta.main) await tool(main);
