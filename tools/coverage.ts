/**
 * Measures line and branch coverage of `src/` on Node, and fails below the
 * thresholds: `deno task coverage [--lines PERCENT] [--branches PERCENT]`.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { currentBin } from "./floors.ts";
import { run, tool, usage } from "./process.ts";

/** Shares of lines and of branches of `src/` that must be covered, in percent. */
const THRESHOLDS = { lines: "95", branches: "90" };

const USAGE = `Usage: deno task coverage [options]

  --lines PERCENT       share of lines that must be covered (${THRESHOLDS.lines})
  --branches PERCENT    share of branches that must be covered (${THRESHOLDS.branches})
  --help                print this`;

function options() {
  try {
    return parseArgs({
      options: {
        lines: { type: "string", default: THRESHOLDS.lines },
        branches: { type: "string", default: THRESHOLDS.branches },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** The table of Node's report, without its line markers. */
function report(output: string): string {
  const lines = output.split("\n").map((line) => line.replace(/^ℹ /, ""));
  const first = lines.findIndex((line) => line.includes("start of coverage"));
  const last = lines.findIndex((line) => line.includes("end of coverage"));
  return first < 0 ? output : lines.slice(first + 1, last).join("\n");
}

/** The arguments with which Node's test runner measures coverage, and fails below the thresholds. */
export function coverageArgs({ lines, branches } = THRESHOLDS): string[] {
  return [
    "--experimental-test-coverage",
    "--test-coverage-include=src/**",
    `--test-coverage-lines=${lines}`,
    `--test-coverage-branches=${branches}`,
  ];
}

/** The covered shares in the output of Node's test runner, as one line; undefined if it has none. */
export function coverageOf(output: string): string | undefined {
  const [, lines, branches] = /^ℹ all files\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)/m
    .exec(output) ?? [];
  if (lines === undefined) return undefined;
  return `src: ${lines} % of lines, ${branches} % of branches`;
}

async function main(): Promise<void> {
  const { lines, branches, help } = options();
  if (help) return console.log(USAGE);
  const result = await run(currentBin("node"), [
    "--test",
    "--test-reporter=spec",
    "--test-concurrency=2",
    "--test-timeout=60000",
    ...coverageArgs({ lines, branches }),
    "tests/**/*_test.ts",
  ], { timeout: 600_000 });
  console.log(report(result.output));
  const summary = coverageOf(result.output);
  console.log(summary ?? "src: the run printed no coverage");
  if (result.ok && summary !== undefined) return;
  for (
    const error of result.output.match(/^(ℹ Error:|ℹ fail [1-9]).*/gm) ?? []
  ) {
    console.error(error.slice(2));
  }
  process.exit(1);
}

if (import.meta.main) await tool(main);
