/**
 * Runs bundled test files in Chromium: each in a page of its own, two at a time.
 *
 * What fails the run: a test, a file that does not load, an exception or a
 * rejection that nothing handles, and a page that hangs or crashes.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import type { Ended } from "../../tests/browser/page/node_test.ts";
import { bundleOf, load, NODE_TEST } from "./bundle.ts";
import { ROOT } from "../process.ts";
import type { Browser, Page, Site } from "./chromium.ts";

/** How the tests of one file ended. */
export interface FileReport {
  readonly file: string;
  readonly ended: Ended[];
  readonly seconds: number;
}

/** Files that run at once. */
const AT_ONCE = 2;

/** How to run them. */
export interface PageOptions {
  readonly site: Site;
  /** Milliseconds for one test. All of one file may take five times as long. */
  readonly limit: number;
  readonly report: (report: FileReport) => void;
}

/** Runs each file. */
export async function runFiles(
  browser: Browser,
  files: string[],
  options: PageOptions,
): Promise<void> {
  const waiting = [...files];
  const worker = async () => {
    for (let file; (file = waiting.shift()) !== undefined;) {
      options.report(await runFile(browser, file, options));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function runFile(
  browser: Browser,
  file: string,
  { site, limit }: PageOptions,
): Promise<FileReport> {
  const start = performance.now();
  const page = await browser.newPage();
  const ended: Ended[] = [];
  let name = "(while the file is loaded)";
  const fail = (what: string) => (error: Pick<Error, "message" | "stack">) => {
    const { message, stack = message } = error;
    ended.push({ name, state: "failed", fault: `${what}: ${stack}` });
  };
  page.on("pageerror", fail("not handled"));
  try {
    await page.exposeFunction("testBegan", (test) => void (name = test));
    await page.exposeFunction("testEnded", (json) => {
      ended.push(JSON.parse(json));
    });
    await page.goto(`${site.origin}/`);
    await within(5 * limit, page, runIn(page, file, limit));
  } catch (error) {
    fail("the page failed")({ message: (error as Error).message });
  } finally {
    await page.close();
  }
  const seconds = (performance.now() - start) / 1000;
  return { file, ended, seconds };
}

function runIn(page: Page, file: string, limit: number): Promise<void> {
  const paths = [file, NODE_TEST].map((path) =>
    JSON.stringify(`/${bundleOf(path)}`)
  );
  return page.evaluate<Promise<void>, void>(`(async () => {
    await import(${paths[0]});
    const { run } = await import(${paths[1]});
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
