/**
 * The common part of the programs in this folder: command line, the runtimes of
 * client and server, and the last line of output.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  command,
  OWN,
  type Runtime,
  RUNTIMES,
} from "../../bench/demo/runtimes.ts";
import { tool, usage } from "../process.ts";
import { Load, type LoadKind, type LoadOptions } from "./load.ts";

/** A program: what it does to the server while the load runs, and what it counts. */
export interface Program extends LoadKind {
  readonly file: string;
  /** The name of the option with the number of times, which is also the word in the last line. */
  readonly what: string;
  /** Does it that many times, while the load runs. */
  readonly act: (load: Load, times: number) => Promise<void>;
  /** Lists what else is wrong. */
  readonly judge?: (load: Load) => string[];
}

function toRuntime(name: string | undefined): Runtime {
  if (name === undefined) return OWN;
  const runtime = RUNTIMES.find((runtime) => runtime === name);
  if (runtime === undefined) {
    throw new Error(`Cannot run: unknown runtime ${name}`);
  }
  return runtime;
}

/** The result of a run. */
export interface Report {
  /** A sentence for each fault. */
  readonly faults: string[];
  /** One line of figures. */
  readonly figures: string;
}

/** Runs the load of a program and what the program does to the server, then stops both. */
export async function run(
  program: Program,
  times: number,
  options: LoadOptions,
): Promise<Report> {
  const load = await Load.start(program, options);
  const running = load.run();
  await program.act(load, times);
  const { disagreements, figures } = await load.finish(running);
  const judged = program.judge?.(load) ?? [];
  return { faults: [...disagreements, ...judged], figures };
}

function read({ file, what }: Program) {
  const text = `Usage: deno task chaos --${what} N [options]

  ${`--${what} N`.padEnd(17)}how many times (default 10)
  --server NAME    runtime of the server: node, bun or deno
  --client NAME    runtime of the client, the same
  --seed N         seed of the calls and of the moments
  --help           print this`;
  try {
    const { values } = parseArgs({
      options: {
        [what]: { type: "string", default: "10" },
        server: { type: "string" },
        client: { type: "string" },
        seed: { type: "string", default: String(Date.now() % 2 ** 31) },
        help: { type: "boolean", default: false },
      },
    });
    const given = values as Record<string, string | undefined>;
    const [times, seed] = [Number(given[what]), Number(given.seed)];
    if (!(times >= 1) || !Number.isInteger(seed)) {
      throw new Error(
        `Cannot run: not a number in --${what} ${
          given[what]
        } --seed ${given.seed}`,
      );
    }
    const { help } = values;
    const server = toRuntime(given.server);
    const client = toRuntime(given.client);
    return { file, text, times, seed, help, server, client };
  } catch (error) {
    usage((error as Error).message, text);
  }
}

/** Runs this very program on another runtime. */
function elsewhere(runtime: Runtime, file: string): Promise<number> {
  const [program, args] = command(runtime, file);
  const child = spawn(program, [...args, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  return new Promise((resolve) =>
    child.on("close", (code) => resolve(code ?? 1))
  );
}

/** The body of a program: exits with 1 on any disagreement. */
export async function main(program: Program): Promise<void> {
  await tool(async () => {
    const { file, text, times, seed, help, server, client } = read(program);
    if (help) return console.log(text);
    if (client !== OWN) process.exit(await elsewhere(client, file));
    const began = performance.now();
    const { faults, figures } = await run(program, times, { server, seed });
    for (const fault of faults.slice(0, 20)) console.error(fault);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(
      `${times} ${program.what}, ${OWN} calls ${server}, seed ${seed}: ` +
        `${figures}; ${faults.length} disagreements, ${seconds} s`,
    );
    process.exit(faults.length === 0 ? 0 : 1);
  });
}
