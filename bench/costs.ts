/**
 * The single costs that have a target: memory of a pending call, one more call
 * among many, abort, idle connections, chunks written, and what pipelining is
 * worth where the network is slow. Each is measured in fresh processes, and
 * printed beside its target. A miss is not an error; a wrong reply is.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { type Cost, COSTS, type Finding } from "./costs/costs.ts";
import { type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { choices } from "./support/options.ts";
import { round, short, table } from "./support/table.ts";

type CostName = keyof typeof COSTS;

const NAMES = Object.keys(COSTS) as CostName[];

const USAGE = `Usage: deno task bench:costs [options]

Measures single costs, each in processes of its own, and prints them beside
their targets.

  --only NAMES      some of ${NAMES.join(", ")}
  --runtime NAMES   some of ${RUNTIMES.join(", ")} (all)
  --quick           small numbers: to see that it works, not how fast
  --json            one line of JSON per finding, and nothing else
  --help            print this`;

interface Options {
  readonly names: readonly CostName[];
  readonly runtimes: readonly Runtime[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: NAMES.join() },
      runtime: { type: "string", default: RUNTIMES.join() },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    names: choices("only", values.only, NAMES),
    runtimes: choices("runtime", values.runtime, RUNTIMES),
    quick: values.quick,
    json: values.json,
    help: values.help,
  };
}

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Whether a finding reaches its target; undefined if it has none. */
function met({ value, most, least }: Finding): boolean | undefined {
  if (most !== undefined) return value <= most;
  if (least !== undefined) return value >= least;
  return undefined;
}

function toJson(runtime: Runtime, finding: Finding): string {
  const { what, calls, value, unit, most, least, note } = finding;
  return JSON.stringify({
    ...{ peer: "sluice", style: what, runtime, calls },
    ...{ value: round(value, 3), unit, most, least, met: met(finding), note },
  });
}

function toCells(runtime: Runtime, finding: Finding): string[] {
  const { what, value, unit, most, least, note = "" } = finding;
  const bound = most ?? least;
  const target = bound === undefined
    ? ""
    : `${most === undefined ? "at least" : "at most"} ${bound}`;
  const share = bound === undefined ? "" : `${short(value / bound)} x`;
  const verdict = { true: "met", false: "MISSED", undefined: "" }[
    `${met(finding)}`
  ];
  const shown = `${short(value)} ${unit}`;
  return [what, runtime, shown, target, share, verdict, note];
}

async function main(): Promise<void> {
  const { names, runtimes, quick, json, help } = options();
  if (help) return console.log(USAGE);
  const rows: string[][] = [];
  for (const name of names) {
    const cost: Cost = COSTS[name];
    for (const runtime of runtimes) {
      for (const finding of await cost(runtime, quick)) {
        if (json) console.log(toJson(runtime, finding));
        else rows.push(toCells(runtime, finding));
      }
      if (!json) console.error(`${name} on ${runtime}: done`);
    }
  }
  if (json) return;
  const head = "what,runtime,measured,target,of target,verdict,from";
  console.log(table(head.split(","), rows));
}

if (import.meta.main) await tool(main);
