/**
 * Puts each of several faults at every byte of a fixed scenario, in both
 * directions, on every runtime: `deno task chaos [--quick] [--runtime NAME]`. Or
 * kills, restarts or stops a server process under load:
 * `deno task chaos --kills N`, `--restarts N`, `--stops N`.
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

  --quick           every offset on Node, every seventh on Bun and Deno
  --runtime NAME    only on node, bun or deno (may be repeated)
  --only CASE       run one case, such as out:cut:123
  --help            print this

Or, with a server process under load (for more options: --kills 1 --help):

  --kills N         kill it (kill -9) and start it again, N times
  --restarts N      drain it and start it again, N times: no call may fail
  --stops N         stop it (SIGSTOP) until the client gives it up, then let it
                    continue, N times`;

/** The programs with a server process. Each has an option of its name. */
const PROGRAMS: readonly Program[] = [KILLS, RESTARTS, STOPS];

const SCRIPT = "tests/chaos/cuts.ts";
const LIMIT = 1_800_000;
/** A quick run uses one offset of seven. Which one changes each minute, so that all offsets have their turn. */
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

/** The program with a server process that the command line names, if any. */
function programOf(): Program | undefined {
  return PROGRAMS.find(({ what }) =>
    process.argv.some((arg) => arg.split("=")[0] === `--${what}`)
  );
}

async function main(): Promise<void> {
  const program = programOf();
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
      `${runtime}: ${calls} calls, ${out} + ${back} bytes; faults at every ${every} bytes, from ${from}`,
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
