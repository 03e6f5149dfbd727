/**
 * Shows the progress of the demo, and its results.
 *
 * @module
 */

import process from "node:process";
import { CHAIN, type ChainName, type StyleName } from "./styles.ts";

/** The result of a style, which is one line of `--json`. */
export interface Row {
  readonly style: StyleName;
  readonly runtime: string;
  readonly calls: number;
  readonly seconds: number;
  readonly calls_per_s: number;
  readonly cpu_s: number;
  readonly rss_mb: number;
}

/** The result of a way to make chains, which is one line of `--json`, too. */
export interface ChainRow {
  readonly style: ChainName;
  readonly runtime: string;
  readonly chains: number;
  readonly seconds: number;
  readonly ms_per_chain: number;
}

const WIDTH = 40;

/** A progress line on a terminal; prints nothing elsewhere. */
export class Bar {
  readonly #style: string;
  readonly #calls: number;
  readonly #began: number = performance.now();
  /** Milliseconds after which the style stops. */
  readonly #limit: number;

  constructor(style: string, calls: number, limit: number) {
    this.#style = style;
    this.#calls = calls;
    this.#limit = limit;
    this.show(0);
  }

  show(done: number): void {
    if (!process.stderr.isTTY) return;
    const time = (performance.now() - this.#began) / this.#limit;
    const share = Math.min(1, Math.max(done / this.#calls, time));
    const bar = "#".repeat(share * WIDTH).padEnd(WIDTH, ".");
    const text = `${this.#style.padEnd(10)} ${bar} ${grouped(done)} calls`;
    process.stderr.write(`\r${text}\x1b[K`);
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}

/** The table of all results. */
export function table(rows: readonly Row[]): string {
  const head = "style,calls,seconds,calls/s,CPU s,peak MB,to sync".split(",");
  const lines = rows.map((row) => [
    row.style,
    grouped(row.calls),
    row.seconds.toFixed(2),
    grouped(row.calls_per_s),
    row.cpu_s.toFixed(2),
    row.rss_mb.toFixed(0),
    ratio(row, rows[0]),
  ]);
  return [head, ...lines].map(([style, ...cells]) =>
    style.padEnd(12) + cells.map((cell) => cell.padStart(11)).join("")
  ).join("\n");
}

/** The sentence below the table. */
export function conclusion(rows: readonly Row[], tasks: number): string {
  const [sync, concurrent, pipeline] = rows;
  const count = Math.min(tasks, concurrent.calls);
  const many = count === 1 ? "one task that waits" : `${count} tasks that wait`;
  const cost = (row: Row) => `${(row.cpu_s / row.calls * 1e6).toFixed(1)} us`;
  return `One loop that never waits for a reply made ` +
    `${grouped(pipeline.calls_per_s)} calls per second, ` +
    `${ratio(pipeline, sync)} the rate of waiting for each and ` +
    `${ratio(pipeline, concurrent)} that of ${many}; a call cost the client ` +
    `${cost(pipeline)} of CPU, against ${cost(sync)} and ${cost(concurrent)}.`;
}

/** The sentence about chains. */
export function chainConclusion(
  rows: readonly ChainRow[],
  rtt: number,
): string {
  const [awaited, dependent] = rows.map((row) => row.ms_per_chain.toFixed(1));
  return `A chain of ${CHAIN} calls, each of which needs the result of the one ` +
    `before, took ${dependent} ms with ref(), and ${awaited} ms with await ` +
    `(${rtt} ms of network).`;
}

/** How many times faster one style was than another. */
function ratio(row: Row, other: Row): string {
  const times = (row.calls / row.seconds) / (other.calls / other.seconds);
  return `${times < 10 ? times.toFixed(1) : grouped(times)} x`;
}

function grouped(n: number): string {
  return Math.round(n).toLocaleString("en-US");
}
