/**
 * Measures the physical limits with which the library is compared: what a runtime
 * can do over a loopback socket if it only moves bytes.
 *
 * - `raw`: frames that are encoded in advance, in chunks of 64 KiB. The server
 *   parses them and replies, the client parses and counts.
 * - `promise`: the same with one promise for each call, resolved through an array,
 *   and each reply is compared.
 * - `pingpong`: one byte there and back over the simplest socket.
 * - `webstreams`: the same over bare Web Streams.
 * - `bulk`: chunks of 64 KiB echoed through the simplest socket.
 * - `websocket`: messages of 64 KiB echoed over a bare WebSocket, 64 at a time.
 *
 * A slow limit would flatter the library, so a change here may only make a limit
 * faster.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { OWN, type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { FULL, QUICK, runLimit } from "./limit/run.ts";
import { LIMITS, type LimitStyle } from "./limit/styles.ts";
import type { Row } from "./rows.ts";

const STYLES = Object.keys(LIMITS) as LimitStyle[];

const USAGE = `Usage: deno task bench:limit [options]

Measures the limits of a runtime over loopback: ${STYLES.join(", ")}.

  --runtime NAME  ${RUNTIMES.join(", ")}, or all (${OWN})
  --only NAMES    only these limits, separated by commas
  --calls N       largest number of calls, round trips and chunks
  --quick         shorter ping-pongs, a quarter of the chunks
  --json          print one line of JSON for each limit, and nothing else
  --help          print this`;

interface Options {
  readonly runtimes: readonly Runtime[];
  readonly styles: readonly LimitStyle[];
  readonly calls: number;
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: OWN },
      only: { type: "string", default: STYLES.join(",") },
      calls: { type: "string", default: String(Number.MAX_SAFE_INTEGER) },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { quick, json, help } = values;
  return {
    runtimes: values.runtime === "all"
      ? RUNTIMES
      : [oneOf("runtime", values.runtime, RUNTIMES)],
    styles: values.only.split(",").map((name) => oneOf("only", name, STYLES)),
    calls: whole(values.calls),
    quick,
    json,
    help,
  };
}

function oneOf<T extends string>(
  option: string,
  text: string,
  names: readonly T[],
): T {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new Error(
    `Cannot use --${option}: expected ${names.join(", ")}, received "${text}"`,
  );
}

function whole(text: string): number {
  const n = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(n) && n >= 1) return n;
  throw new Error(
    `Cannot use --calls: expected a whole number from 1, received "${text}"`,
  );
}

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { runtimes, styles, calls, quick, json, help } = options();
  if (help) return console.log(USAGE);
  const size = quick ? QUICK : FULL;
  const most = { ...size, calls: Math.min(calls, size.calls) };
  if (!json) console.log(line(["limit", "runtime", ...HEAD]));
  for (const runtime of runtimes) {
    for (const style of styles) {
      const row = await runLimit(style, runtime, most);
      console.log(json ? JSON.stringify(row) : line(cells(row)));
    }
  }
}

const HEAD = ["calls", "calls/s", "CPU us/call", "peak MB", "MB/s"];

function cells(row: Row): string[] {
  return [
    row.style,
    row.runtime,
    grouped(row.calls),
    grouped(row.calls_per_s),
    (row.cpu_s / row.calls * 1e6).toFixed(2),
    row.rss_mb.toFixed(0),
    row.mb_per_s === undefined ? "" : grouped(row.mb_per_s),
  ];
}

function line([style, ...cells]: string[]): string {
  return style.padEnd(12) + cells.map((cell) => cell.padStart(12)).join("");
}

function grouped(n: number): string {
  return Math.round(n).toLocaleString("en-US");
}

if (import.meta.main) await tool(main);
