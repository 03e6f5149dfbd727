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

const USAGE = `Usage: deno task coverage [options]

  --lines PERCENT       share of lines that must be covered (95)
  --branches PERCENT    share of branches that must be covered (90)
  --help                print this`;

function options() {
  try {
    return parseArgs({
      options: {
        lines: { type: "string", default: "95" },
        branches: { type: "string", default: "90" },
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

async function main(): Promise<void> {
  const { lines, branches, help } = options();
  if (help) return console.log(USAGE);
  const result = await run(currentBin("node"), [
    "--test",
    "--test-reporter=spec",
    "--test-concurrency=2",
    "--test-timeout=60000",
    "--experimental-test-coverage",
    "--test-coverage-include=src/**",
    `--test-coverage-lines=${lines}`,
    `--test-coverage-branches=${branches}`,
    "tests/**/*_test.ts",
  ], { timeout: 600_000 });
  console.log(report(result.output));
  const [, line, branch] = /^ℹ all files\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)/m
    .exec(result.output) ?? [];
  console.log(`src: ${line ?? "?"} % of lines, ${branch ?? "?"} % of branches`);
  if (result.ok && line !== undefined) return;
  for (
    const error of result.output.match(/^(ℹ Error:|ℹ fail [1-9]).*/gm) ?? []
  ) {
    console.error(error.slice(2));
  }
  process.exit(1);
}

if (import.meta.main) await tool(main);
