/**
 * Measures rate and latency between two processes, by runtime, transport, calls
 * in flight, payload size and added network latency.
 *
 * @module
 */

import { tool, usage } from "../tools/process.ts";
import { Child } from "./demo/child.ts";
import type { Runtime } from "./demo/runtimes.ts";
import type { ClientOrder, ClientResult } from "./e2e/client.ts";
import {
  type Depth,
  type Options,
  readOptions,
  type Transport,
  USAGE,
} from "./e2e/options.ts";
import type { ServerAddress } from "./e2e/server.ts";
import { measure } from "./support/program.ts";
import { round, short, table } from "./support/table.ts";

/** Largest number of bytes that a client queues: calls in flight times their size. */
const MOST_QUEUED = 128 << 20;

/** One measurement, which is one line of `--json`. */
export interface Row {
  readonly peer: "sluice";
  readonly style: "sync" | "concurrent" | "pipeline";
  readonly runtime: Runtime;
  readonly calls: number;
  readonly seconds: number;
  readonly calls_per_s: number;
  readonly cpu_s: number;
  readonly rss_mb: number;
  readonly transport: Transport;
  readonly depth: Depth;
  readonly payload: number;
  readonly rtt_ms: number;
  readonly mb_per_s: number;
  readonly p50_us: number;
  readonly p90_us: number;
  readonly p99_us: number;
  readonly p999_us: number;
}

/** The settings of a row. */
type Setting = Pick<ClientOrder, "transport" | "depth" | "payload" | "rtt">;

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** The rows of one transport that the options ask for and that fit the bound above. */
function settings(transport: Transport, chosen: Options): Setting[] {
  const all = chosen.rtts.flatMap((rtt) =>
    chosen.payloads.flatMap((payload) =>
      chosen.depths.map((depth) => ({ transport, rtt, payload, depth }))
    )
  );
  return all.filter(({ depth, payload }) =>
    depth === "unlimited" || depth * payload <= MOST_QUEUED
  );
}

/** Runs `use` with a server process, if the transport needs one. */
export async function withServer(
  runtime: Runtime,
  transport: Transport,
  use: (server: ServerAddress | undefined) => Promise<void>,
): Promise<void> {
  if (transport === "memory" || transport === "stdio") {
    return await use(undefined);
  }
  const file = import.meta.resolve("./e2e/server.ts");
  const server = new Child<ServerAddress>(runtime, file, transport);
  try {
    let address: ServerAddress;
    await server.listen((message) => (address = message) !== undefined);
    await use(address!);
  } finally {
    await server.stop();
  }
}

function toRow(runtime: Runtime, setting: Setting, got: ClientResult): Row {
  const { transport, depth, payload, rtt } = setting;
  const rate = got.calls / got.seconds;
  return {
    peer: "sluice",
    style: styleOf(depth),
    ...{ runtime, calls: got.calls, seconds: round(got.seconds, 4) },
    ...{ calls_per_s: round(rate, 1), cpu_s: round(got.cpu, 4) },
    ...{ rss_mb: round(got.peak, 1), transport, depth, payload, rtt_ms: rtt },
    mb_per_s: round(rate * payload / 1e6, 2),
    ...{ p50_us: round(got.p50, 1), p90_us: round(got.p90, 1) },
    ...{ p99_us: round(got.p99, 1), p999_us: round(got.p999, 1) },
  };
}

function styleOf(depth: Depth): Row["style"] {
  if (depth === "unlimited") return "pipeline";
  return depth === 1 ? "sync" : "concurrent";
}

/** A row's cells, by the title of their column. */
function toCells(row: Row): Record<string, string> {
  return {
    "runtime": row.runtime,
    "transport": row.transport,
    "depth": String(row.depth),
    "bytes": row.payload.toLocaleString("en-US"),
    "rtt ms": String(row.rtt_ms),
    "calls/s": short(row.calls_per_s),
    "MB/s": short(row.mb_per_s),
    "p50 us": short(row.p50_us),
    "p90 us": short(row.p90_us),
    "p99 us": short(row.p99_us),
    "p99.9 us": short(row.p999_us),
    "CPU us": short(row.cpu_s / row.calls * 1e6),
    "peak MB": short(row.rss_mb),
  };
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen.help) return console.log(USAGE);
  const file = import.meta.resolve("./e2e/client.ts");
  const rows: Row[] = [];
  for (const runtime of chosen.runtimes) {
    for (const transport of chosen.transports) {
      await withServer(runtime, transport, async (server) => {
        for (const setting of settings(transport, chosen)) {
          const order = { ...setting, server, seconds: chosen.seconds };
          const row = toRow(
            runtime,
            setting,
            await measure<ClientOrder, ClientResult>(runtime, file, order),
          );
          if (chosen.json) console.log(JSON.stringify(row));
          rows.push(row);
        }
      });
      if (!chosen.json) console.error(`${transport} on ${runtime}: done`);
    }
  }
  if (chosen.json || rows.length === 0) return;
  const cells = rows.map(toCells);
  console.log(table(Object.keys(cells[0]), cells.map(Object.values)));
}

if (import.meta.main) await tool(main);
