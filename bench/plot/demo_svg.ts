/**
 * Draws the rows of `bench/demo.ts --json` as the picture in README:
 * `deno run -A bench/demo.ts --json | deno run -A bench/plot/demo_svg.ts > docs/demo.svg`.
 *
 * With the rows of several runs one after the other, the picture shows the median
 * of each style. Its colours follow the reader's light or dark mode.
 *
 * @module
 */

import { cpus, platform } from "node:os";
import process from "node:process";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { currentBin, type Runtime, versionOf } from "../../tools/floors.ts";
import { tool, usage } from "../../tools/process.ts";
import type { Row } from "../demo/report.ts";
import { median } from "../support/stats.ts";
import { type Canvas, loadCanvas } from "./library.ts";

const USAGE = `Usage: demo_svg.ts [options] < ROWS > FILE.svg

Draws the lines that bench/demo.ts --json printed, from standard input.

  --machine TEXT   the machine and runtime that were measured (these)
  --help           print this`;

/** The styles from top to bottom, and what each of them does. */
const STYLES: Record<Row["style"], string> = {
  sync: "wait for each reply",
  concurrent: "64 tasks, each waits",
  pipeline: "do not wait",
};

const WIDTH = 760;
const HEIGHT = 262;
const LEFT = 176;
const TOP = 76;

/** Every colour of the picture, in light and in dark mode. */
const THEME = `
  svg { color-scheme: light dark; }
  .card { fill: #ffffff; stroke: #d1d9e0; }
  .ink { fill: #1f2328; }
  .faint { fill: #59636e; }
  .rule { stroke: #818b98; }
  .bar { fill: #8c959f; }
  .best { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    .ink { fill: #f0f6fc; }
    .faint { fill: #9198a1; }
    .rule { stroke: #656c76; }
    .bar { fill: #656c76; }
    .best { fill: #4493f8; }
  }
`;

/** A bar of the picture. */
interface Bar {
  readonly style: Row["style"];
  readonly rate: number;
  /** The rate, and how many times the first style's it is. */
  readonly label: string;
}

function options() {
  try {
    return parseArgs({
      options: {
        machine: { type: "string" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/**
 * The median rate of each style, in the order in which the picture shows them.
 *
 * @throws {Error} If a style has no row.
 */
export function toBars(rows: readonly Row[]): Bar[] {
  let first = 0;
  return (Object.keys(STYLES) as Row["style"][]).map((style) => {
    const rates = rows.filter((row) => row.style === style)
      .map((row) => row.calls_per_s);
    if (rates.length === 0) throw new Error(`Cannot draw: no row of ${style}`);
    const rate = median(rates);
    first ||= rate;
    const times = rate / first;
    const factor = times < 10 ? times.toFixed(1) : times.toFixed(0);
    const text = Math.round(rate).toLocaleString("en-US");
    return { style, rate, label: times === 1 ? text : `${text}  (${factor}×)` };
  });
}

/** The picture, as SVG. */
export function draw(
  { plot, document }: Canvas,
  bars: readonly Bar[],
  machine: string,
): string {
  const of = (bar: Bar) => bar.style;
  const svg = plot.plot({
    ...{ document, width: WIDTH, height: HEIGHT },
    ...{ marginTop: TOP, marginLeft: LEFT, marginRight: 158, marginBottom: 18 },
    style: { fontFamily: "system-ui, sans-serif", fontSize: "14px" },
    x: { axis: null, domain: [0, Math.max(...bars.map(({ rate }) => rate))] },
    y: { axis: null, domain: Object.keys(STYLES), padding: 0.3 },
    marks: [
      plot.barX(bars.slice(0, -1), { x: "rate", y: of, className: "bar" }),
      plot.barX(bars.slice(-1), { x: "rate", y: of, className: "best" }),
      plot.ruleX([0], { className: "rule" }),
      plot.text(bars, {
        ...{ x: "rate", y: of, text: "label", dx: 8 },
        ...{ textAnchor: "start", fontWeight: "bold", className: "ink" },
      }),
      plot.text(bars, {
        ...{ x: 0, y: of, text: "style", dx: -LEFT + 20, dy: -9 },
        ...{ textAnchor: "start", fontWeight: "bold", className: "ink" },
      }),
      plot.text(bars, {
        ...{ x: 0, y: of, text: (bar: Bar) => STYLES[bar.style] },
        ...{ dx: -LEFT + 20, dy: 9, fontSize: 13 },
        ...{ textAnchor: "start", className: "faint" },
      }),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  svg.setAttribute(
    "aria-label",
    "Calls per second over one TCP connection: " +
      bars.map(({ style, label }) => `${style} ${label}`).join(", "),
  );
  svg.insertAdjacentHTML(
    "afterbegin",
    `<style>${THEME}</style>` +
      `<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" ` +
      `height="${HEIGHT - 1}" rx="6"></rect>` +
      heading(
        30,
        17,
        "bold",
        "ink",
        "Calls per second over one TCP connection",
      ) +
      heading(53, 12, "normal", "faint", machine),
  );
  return svg.outerHTML + "\n";
}

function heading(
  y: number,
  size: number,
  weight: string,
  className: string,
  text: string,
): string {
  const escaped = text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<text x="20" y="${y}" font-size="${size}" font-weight="${weight}" ` +
    `text-anchor="start" class="${className}">${escaped}</text>`;
}

/** This machine, the version of the runtime that was measured, and how often. */
async function thisMachine(rows: readonly Row[]): Promise<string> {
  const runtime = rows[0].runtime as Runtime;
  const version = await versionOf(runtime, currentBin(runtime));
  const runs = rows.filter((row) => row.style === rows[0].style).length;
  return `Client and server are two ${capital(version)} processes, ` +
    `on ${capital(platform())} ${process.arch} with ${cpus().length} cores, ` +
    `over loopback.${runs > 1 ? ` Median of ${runs} runs.` : ""}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function main(): Promise<void> {
  const { machine, help } = options();
  if (help) return console.log(USAGE);
  const lines = (await text(process.stdin)).split("\n");
  const rows: Row[] = lines.filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line));
  const bars = toBars(rows);
  const canvas = await loadCanvas();
  process.stdout.write(draw(canvas, bars, machine ?? await thisMachine(rows)));
}

if (import.meta.main) await tool(main);
