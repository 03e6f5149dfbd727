/**
 * Runs one limit: a server and a client, each in a process of its own.
 *
 * @module
 */

import { Child } from "../demo/child.ts";
import type { Runtime } from "../demo/runtimes.ts";
import { type Listening, runPair } from "../pair.ts";
import { type ResultOrFault, type Row, toRow } from "../rows.ts";
import type { ClientOrder } from "./client.ts";
import type { LimitStyle } from "./styles.ts";

/** The amount of work of a limit. */
export interface LimitSize {
  /** Calls of `raw` and `promise`, and the largest number of round trips and chunks. */
  readonly calls: number;
  /** Seconds of a ping-pong. */
  readonly seconds: number;
  /** Chunks of `bulk` and `websocket`. */
  readonly chunks: number;
}

/** The full amount, which gives steady figures, and a quick one. */
export const FULL: LimitSize = { calls: 524_288, seconds: 3, chunks: 32_768 };
export const QUICK: LimitSize = { calls: 524_288, seconds: 1, chunks: 8_192 };

/**
 * Runs a limit.
 *
 * @throws {Error} If a reply was wrong, or anything else went wrong.
 */
export async function runLimit(
  style: LimitStyle,
  runtime: Runtime,
  { calls, seconds, chunks }: LimitSize,
): Promise<Row> {
  const echoes = style === "bulk" || style === "websocket";
  const most = echoes ? Math.min(calls, chunks) : calls;
  const result = await runPair(
    () => new Child<Listening>(runtime, "../limit/server.ts", style),
    ({ port }) => {
      const order: ClientOrder = { style, port, calls: most, seconds };
      const text = JSON.stringify(order);
      return new Child<ResultOrFault>(runtime, "../limit/client.ts", text);
    },
  );
  return toRow("limit", style, runtime, result);
}
