/**
 * The files of the page, made in memory: the script is bundled with esbuild, the
 * style sheet has that of uPlot before it.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, run } from "../../tools/process.ts";
import { ensureInstalled } from "../../tools/setup.ts";

/** A file of the page. */
export interface PageFile {
  readonly type: string;
  readonly body: string;
}

const DIR = join(ROOT, "bench", "web");

/** Loads the files by their paths on the server, and installs what they need before. */
export async function loadPage(): Promise<ReadonlyMap<string, PageFile>> {
  await ensureInstalled(DIR);
  const read = (...path: string[]) => readFile(join(DIR, ...path), "utf8");
  const [html, css, uplot, script] = await Promise.all([
    read("page", "index.html"),
    read("page", "style.css"),
    read("node_modules", "uplot", "dist", "uPlot.min.css"),
    bundle(join(DIR, "page", "main.ts")),
  ]);
  return new Map([
    ["/", { type: "text/html", body: html }],
    ["/style.css", { type: "text/css", body: uplot + css }],
    ["/page.js", { type: "text/javascript", body: script }],
  ]);
}

async function bundle(file: string): Promise<string> {
  const bin = join(ROOT, "node_modules", ".bin", "esbuild");
  const args = ["--bundle", "--format=esm", "--minify", "--log-level=error"];
  const result = await run(bin, [...args, file], { timeout: 60_000 });
  if (!result.ok) throw new Error(`Cannot bundle the page:\n${result.output}`);
  return result.stdout;
}
