/**
 * Runs bundled test files in Chromium, each in a page of its own.
 *
 * What fails the run: a test, a file that does not load, an exception or a
 * rejection that nothing handles, and a page that hangs or crashes.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import type { Ended } from "../../tests/browser/page/testing.ts";
import { bundleOf, load, NODE_TEST } from "./bundle.ts";
import { ROOT } from "../process.ts";
import type { Browser, Page } from "./chromium.ts";

/** How the tests of one file ended. */
export interface FileReport {
  readonly file: string;
  readonly ended: Ended[];
}

/** How to run them. */
export interface PageOptions {
  /** The origin of the pages, which serves `/`. */
  readonly origin: string;
  /** The path of the bundles. */
  readonly path?: string;
  /** Milliseconds for one test. All of one file may take five times as long. */
  readonly limit: number;
  /** How many files run at once. */
  readonly atOnce: number;
  /** Values that the tests find as members of `globalThis`. */
  readonly values?: Record<string, unknown>;
  /** Functions that the tests find there. */
  readonly functions?: Record<string, (page: Page, text: string) => unknown>;
}

/** Runs each file, and reports it when it has ended. */
export async function runFiles(
  browser: Browser,
  files: string[],
  options: PageOptions,
): Promise<FileReport[]> {
  const waiting = [...files];
  const reports: FileReport[] = [];
  const worker = async () => {
    for (let file; (file = waiting.shift()) !== undefined;) {
      reports.push(await runFile(browser, file, options));
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, worker));
  return reports;
}

async function runFile(
  browser: Browser,
  file: string,
  options: PageOptions,
): Promise<FileReport> {
  const page = await browser.newPage();
  const ended: Ended[] = [];
  let name = "(while the file is loaded)";
  const fail = (what: string) =>
  (
    { message, stack = message }: Pick<Error, "message" | "stack">,
  ) => {
    ended.push({ name, state: "failed", fault: `${what}: ${stack}` });
  };
  page.on("pageerror", fail("not handled"));
  try {
    await page.exposeFunction("testBegan", (test) => void (name = test));
    await page.exposeFunction("testEnded", (json) => {
      ended.push(JSON.parse(json));
    });
    for (const [key, fn] of Object.entries(options.functions ?? {})) {
      await page.exposeFunction(key, (text) => fn(page, text));
    }
    await page.goto(`${options.origin}/`);
    await within(5 * options.limit, page, runIn(page, file, options));
  } catch (error) {
    fail("the page failed")({ message: (error as Error).message });
  } finally {
    await page.close();
  }
  return { file, ended };
}

function runIn(
  page: Page,
  file: string,
  { path = "", limit, values = {} }: PageOptions,
): Promise<void> {
  const [tests, runner] = [file, NODE_TEST].map((name) =>
    JSON.stringify(`${path}/${bundleOf(name)}`)
  );
  return page.evaluate(`(async () => {
    Object.assign(globalThis, ${JSON.stringify(values)});
    await import(${tests});
    const { run } = await import(${runner});
    await run(${limit});
  })()`);
}

/** Rejects if the page has no result in time, or crashes. */
async function within<T>(
  ms: number,
  page: Page,
  result: Promise<T>,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const lost = new Promise<never>((_, reject) => {
    const give = (what: string) => reject(new Error(what));
    timer = setTimeout(give, ms, `the page hangs: no result in ${ms / 1000} s`);
    page.on("crash", () => give("the page crashed"));
  });
  try {
    return await Promise.race([result, lost]);
  } finally {
    clearTimeout(timer);
  }
}

/** A position in a bundle. */
const POSITION = /https?:\/\/[^/\s]+\/(\S+\.js):(\d+):(\d+)/g;

/** A stack whose positions in bundles are replaced by those in the sources. */
export async function inSources(
  stack: string,
  folder: string,
): Promise<string> {
  const { TraceMap, originalPositionFor } = load("@jridgewell/trace-mapping");
  const maps = new Map<string, unknown>();
  for (const [, file] of stack.matchAll(POSITION)) {
    const text = await readFile(join(folder, `${file}.map`), "utf8").catch(() =>
      undefined
    );
    if (text !== undefined) maps.set(file!, new TraceMap(text));
  }
  return stack.replace(POSITION, (whole, file, line, column) => {
    const map = maps.get(file);
    if (map === undefined) return whole;
    const at = originalPositionFor(map, {
      line: Number(line),
      column: Number(column) - 1,
    });
    if (at.source === null) return whole;
    const source = resolve(folder, dirname(file), at.source);
    return `${relative(ROOT, source)}:${at.line}:${at.column + 1}`;
  });
}
