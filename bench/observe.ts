/**
 * Measures what observers cost a call, and that a call without observers pays
 * nothing.
 *
 * Each kind is measured in new processes, one after the other in each round. Look
 * at the median of the ratios of all rounds. CPU time is measured, because other
 * programs disturb it less than wall-clock time.
 *
 * @module
 */

import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { type Kind, KINDS, type Order, type Result } from "./observe/one.ts";
import { choices, wholes } from "./support/options.ts";
import { measure } from "./support/program.ts";
import { median } from "./support/stats.ts";
import { round, table } from "./support/table.ts";

const NAMES = Object.keys(KINDS) as Kind[];

const USAGE = `Usage: deno task bench:observe [options]

Measures the CPU time of a pipelined call over TCP, of both ends together, with
nothing observed and with each kind of observing.

  --only NAMES      some of ${NAMES.join(", ")}
  --base DIR        another checkout, measured with nothing observed; all is
                    then compared to it, else to the first of the names
  --runtime NAMES   some of ${RUNTIMES.join(", ")} (all)
  --rounds N        number of rounds (11)
  --quick           small numbers: shows that it works, not how fast
  --json            print one line of JSON for each result, and nothing else
  --help            print this`;

/** A kind that is measured in each round. */
interface Case {
  readonly name: string;
  readonly kind: Kind;
  readonly url: string;
  readonly cpu: number[];
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: NAMES.join() },
      base: { type: "string" },
      runtime: { type: "string", default: RUNTIMES.join() },
      rounds: { type: "string", default: "11" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    ...values,
    only: choices("only", values.only, NAMES),
    runtime: choices("runtime", values.runtime, RUNTIMES),
    rounds: values.quick ? 1 : wholes("rounds", values.rounds, 1, 1000)[0],
  };
}

function options(): ReturnType<typeof readOptions> {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

function toCases(only: readonly Kind[], base: string | undefined): Case[] {
  const url = import.meta.resolve("../mod.ts");
  const cases = only.map((kind): Case => ({ name: kind, kind, url, cpu: [] }));
  if (base === undefined) return cases;
  const theirs = pathToFileURL(join(resolve(base), "mod.ts")).href;
  return [{ name: "base", kind: "plain", url: theirs, cpu: [] }, ...cases];
}

async function main(): Promise<void> {
  const { only, base, runtime: runtimes, rounds, quick, json, help } =
    options();
  if (help) return console.log(USAGE);
  const size = quick
    ? { calls: 500, samples: 1 }
    : { calls: 20_000, samples: 9 };
  const rows: string[][] = [];
  for (const runtime of runtimes) {
    const cases = toCases(only, base);
    for (let i = 0; i < rounds; i++) {
      // The order changes with each round: no kind is always first.
      for (let at = 0; at < cases.length; at++) {
        const { kind, url, cpu } = cases[(at + i) % cases.length];
        const order = { kind, url, ...size };
        cpu.push((await one(runtime, order)).cpu);
      }
    }
    for (const { name, cpu } of cases) {
      const us = round(median(cpu), 3);
      const ratio = round(median(cpu.map((t, i) => t / cases[0].cpu[i])), 3);
      const calls = rounds * size.calls * size.samples;
      if (json) console.log(toJson(name, runtime, calls, us, ratio));
      else {rows.push([
          name,
          runtime,
          `${us} us`,
          `${ratio} of ${cases[0].name}`,
        ]);}
    }
  }
  if (!json) {
    console.log(table(["kind", "runtime", "CPU a call", "ratio"], rows));
  }
}

function one(runtime: Runtime, order: Order): Promise<Result> {
  const file = import.meta.resolve("./observe/one.ts");
  return measure<Order, Result>(runtime, file, order);
}

function toJson(
  style: string,
  runtime: Runtime,
  calls: number,
  value: number,
  ratio: number,
): string {
  const what = { peer: "sluice", style, runtime, calls };
  return JSON.stringify({ ...what, value, unit: "us CPU a call", ratio });
}

if (import.meta.main) await tool(main);
