/**
 * Runs the scenario of `tests/support/scenario.ts` with a fault at every byte of
 * both directions. `tools/chaos.ts` runs it in parts; the last line of its output
 * is JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { turn } from "../support/clock.ts";
import type { Fault } from "../../src/testing/fault_line.ts";
import { runScenario } from "../support/scenario.ts";
import { watchUnhandled } from "../support/unhandled.ts";

/** The faults. Each happens at every offset; the bit that is garbled depends on the offset. */
export const KINDS = ["cut", "reset", "stall", "garble"] as const;
export const DIRECTIONS = ["out", "back"] as const;

/** The fault of one run; its name on a command line is like `out:cut:123`. */
export interface Case {
  readonly direction: (typeof DIRECTIONS)[number];
  readonly kind: (typeof KINDS)[number];
  readonly at: number;
}

/** Every case whose offset is `phase` modulo `every`, for a scenario of these lengths. */
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

/** Runs the scenario with one fault. Throws if anything is wrong afterwards. */
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

/** Runs cases until `enough` have failed, and prints the first ten that fail. */
async function runAll(
  cases: Iterable<Case>,
  enough: number,
): Promise<[number, number]> {
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
    // The first few are enough to see what is wrong.
    if (failed <= 10) {
      console.log(`${direction}:${kind}:${at}: ${String(fault)}`);
    }
    if (failed >= enough) break;
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
      enough: { type: "string", default: "Infinity" },
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
  const [runs, failed] = await runAll(cases, Number(values.enough));
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ runs, failed, seconds, ...lengths }));
  process.exit(failed > 0 ? 1 : 0);
}

if (import.meta.main) await main();
