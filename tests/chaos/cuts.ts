/**
 * Exhaustive cut: the recorded session, with a fault at every byte of both
 * directions. Run by `tools/chaos.ts`, in parts; the last line it prints is
 * JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { turn } from "../support/clock.ts";
import type { Fault } from "../support/fault_line.ts";
import { runScenario } from "../support/scenario.ts";
import { watchUnhandled } from "../support/unhandled.ts";

/** The faults. Each strikes at every offset, each offset's garbled bit is another. */
export const KINDS = ["cut", "reset", "stall", "garble"] as const;
export const DIRECTIONS = ["out", "back"] as const;

/** One run's fault, as it is named on a command line: `out:cut:123`. */
export interface Case {
  readonly direction: (typeof DIRECTIONS)[number];
  readonly kind: (typeof KINDS)[number];
  readonly at: number;
}

/** Every case of a session of these lengths whose offset is `phase` modulo `every`. */
export function* allCases(
  lengths: Readonly<Record<Case["direction"], number>>,
  every = 1,
  phase = 0,
): Generator<Case> {
  for (const direction of DIRECTIONS) {
    for (let at = phase; at <= lengths[direction]; at += every) {
      for (const kind of KINDS) yield { direction, kind, at };
    }
  }
}

/** Runs the session with one fault. Throws if anything is wrong afterwards. */
export async function runCase({ direction, kind, at }: Case): Promise<void> {
  const fault: Fault = kind === "garble"
    ? { kind, at, bit: at % 8 }
    : { kind, at };
  await runScenario({
    faults: { [direction]: fault },
    garbled: kind === "garble",
  });
}

/** The case that `out:cut:123` names. */
function parseCase(name: string): Case {
  const [direction, kind, at] = name.split(":");
  if (
    !DIRECTIONS.includes(direction as Case["direction"]) ||
    !KINDS.includes(kind as Case["kind"]) || !/^\d+$/.test(at)
  ) {
    throw new Error(`Cannot run ${name}: no such case`);
  }
  return { direction, kind, at: Number(at) } as Case;
}

/** Runs cases; prints those that fail. */
async function runAll(cases: Iterable<Case>): Promise<[number, number]> {
  const unhandled = watchUnhandled();
  let runs = 0;
  let failed = 0;
  for (const each of cases) {
    runs++;
    let fault: unknown;
    await runCase(each).catch((error) => fault = error ?? "nothing thrown");
    await turn();
    fault ??= unhandled[0];
    unhandled.length = 0;
    if (fault === undefined) continue;
    failed++;
    const { direction, kind, at } = each;
    // The first few tell enough.
    if (failed > 10) continue;
    console.log(`${direction}:${kind}:${at}: ${String(fault)}`);
  }
  return [runs, failed];
}

async function main(): Promise<void> {
  // Thousands of expected errors, each with a stack that nobody reads.
  Error.stackTraceLimit = 0;
  const { values } = parseArgs({
    options: {
      every: { type: "string", default: "1" },
      phase: { type: "string", default: "0" },
      part: { type: "string", default: "0/1" },
      only: { type: "string" },
    },
  });
  const began = performance.now();
  const lengths = await runScenario();
  const [part, parts] = values.part.split("/").map(Number);
  const { every, phase, only } = values;
  const cases = only !== undefined
    ? [parseCase(only)]
    : [...allCases(lengths, Number(every), Number(phase))]
      .filter((_, i) => i % parts === part);
  const [runs, failed] = await runAll(cases);
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ runs, failed, seconds, ...lengths }));
  process.exit(failed > 0 ? 1 : 0);
}

if (import.meta.main) await main();
