/**
 * Runs programs of `tests/` in parts, several at once, on one runtime after the
 * other.
 *
 * A part prints what failed, and as its last line JSON with at least `runs`
 * and `failed`.
 *
 * @module
 */

import { availableParallelism } from "node:os";
import { currentBin, type Runtime } from "./floors.ts";
import { run } from "./process.ts";
import type { Row } from "./table.ts";

/** The last line of output of a part. */
export interface PartReport {
  readonly runs: number;
  readonly failed: number;
  readonly [more: string]: unknown;
}

/** The results of all parts. */
export interface Parts extends Row {
  readonly reports: PartReport[];
}

/** How many parts run at once. */
export const PARTS: number = Math.min(4, Math.max(1, availableParallelism()));

const FLAGS: Record<Runtime, string[]> = {
  node: [],
  bun: [],
  deno: ["run", "-A", "--no-check"],
};

/** Runs the parts of `script` on a runtime. `argsOf` gives the arguments of each part. */
export async function runParts(
  runtime: Runtime,
  script: string,
  argsOf: (part: number) => string[],
  options: { parts?: number; timeout: number; cwd?: string; echo?: boolean },
): Promise<Parts> {
  const began = performance.now();
  const { parts = PARTS, ...rest } = options;
  const results = await Promise.all(Array.from({ length: parts }, (_, part) => {
    const args = [...FLAGS[runtime], script, ...argsOf(part)];
    return run(currentBin(runtime), args, rest);
  }));
  const reports: PartReport[] = [];
  let failed = 0;
  for (const result of results) {
    const report = parseReport(result.stdout);
    if (report !== undefined) reports.push(report);
    const fine = result.ok && report?.failed === 0;
    failed += fine ? 0 : Math.max(1, report?.failed ?? 0);
    if (!fine) console.log(`${result.output.trim()}\n${result.fault}`);
  }
  const runs = reports.reduce((sum, report) => sum + report.runs, 0);
  return {
    name: runtime,
    passed: Math.max(0, runs - failed),
    failed,
    seconds: (performance.now() - began) / 1000,
    reports,
  };
}

function parseReport(stdout: string): PartReport | undefined {
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  } catch {
    return undefined;
  }
}
