/**
 * Runs the tests of `tests/browser` against a server process: in pages that
 * esbuild and Vite have bundled, and in workerd.
 *
 * @module
 */

import { join } from "node:path";
import { bundle, bundleOne, bundleWithVite } from "./bundle.ts";
import { type Browser, memoryOf, type Site } from "./chromium.ts";
import { type FileReport, runFiles } from "./pages.ts";
import type { ServerProcess } from "./servers.ts";
import { runWorker } from "./workerd.ts";

/** The script of the Web Worker of the tests, and the Worker of workerd. */
const WEB_WORKER = "tests/browser/page/port_worker";
const WORKERD = "tests/browser/workerd";

/** The tests that the Worker of workerd has in its bundle. */
export const WORKERD_TESTS = "tests/browser/calls_test.ts";

/** The folders of bundles, by bundler. */
const BUNDLERS = {
  esbuild: bundle,
  Vite: bundleWithVite,
};

/** How the tests run. */
export interface Settings {
  /** Milliseconds for one test. */
  readonly limit: number;
  /** Milliseconds for which a page is busy. */
  readonly pause: number;
}

/** Makes all bundles in `folder`. */
export async function bundleAll(
  files: string[],
  folder: string,
): Promise<void> {
  for (const [name, make] of Object.entries(BUNDLERS)) {
    await make([...files, `${WEB_WORKER}.ts`], join(folder, name));
  }
  await bundleOne(`${WORKERD}.ts`, join(folder, `${WORKERD}.js`));
}

/** Runs the files in pages, one after the other, as one of them restarts the server. */
export async function runPages(
  browser: Browser,
  files: string[],
  server: ServerProcess,
  site: Site,
  { limit, pause }: Settings,
): Promise<FileReport[]> {
  const reports: FileReport[] = [];
  for (const bundler of Object.keys(BUNDLERS)) {
    for (const file of files) {
      const foreign = file.includes("cross_site");
      const shown: string[] = [];
      const [report] = await runFiles(browser, [file], {
        limit,
        atOnce: 1,
        path: `/${bundler}`,
        // The server passes on what the site has, so that a page has its origin.
        origin: foreign ? site.otherOrigin : `http://${server.address}`,
        values: {
          serverUrl: foreign ? `ws://${server.address}/rpc` : "/rpc",
          openUrl: `ws://${server.address}/open`,
          workerUrl: `/${bundler}/${WEB_WORKER}.js`,
          pause,
        },
        functions: {
          restartServer: () => server.restart(),
          pageMemory: memoryOf,
          show: (_, text) => shown.push(text),
        },
      });
      for (const text of shown) console.log(`${bundler}: ${text}`);
      reports.push({ ...report!, file: `${bundler}: ${file}` });
    }
  }
  return reports;
}

/** Runs the tests of calls in workerd. */
export async function runWorkerd(
  folder: string,
  server: ServerProcess,
): Promise<FileReport> {
  const url = `ws://${server.address}/rpc`;
  const ended = await runWorker(folder, `${WORKERD}.js`, url);
  return { file: "workerd", ended };
}
