/**
 * Reads the rows to draw from lines of JSON that benchmarks printed.
 *
 * @module
 */

import type { Row } from "../e2e.ts";
import { median } from "../support/stats.ts";

/** The settings of a row. */
const SETTINGS = [
  "runtime",
  "transport",
  "depth",
  "payload",
  "rtt_ms",
] as const satisfies (keyof Row)[];

/** The results of a row. */
const MEASURED = [
  "calls_per_s",
  "mb_per_s",
  "p50_us",
  "p90_us",
  "p99_us",
  "p999_us",
] as const satisfies (keyof Row)[];

/** One point of a plot. */
export type Point = Pick<
  Row,
  typeof SETTINGS[number] | typeof MEASURED[number]
>;

/**
 * Reads rows of `bench:e2e`, and skips lines of other benchmarks. Rows with the same
 * settings become one, with their medians.
 *
 * @throws {SyntaxError} If a line is not JSON.
 */
export function readPoints(text: string): Point[] {
  const groups = new Map<string, Row[]>();
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const row: Row = JSON.parse(line);
    if (row.peer !== "sluice" || row.transport === undefined) continue;
    const key = SETTINGS.map((name) => row[name]).join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map(middle);
}

function middle(rows: readonly Row[]): Point {
  const point: Point = { ...rows[0] };
  const measured = MEASURED.map((name) => [
    name,
    median(rows.map((row) => row[name])),
  ]);
  return { ...point, ...Object.fromEntries(measured) };
}
