/**
 * The results as Markdown tables, which can also be read on a terminal.
 *
 * @module
 */

import { RUNTIMES } from "../demo/runtimes.ts";
import type { Median, Medians, Target } from "./medians.ts";

/** One line about each style. */
const STYLES: Record<string, string> = {
  pipeline: "Pipeline: one loop that does not wait for replies",
  concurrent: "Concurrent: 64 tasks that each wait",
  sync: "Sync: one loop that waits for each reply",
};

const LIMITS: Record<string, string> = {
  raw: "(a) frames parsed and counted, no promises",
  promise: "(b) the same with one promise a call",
  pingpong: "(c) one byte forth and back",
  webstreams: "(c2) the same over bare Web Streams",
  bulk: "(d) 64 KiB chunks echoed, MB/s",
};

/** The whole report in Markdown, with headings of the given level. */
export function report(medians: Medians): string {
  return [
    ...Object.keys(STYLES).map((style) => styleSection(medians, style)),
    bulkSection(medians),
    limitSection(medians),
    targetSection(medians),
    winsSection(medians),
  ].filter((text) => text !== "").join("\n\n");
}

function styleSection(medians: Medians, style: string): string {
  const rows = medians.style(style).filter(({ peer }) => peer !== "limit");
  if (rows.length === 0) return "";
  const go = medians.get("go", style, "go");
  const lines = rows.map((row) => [
    row.peer,
    row.runtime,
    grouped(row.calls),
    grouped(row.calls_per_s),
    `${grouped(row.span[0])} - ${grouped(row.span[1])}`,
    go === undefined ? "" : times(row.calls_per_s / go.calls_per_s),
    row.cpu_us.toFixed(2),
    row.rss_mb.toFixed(0),
  ]);
  const head =
    "peer,on,calls,calls/s,lowest - highest,over Go,CPU us/call,peak MB";
  return `### ${STYLES[style]}\n\n${table(head.split(","), lines, 2)}`;
}

function bulkSection(medians: Medians): string {
  const rows = medians.style("bulk").filter(({ peer }) => peer === "sluice");
  if (rows.length === 0) return "";
  const lines = rows.map((row) => [
    row.peer,
    row.runtime,
    grouped(row.calls),
    grouped(row.mb_per_s!),
    row.cpu_us.toFixed(2),
    row.rss_mb.toFixed(0),
  ]);
  const head = "peer,on,calls,MB/s,CPU us/call,peak MB".split(",");
  const title = "Bulk: payloads of 64 KiB, echoed";
  return `### ${title}\n\n${table(head, lines, 2)}`;
}

function limitSection(medians: Medians): string {
  const lines = Object.keys(LIMITS).map((style) => [
    LIMITS[style],
    ...RUNTIMES.map((runtime) => {
      const row = medians.get("limit", style, runtime);
      return row === undefined
        ? ""
        : grouped(style === "bulk" ? row.mb_per_s! : row.calls_per_s);
    }),
  ]);
  if (lines.every(([, ...cells]) => cells.every((cell) => cell === ""))) {
    return "";
  }
  return `### Limits, a second\n\n${table(["", ...RUNTIMES], lines, 1)}` +
    `\n\n${limitNote(medians)}`;
}

function limitNote(medians: Medians): string {
  const raw = medians.overGo("raw");
  const promise = medians.overGo("promise");
  if (raw === undefined || promise === undefined) {
    return "Go's pipeline was not measured, so it is unknown whether the limits are fast enough: no share of them is given.";
  }
  const said = `On Node (a) is ${times(raw)} and (b) ${
    times(promise)
  } Go's pipeline`;
  return medians.limitsHold
    ? `${said}: at least 40 and 14, so a share of a limit does not flatter.`
    : `${said}: less than 40 or 14, so no share of a limit is given.`;
}

function targetSection(medians: Medians): string {
  const targets = medians.targets()
    .filter(({ values }) => values.some((value) => value !== undefined));
  if (targets.length === 0) return "";
  const lines = targets.map((target) => [
    target.what,
    target.goal,
    ...RUNTIMES.map((_, i) => metOrMissed(target, i)),
  ]);
  return `### Ratios of medians\n\n${
    table(["", "goal", ...RUNTIMES], lines, 2)
  }\n\nIn brackets: the goal is missed.`;
}

function metOrMissed({ values, met }: Target, i: number): string {
  const value = values[i];
  if (value === undefined) return "";
  const text = value < 1 ? value.toFixed(2) : value.toFixed(1);
  return met[i] ? text : `(${text})`;
}

/** Lists where a peer is better than the library on any runtime, by three measures. */
const MEASURES: [string, (row: Median) => number, (row: Median) => string][] = [
  [
    "calls/s",
    (row) => row.calls_per_s,
    (row) => grouped(row.calls_per_s),
  ],
  [
    "CPU us/call",
    (row) => -row.cpu_us,
    (row) => row.cpu_us.toFixed(2),
  ],
  ["peak MB", (row) => -row.rss_mb, (row) => row.rss_mb.toFixed(0)],
];

function winsSection(medians: Medians): string {
  const lines: string[][] = [];
  for (const style of Object.keys(STYLES)) {
    const rows = medians.style(style);
    const own = rows.filter(({ peer }) => peer === "sluice");
    const peers = rows.filter(({ peer }) =>
      !peer.includes("sluice") && peer !== "limit"
    );
    if (own.length === 0 || peers.length === 0) continue;
    for (const [name, value, print] of MEASURES) {
      for (const peer of peers) {
        const beaten = own.filter((row) => value(row) < value(peer))
          .map((row) => `${row.runtime} ${print(row)}`);
        if (beaten.length === 0) continue;
        lines.push([style, name, `${peer.peer} ${print(peer)}`]);
        lines.at(-1)!.push(beaten.join(", "));
      }
    }
  }
  const title = "### Where a peer is ahead";
  if (lines.length === 0) return "";
  const head = ["style", "measure", "peer", "Sluice on"];
  return `${title}\n\n${table(head, lines, 4)}`;
}

/** A table whose first `left` columns are aligned to the left. */
function table(head: string[], lines: string[][], left: number): string {
  const all = [head, ...lines];
  const widths = head.map((_, i) =>
    Math.max(3, ...all.map((cells) => cells[i].length))
  );
  const draw = (cells: string[]) =>
    `| ${
      cells.map((cell, i) =>
        i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])
      ).join(" | ")
    } |`;
  const rule = widths.map((width, i) =>
    i < left ? "-".repeat(width) : "-".repeat(width - 1) + ":"
  );
  return [draw(head), draw(rule), ...lines.map(draw)].join("\n");
}

function times(ratio: number): string {
  return ratio < 10 ? `${ratio.toFixed(1)} x` : `${grouped(ratio)} x`;
}

function grouped(n: number): string {
  return Math.round(n).toLocaleString("en-US");
}
