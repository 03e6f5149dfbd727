/**
 * Runs the tests that need nothing of Node in Chromium, and prints one table:
 * `deno task test:browser [--list] [FILE ...]`.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  bundle,
  type Portable,
  portable,
  stopBundler,
} from "./browser/bundle.ts";
import { type Browser, launch, serveFolder } from "./browser/chromium.ts";
import { type FileReport, inSources, runFiles } from "./browser/pages.ts";
import { ROOT, tool, usage } from "./process.ts";
import { ensureInstalled } from "./setup.ts";
import { type Row, table } from "./table.ts";
import { testFiles } from "./test.ts";

const USAGE = `Usage: deno task test:browser [options] [FILE ...]

  FILE              run only test files whose path contains this
  --list            print which files run in a page, and which module of Node
                    each of the others needs
  --limit SECONDS   for one test (60)
  --help            print this

CHROMIUM is the path of the browser (/usr/bin/chromium).`;

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        list: { type: "boolean", default: false },
        limit: { type: "string", default: "60" },
        help: { type: "boolean", default: false },
      },
    });
    const limit = Number(values.limit) * 1000;
    if (!(limit > 0)) {
      throw new Error(
        `Cannot test: --limit ${values.limit} is not a number of seconds`,
      );
    }
    return { ...values, limit, filters: positionals };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Prints which files run, and why the others do not. */
function list({ files, leftOut }: Portable): void {
  for (const file of files) console.log(file);
  console.log(
    `${files.length} files run in a page; ${leftOut.length} are left out:`,
  );
  for (const { file, needs, by } of leftOut) {
    console.log(`${file}: ${by === file ? "" : `${by} `}needs ${needs}`);
  }
}

/** Prints the failures of a file. */
async function printFailures({ file, ended }: FileReport, folder: string) {
  for (const { name, state, fault = "" } of ended) {
    if (state !== "failed") continue;
    console.log(`${file}: ${name}\n${await inSources(fault, folder)}\n`);
  }
}

async function runPortable(
  browser: Browser,
  files: string[],
  limit: number,
): Promise<Row> {
  const name = `chromium ${browser.version()}`;
  process.stderr.write(`${name} ...\n`);
  const began = performance.now();
  const folder = await mkdtemp(join(tmpdir(), "sluice-browser-"));
  const reports: FileReport[] = [];
  try {
    await bundle(files, folder);
    const site = await serveFolder(folder);
    const report = (one: FileReport) => void reports.push(one);
    await runFiles(browser, files, { site, limit, report });
    site.close();
    for (const one of reports) await printFailures(one, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
  const ended = reports.flatMap((one) => one.ended);
  const count = (state: string) =>
    ended.filter((one) => one.state === state).length;
  const seconds = (performance.now() - began) / 1000;
  return { name, passed: count("passed"), failed: count("failed"), seconds };
}

async function main(): Promise<void> {
  const { help, list: listed, limit, filters } = options();
  if (help) return console.log(USAGE);
  await ensureInstalled(join(ROOT, "tests", "browser"));
  const found = await portable(await testFiles(filters, false));
  if (listed) return list(found);
  if (found.files.length === 0) usage("Cannot test: no file matches", USAGE);
  const browser = await launch();
  try {
    const row = await runPortable(browser, found.files, limit);
    console.log(table([row]));
    // A run of no test has failed, too.
    if (row.failed > 0 || row.passed === 0) process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

if (import.meta.main) {
  await tool(async () => {
    try {
      await main();
    } finally {
      await stopBundler();
    }
  });
}
