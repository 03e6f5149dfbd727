/**
 * Runs the tests of the browser, and prints one table: those that need nothing of
 * Node in Chromium, those of `tests/browser` from pages and workerd to servers on
 * each runtime, and those that drive the page of `demo:web`: `deno task test:browser [--list] [FILE ...]`.
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
import {
  type Browser,
  launch,
  serveFolder,
  type Site,
} from "./browser/chromium.ts";
import {
  bundleAll,
  runPages,
  runWorkerd,
  type Settings,
  WORKERD_TESTS,
} from "./browser/end_to_end.ts";
import { type FileReport, inSources, runFiles } from "./browser/pages.ts";
import { ServerProcess } from "./browser/servers.ts";
import { currentBin, RUNTIMES, versionOf } from "./floors.ts";
import { ROOT, tool, usage } from "./process.ts";
import { ensureInstalled } from "./setup.ts";
import { type Row, table } from "./table.ts";
import { HARNESS, suite, testFiles } from "./test.ts";

const USAGE = `Usage: deno task test:browser [options] [FILE ...]

  FILE              run only test files whose path contains this
  --list            print which files run in a page, and which module of Node
                    each of the others needs
  --limit SECONDS   for one test (60)
  --pause SECONDS   for which a page is busy while a server streams to it (2)
  --help            print this

CHROMIUM is the path of the browser (/usr/bin/chromium).`;

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        list: { type: "boolean", default: false },
        limit: { type: "string", default: "60" },
        pause: { type: "string", default: "2" },
        help: { type: "boolean", default: false },
      },
    });
    const limit = Number(values.limit) * 1000;
    if (!(limit > 0)) {
      throw new Error(
        `Cannot test: --limit ${values.limit} is not a number of seconds`,
      );
    }
    const pause = Number(values.pause) * 1000;
    if (!(pause > 0)) {
      throw new Error(
        `Cannot test: --pause ${values.pause} is not a number of seconds`,
      );
    }
    return { ...values, limit, pause, filters: positionals };
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

/** Makes a folder for `use`, with a web server for it, and removes both afterwards. */
async function withSite<T>(
  use: (folder: string, site: Site) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-browser-"));
  const site = await serveFolder(folder);
  try {
    return await use(folder, site);
  } finally {
    site.close();
    await rm(folder, { recursive: true });
  }
}

/** Prints the failures, and makes a row of the numbers. */
async function toRow(
  name: string,
  began: number,
  reports: FileReport[],
  folder: string,
): Promise<Row> {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const { file, ended } of reports) {
    for (const { name: test, state, fault = "" } of ended) {
      count[state]++;
      if (state !== "failed") continue;
      console.log(`${file}: ${test}\n${await inSources(fault, folder)}\n`);
    }
  }
  const seconds = (performance.now() - began) / 1000;
  return { name, passed: count.passed, failed: count.failed, seconds };
}

/** Runs the tests that need nothing of Node, two files at a time. */
function runPortable(
  browser: Browser,
  files: string[],
  limit: number,
): Promise<Row> {
  const name = `chromium ${browser.version()}`;
  process.stderr.write(`${name} ...\n`);
  const began = performance.now();
  return withSite(async (folder, { origin }) => {
    await bundle(files, folder);
    const options = { origin, limit, atOnce: 2 };
    const reports = await runFiles(browser, files, options);
    return await toRow(name, began, reports, folder);
  });
}

/** Runs the tests of `tests/browser` against a server on each runtime. */
function runEndToEnd(
  browser: Browser,
  files: string[],
  settings: Settings,
): Promise<Row[]> {
  return withSite(async (folder, site) => {
    process.stderr.write("bundling with esbuild and Vite ...\n");
    await bundleAll(files, folder);
    const rows: Row[] = [];
    for (const runtime of RUNTIMES) {
      const peer = await versionOf(runtime, currentBin(runtime));
      const row = async (
        from: string,
        run: () => Promise<FileReport[]>,
      ) => {
        const name = `${from} to ${peer}`;
        process.stderr.write(`${name} ...\n`);
        const began = performance.now();
        rows.push(await toRow(name, began, await run(), folder));
      };
      const server = new ServerProcess(runtime, site);
      await server.start();
      try {
        await row(
          "page",
          () => runPages(browser, files, server, site, settings),
        );
        if (files.includes(WORKERD_TESTS)) {
          const run = async () => [await runWorkerd(folder, server)];
          await row("workerd", run);
        }
      } finally {
        await server.stop();
      }
    }
    return rows;
  });
}

/** Tests that run on Node and drive a page that the project serves. */
const DRIVEN = "tests/browser/driven/";

async function main(): Promise<void> {
  const { help, list: listed, limit, pause, filters } = options();
  if (help) return console.log(USAGE);
  await ensureInstalled(join(ROOT, "tests", "browser"));
  const found = await portable(await testFiles(filters, "common"));
  if (listed) return list(found);
  const pages = await testFiles(filters, "browser");
  if (found.files.length + pages.length === 0) {
    usage("Cannot test: no file matches", USAGE);
  }
  const rows: Row[] = [];
  const driven = pages.filter((file) => file.startsWith(DRIVEN));
  const inPage = pages.filter((file) => !file.startsWith(DRIVEN));
  const browser = await launch();
  try {
    if (found.files.length > 0) {
      rows.push(await runPortable(browser, found.files, limit));
    }
    if (inPage.length > 0) {
      rows.push(...await runEndToEnd(browser, inPage, { limit, pause }));
    }
    if (driven.length > 0) {
      await ensureInstalled(join(ROOT, "bench", "web"));
      const settings = { limit, strict: true };
      const node = currentBin("node");
      rows.push(await suite("demo:web", node, HARNESS.node, driven, settings));
    }
  } finally {
    await browser.close();
  }
  console.log(table(rows));
  // A row without a test has failed, too.
  const fine = rows.every((row) => row.failed === 0 && row.passed > 0);
  if (!fine) process.exitCode = 1;
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
