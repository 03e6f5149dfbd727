/**
 * Observable Plot, and a document in which it can draw. Both are installed on first
 * use, so that other tasks do not need them.
 *
 * @module
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "../../tools/process.ts";
import { ensureInstalled } from "../../tools/setup.ts";

/** A part of a drawing. */
export type Mark = unknown;

type MarkOf = (data: readonly unknown[], options?: object) => Mark;

/** The part of Observable Plot that is used. */
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

/** The part of a drawing that is used. */
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

/** Loads them, and installs them before if necessary. */
export async function loadCanvas(): Promise<Canvas> {
  await ensureInstalled(DIR);
  const plot: PlotLibrary = await load("@observablehq/plot");
  const linkedom: { parseHTML(html: string): { document: object } } =
    await load("linkedom");
  const { document } = linkedom.parseHTML("<!doctype html><body></body>");
  return { plot, document };
}

/** Not a static import, so that everything else can be type-checked without these packages. */
async function load<T>(name: string): Promise<T> {
  const { resolve } = createRequire(join(DIR, "package.json"));
  return await import(pathToFileURL(resolve(name)).href);
}
