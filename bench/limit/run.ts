/**
 * Runs one limit: a server and a client, each in a process of its own.
 *
 * @module
 */

import { Child } from "../demo/child.ts";
import type { Runtime } from "../demo/runtimes.ts";
import type { ClientMessage, ClientOrder, LimitResult } from "./client.ts";
import { CHUNK } from "./frames.ts";
import type { ServerMessage } from "./server.ts";
import type { LimitStyle } from "./styles.ts";

/** What a limit took; one line of `--json`. */
export interface LimitRow {
  readonly peer: "limit";
  readonly style: LimitStyle;
  readonly runtime: Runtime;
  readonly calls: number;
  readonly seconds: number;
  readonly calls_per_s: number;
  readonly cpu_s: number;
  readonly rss_mb: number;
  /** Of `bulk` alone: bytes that came back, in 10^6 a second. */
  readonly mb_per_s?: number;
}

/** How much a limit does. */
export interface LimitSize {
  /** Calls of `raw` and `promise`; at most so many round trips and chunks. */
  readonly calls: number;
  /** Seconds of a ping-pong. */
  readonly seconds: number;
  /** Chunks of `bulk`. */
  readonly chunks: number;
}

/** As much as it takes for steady figures, and for any. */
export const FULL: LimitSize = { calls: 524_288, seconds: 3, chunks: 32_768 };
export const QUICK: LimitSize = { calls: 131_072, seconds: 1, chunks: 8_192 };

/** @throws {Error} If a reply was wrong, or anything else went wrong. */
export async function runLimit(
  style: LimitStyle,
  runtime: Runtime,
  size: LimitSize,
): Promise<LimitRow> {
  const server = new Child<ServerMessage>(runtime, "../limit/server.ts", style);
  try {
    let port = 0;
    await server.listen((told) => (port = told.port) > 0);
    const { calls, seconds, chunks } = size;
    const most = style === "bulk" ? Math.min(calls, chunks) : calls;
    const order = { style, port, calls: most, seconds };
    return toRow(style, runtime, await runClient(runtime, order));
  } finally {
    await server.stop();
  }
}

async function runClient(
  runtime: Runtime,
  order: ClientOrder,
): Promise<LimitResult> {
  const client = new Child<ClientMessage>(
    runtime,
    "../limit/client.ts",
    JSON.stringify(order),
  );
  try {
    let result: LimitResult | undefined;
    await client.listen((told) => {
      if ("fault" in told) throw new Error(`${order.style}: ${told.fault}`);
      result = told;
      return true;
    });
    return result!;
  } finally {
    await client.stop();
  }
}

function toRow(
  style: LimitStyle,
  runtime: Runtime,
  { calls, seconds, cpu, peak }: LimitResult,
): LimitRow {
  const row = {
    peer: "limit",
    style,
    runtime,
    calls,
    seconds: round(seconds, 4),
    calls_per_s: round(calls / seconds, 1),
    cpu_s: round(cpu, 4),
    rss_mb: round(peak, 1),
  } as const;
  if (style !== "bulk") return row;
  return { ...row, mb_per_s: round(calls * CHUNK / seconds / 1e6, 1) };
}

function round(n: number, digits: number): number {
  return Number(n.toFixed(digits));
}
