/**
 * Observable Plot, and a document for it to draw in: installed when first
 * needed, so that nobody else has to.
 *
 * @module
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "../../tools/process.ts";
import { ensureInstalled } from "../../tools/setup.ts";

/** Something to be drawn. */
export type Mark = unknown;

type MarkOf = (data: readonly unknown[], options?: object) => Mark;

/** What is used of Observable Plot. */
export interface PlotLibrary {
  plot(options: object): SvgElement;
  ruleY: MarkOf;
  line: MarkOf;
  dot: MarkOf;
  ruleX: MarkOf;
  barX: MarkOf;
  barY: MarkOf;
  text: MarkOf;
}

/** What is used of a drawing. */
export interface SvgElement {
  readonly outerHTML: string;
  setAttribute(name: string, value: string): void;
  insertAdjacentHTML(where: "afterbegin", html: string): void;
}

/** Plot, and the document it needs. */
export interface Canvas {
  readonly plot: PlotLibrary;
  readonly document: object;
}

const DIR = join(ROOT, "bench", "plot");

/** Loads them, after an installation if need be. */
export async function loadCanvas(): Promise<Canvas> {
  await ensureInstalled(DIR);
  const plot: PlotLibrary = await load("@observablehq/plot");
  const linkedom: { parseHTML(html: string): { document: object } } =
    await load("linkedom");
  const { document } = linkedom.parseHTML("<!doctype html><body></body>");
  return { plot, document };
}

/** Not by a plain import: the types of all else can be checked without these. */
async function load<T>(name: string): Promise<T> {
  const { resolve } = createRequire(join(DIR, "package.json"));
  return await import(pathToFileURL(resolve(name)).href);
}
