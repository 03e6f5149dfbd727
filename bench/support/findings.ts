/**
 * Runs benchmarks whose results have a target, in new processes on each runtime,
 * and prints results and targets. A missed target is not an error; a wrong reply
 * is.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { usage } from "../../tools/process.ts";
import { type Runtime, RUNTIMES } from "../demo/runtimes.ts";
import { choices } from "./options.ts";
import { round, short, table } from "./table.ts";

/** One number that was measured, with its target. */
export interface Finding {
  /** What was measured. */
  readonly what: string;
  readonly calls: number;
  readonly value: number;
  readonly unit: string;
  /** The target: an upper or a lower bound. */
  readonly most?: number;
  readonly least?: number;
  /** The numbers from which it was computed, or a note. */
  readonly note?: string;
}

/** Measures one kind of cost. `quick` uses small numbers, to show that it works. */
export type Cost = (runtime: Runtime, quick: boolean) => Promise<Finding[]>;

interface Options {
  readonly names: readonly string[];
  readonly runtimes: readonly Runtime[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

function readOptions(all: readonly string[]): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: all.join() },
      runtime: { type: "string", default: RUNTIMES.join() },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    names: choices("only", values.only, all),
    runtimes: choices("runtime", values.runtime, RUNTIMES),
    quick: values.quick,
    json: values.json,
    help: values.help,
  };
}

function options(all: readonly string[], help: string): Options {
  try {
    return readOptions(all);
  } catch (error) {
    usage((error as Error).message, help);
  }
}

function usageOf(task: string, about: string, all: readonly string[]): string {
  return `Usage: deno task ${task} [options]

${about}

  --only NAMES      some of ${all.join(", ")}
  --runtime NAMES   some of ${RUNTIMES.join(", ")} (all)
  --quick           small numbers: shows that it works, not how fast
  --json            print one line of JSON for each result, and nothing else
  --help            print this`;
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
  const result = { true: "met", false: "MISSED", undefined: "" }[
    `${met(finding)}`
  ];
  const shown = `${short(value)} ${unit}`;
  return [what, runtime, shown, target, share, result, note];
}

/** The body of such a benchmark: reads the command line, measures, and prints. */
export async function findings(
  task: string,
  about: string,
  costs: Readonly<Record<string, Cost>>,
): Promise<void> {
  const all = Object.keys(costs);
  const usage = usageOf(task, about, all);
  const { names, runtimes, quick, json, help } = options(all, usage);
  if (help) return console.log(usage);
  const rows: string[][] = [];
  for (const name of names) {
    const cost = costs[name];
    for (const runtime of runtimes) {
      for (const finding of await cost(runtime, quick)) {
        if (json) console.log(toJson(runtime, finding));
        else rows.push(toCells(runtime, finding));
      }
      if (!json) console.error(`${name} on ${runtime}: done`);
    }
  }
  if (json) return;
  const head = "what,runtime,measured,target,of target,result,from";
  console.log(table(head.split(","), rows));
}
