/**
 * Runs the tests on all three runtimes, one after the other, and prints one
 * table: `deno task test [--runtime NAME] [--floors] [FILE ...]`.
 *
 * @module
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { coverageArgs, coverageOf } from "./coverage.ts";
import {
  currentBin,
  floorBin,
  type Runtime,
  RUNTIMES,
  versionOf,
} from "./floors.ts";
import { ROOT, run, type RunResult, tool, usage } from "./process.ts";
import { type Row, table } from "./table.ts";
import { ensureInstalled } from "./setup.ts";

const USAGE = `Usage: deno task test [options] [FILE ...]

  FILE              run only test files whose path contains this
  --runtime NAME    run only on node, bun or deno (may be repeated)
  --floors          use the oldest supported versions
  --coverage        on Node also measure coverage of src/, with the thresholds
                    of the task coverage
  --interop         run the tests against other people's programs instead,
                    whose packages are installed when first asked for
  --limit SECONDS   for one test (60); all of them may take ten times that
  --help            print this`;

/** Seconds that one test may take. All tests of one runtime may take ten times as long. */
const TEST_LIMIT = "60";

/** How to start the tests on a runtime, and how to read its report. */
interface Harness {
  args(files: string[], limit: number, coverage: boolean): string[];
  passed: RegExp;
  failed: RegExp[];
  skipped: RegExp;
  /** Lines of passing tests, which are not shown when a run fails. */
  quiet: RegExp;
}

