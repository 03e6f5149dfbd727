/**
 * Measures how long an urgent call takes beside large messages and beside a stream,
 * over loopback TCP: compared with an idle connection, and with a byte over a
 * second, plain socket beside the same load.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { Child } from "./demo/child.ts";
import { OWN, type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { measure } from "./support/program.ts";
import {
  type Load,
  LOADS,
  type Times,
  type UrgentOrder,
  type UrgentResult,
} from "./urgent/client.ts";
import type { UrgentListening } from "./urgent/server.ts";

const USAGE = `Usage: deno task bench:urgent [options]

Measures urgent calls beside 16 messages of 4 MiB and beside a stream. The goal:
the 99th percentile is at most 5 times that of an idle connection.

  --runtime NAME  ${RUNTIMES.join(", ")}, or all (${OWN})
  --quick         half a second of each, in place of 3
  --json          print one line of JSON for each load, and nothing else
  --help          print this`;

function options() {
  try {
    return parseArgs({
      options: {
        runtime: { type: "string", default: OWN },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Measures one load. */
async function runLoad(
  runtime: Runtime,
  load: Load,
  seconds: number,
): Promise<UrgentResult> {
  const server = new Child<UrgentListening>(runtime, "../urgent/server.ts", "");
  try {
    let ports: UrgentListening | undefined;
    await server.listen((message) => {
      ports = message;
      return true;
    });
    const file = import.meta.resolve("./urgent/client.ts");
    return await measure<UrgentOrder, UrgentResult>(runtime, file, {
      ...ports!,
      load,
      seconds,
    });
  } finally {
    await server.stop();
  }
}

async function main(): Promise<void> {
  const { runtime: name, quick, json, help } = options();
  if (help) return console.log(USAGE);
  const runtimes = name === "all"
    ? RUNTIMES
    : RUNTIMES.filter((each) => each === name);
  if (runtimes.length === 0) usage(`Cannot use --runtime: ${name}`, USAGE);
  if (!json) console.log(line(HEAD));
  for (const runtime of runtimes) {
    let idle: number | undefined;
    for (const load of LOADS) {
      const result = await runLoad(runtime, load, quick ? 0.5 : 3);
      idle ??= result.urgent.p99;
      const ratio = result.urgent.p99 / idle;
      const { urgent, byte, mb_per_s } = result;
      console.log(
        json ? JSON.stringify({ runtime, load, ...result, ratio }) : line([
          runtime,
          load,
          ...shown(urgent),
          `${ratio.toFixed(1)}x`,
          ...shown(byte),
          mb_per_s.toFixed(0),
        ]),
      );
    }
  }
}

const HEAD = [
  "runtime",
  "load",
  "p50 ms",
  "p99 ms",
  "of idle",
  "byte p50",
  "byte p99",
  "MB/s",
];

function shown({ p50, p99 }: Times): string[] {
  return [p50.toFixed(3), p99.toFixed(3)];
}

function line(cells: string[]): string {
  return cells.map((cell) => cell.padEnd(10)).join("").trimEnd();
}

if (import.meta.main) await tool(main);