const DENO_REPORT = {
  passed: /^(?:ok|FAILED) \| (\d+) passed/m,
  failed: [/^(?:ok|FAILED) \|.* (\d+) failed/m],
  skipped: /^(?:ok|FAILED) \|.* (\d+) ignored/m,
  quiet: /\.\.\. (ok|ignored) \(|^running \d+ tests? from|^Check /,
};

/** How each runtime runs test files. */
export const HARNESS: Record<Runtime | "doc", Harness> = {
  node: {
    args: (files, limit, coverage) => [
      "--test",
      "--test-reporter=spec",
      // Two files at a time, where Node's default is one less than the number of cores.
      "--test-concurrency=2",
      `--test-timeout=${limit}`,
      ...(coverage ? coverageArgs() : []),
      ...files,
    ],
    passed: /^ℹ pass (\d+)/m,
    failed: [/^ℹ fail (\d+)/m, /^ℹ cancelled (\d+)/m],
    skipped: /^ℹ skipped (\d+)/m,
    quiet: /^\s*[✔▶﹣] /,
  },
  bun: {
    args: (files, limit) => [
      "test",
      `--timeout=${limit}`,
      ...files.map((file) => `./${file}`),
    ],
    passed: /^\s*(\d+) pass$/m,
    failed: [/^\s*(\d+) fail$/m, /^\s*(\d+) errors?$/m],
    skipped: /^\s*(\d+) skip$/m,
    quiet: /^\((pass|skip|todo)\) /,
  },
  deno: { args: (files) => ["test", "-A", ...files], ...DENO_REPORT },
  // Every example in doc comments of the public interface, and in the documents.
  doc: {
    args: () => [
      ...["test", "--doc", "-A", "README.md", "docs"],
      ...[
        "mod.ts",
        "client.ts",
        "jsonrpc.ts",
        "netrpc.ts",
        "testing.ts",
        "src",
      ],
    ],
    ...DENO_REPORT,
  },
};

/** A run that failed without a failed test (it did not load, hung, or ran no test) counts as one failure, and so does a skipped test where none may be skipped. */
function count(
  name: string,
  harness: Harness,
  result: RunResult,
  strict: boolean,
): Row {
  const sum = (pattern: RegExp) =>
    Number(pattern.exec(result.output)?.[1] ?? 0);
  const passed = sum(harness.passed);
  const patterns = [...harness.failed, ...(strict ? [harness.skipped] : [])];
  const failed = patterns.reduce((n, pattern) => n + sum(pattern), 0);
  const fine = result.ok && passed + failed > 0;
  return {
    name,
    passed,
    failed: fine ? failed : Math.max(1, failed),
    seconds: result.seconds,
  };
}

/** How a suite runs. */
export interface SuiteOptions {
  /** Milliseconds for one test. */
  readonly limit: number;
  /** Whether a skipped test counts as a failure. */
  readonly strict: boolean;
  /** Whether coverage is measured, and fails below its thresholds. */
  readonly coverage?: boolean;
}

/** Runs test files on a runtime. */
export async function suite(
  name: string,
  bin: string,
  harness: Harness,
  files: string[],
  { limit, strict, coverage = false }: SuiteOptions,
): Promise<Row> {
  process.stderr.write(`${name} ...\n`);
  const result = await run(bin, harness.args(files, limit, coverage), {
    timeout: 10 * limit,
  });
  const row = count(name, harness, result, strict);
  if (coverage) {
    console.log(coverageOf(result.output) ?? `${name}: printed no coverage`);
  }
  if (row.failed > 0) {
    const lines = result.output.split("\n");
    console.log(lines.filter((line) => !harness.quiet.test(line)).join("\n"));
    console.log(
      `${name}: ${result.fault || "no test was run, or one left out"}\n`,
    );
  }
  return row;
}

/** The folder of the tests against other people's programs, with their packages. */
const INTEROP = "tests/interop/";

/** The folder of the tests that run in a page only. */
const BROWSER = "tests/browser/";

/** The tests of every runtime, those against other people's programs, and those of pages. */
export type Suite = "common" | "interop" | "browser";

function suiteOf(file: string): Suite {
  if (file.startsWith(INTEROP)) return "interop";
  return file.startsWith(BROWSER) ? "browser" : "common";
}

/** The test files of a suite whose paths contain one of the filters; all if there is none. */
export async function testFiles(
  filters: string[],
  suite: Suite,
): Promise<string[]> {
  const found = await readdir(join(ROOT, "tests"), { recursive: true });
  const files = found.filter((file) =>
    file.endsWith("_test.ts") && !file.includes("node_modules")
  ).map((file) => join("tests", file).replaceAll("\\", "/"))
    .filter((file) => suiteOf(file) === suite).sort();
  if (filters.length === 0) return files;
  return files.filter((file) => filters.some((part) => file.includes(part)));
}

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        runtime: { type: "string", multiple: true },
        floors: { type: "boolean" },
        interop: { type: "boolean", default: false },
        coverage: { type: "boolean", default: false },
        limit: { type: "string", default: TEST_LIMIT },
        help: { type: "boolean" },
      },
    });
    const runtimes = values.runtime ?? RUNTIMES;
    const unknown = runtimes.find((r) => !RUNTIMES.includes(r as Runtime));
    if (unknown) throw new Error(`Cannot test: unknown runtime ${unknown}`);
    const limit = Number(values.limit) * 1000;
    if (!(limit > 0)) {
      throw new Error(
        `Cannot test: --limit ${values.limit} is not a number of seconds`,
      );
    }
    return {
      ...values,
      limit,
      runtimes: runtimes as Runtime[],
      filters: positionals,
    };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { help, floors, interop, limit, runtimes, filters, ...given } =
    options();
  if (help) return console.log(USAGE);
  if (interop) await ensureInstalled(join(ROOT, INTEROP));
  const files = await testFiles(filters, interop ? "interop" : "common");
  if (files.length === 0) usage("Cannot test: no file matches", USAGE);
  // In CI no test against other people's programs may be skipped.
  const strict = interop && process.env.CI !== undefined;
  const rows: Row[] = [];
  for (const runtime of runtimes) {
    const bin = floors ? await floorBin(runtime) : currentBin(runtime);
    const name = await versionOf(runtime, bin);
    const coverage = given.coverage && runtime === "node";
    const settings = { limit, strict, coverage };
    rows.push(await suite(name, bin, HARNESS[runtime], files, settings));
    if (runtime !== "deno" || floors || interop) continue;
    if (filters.length > 0) continue;
    rows.push(
      await suite(`${name} doc`, bin, HARNESS.doc, [], { limit, strict }),
    );
  }
  console.log(table(rows));
  if (rows.some((row) => row.failed > 0)) process.exit(1);
}

if (import.meta.main) await tool(main);
