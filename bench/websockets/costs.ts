/**
 * The costs of WebSockets, and their targets.
 *
 * @module
 */

import type { Runtime } from "../demo/runtimes.ts";
import { withServer } from "../e2e.ts";
import type { ClientOrder, ClientResult } from "../e2e/client.ts";
import type { Depth, Transport } from "../e2e/options.ts";
import type { ServerAddress } from "../e2e/server.ts";
import { runLimit } from "../limit/run.ts";
import { IN_FLIGHT } from "../limit/styles.ts";
import { CHUNK } from "../rows.ts";
import type { Cost, Finding } from "../support/findings.ts";
import { measure } from "../support/program.ts";
import type { EchoOrder, EchoResult } from "./echo.ts";
import { median } from "../support/stats.ts";
import { short } from "../support/table.ts";

/** Servers of both transports, in processes of their own. */
type Servers = Partial<Record<Transport, ServerAddress>>;

function withServers(
  runtime: Runtime,
  use: (servers: Servers) => Promise<void>,
): Promise<void> {
  return withServer(
    runtime,
    "tcp",
    (tcp) => withServer(runtime, "ws", (ws) => use({ tcp, ws })),
  );
}

/** Calls a second of one new client. */
async function rate(
  runtime: Runtime,
  order: Omit<ClientOrder, "rtt">,
): Promise<number> {
  const { calls, seconds } = await measure<ClientOrder, ClientResult>(
    runtime,
    import.meta.resolve("../e2e/client.ts"),
    { ...order, rtt: 0 },
  );
  return calls / seconds;
}

/** Runs all of them once a round, and returns the median of each. */
async function inTurns<Name extends string>(
  rounds: number,
  all: Record<Name, () => Promise<number>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(all) as Name[];
  const seen = names.map((): number[] => []);
  for (let i = 0; i < rounds; i++) {
    for (const [j, name] of names.entries()) seen[j].push(await all[name]());
  }
  const medians = names.map((name, j) => [name, median(seen[j])]);
  return Object.fromEntries(medians) as Record<Name, number>;
}

/** Rounds of which the medians are taken. */
const ROUNDS = 5;

/** Bytes of a small call. */
const SMALL = 16;

const STYLES: readonly [string, Depth, number | undefined][] = [
  ["pipeline", "unlimited", 0.7],
  ["64 at a time", 64, undefined],
  ["sync", 1, undefined],
];

const calls: Cost = async (runtime, quick) => {
  const found: Finding[] = [];
  const seconds = quick ? 0.05 : 1;
  await withServers(runtime, async (servers) => {
    for (const [style, depth, least] of STYLES) {
      const over = (transport: "tcp" | "ws") => () =>
        rate(runtime, {
          ...{ transport, server: servers[transport] },
          ...{ depth, payload: SMALL, seconds },
        });
      const all = { tcp: over("tcp"), ws: over("ws") };
      const { tcp, ws } = await inTurns(quick ? 1 : ROUNDS, all);
      found.push({
        what: `${style}, calls of ${SMALL} bytes, compared with TCP`,
        calls: Math.round(ws * seconds),
        value: ws / tcp,
        unit: "x",
        least,
        note: `${short(ws)} and ${short(tcp)} calls/s`,
      });
    }
  });
  return found;
};

const bulk: Cost = async (runtime, quick) => {
  const calls = quick ? 256 : 4096;
  const found: Finding[] = [];
  await withServers(runtime, async (servers) => {
    const over = (transport: "tcp" | "ws") => async () => {
      const { seconds } = await measure<EchoOrder, EchoResult>(
        runtime,
        import.meta.resolve("./echo.ts"),
        { url: servers[transport]!.url, calls },
      );
      return calls * CHUNK / seconds / 1e6;
    };
    const bare = async () => {
      const size = { calls, seconds: 0, chunks: calls };
      return (await runLimit("websocket", runtime, size)).mb_per_s!;
    };
    const all = { bare, ws: over("ws"), tcp: over("tcp") };
    const { bare: limit, ws, tcp } = await inTurns(quick ? 1 : ROUNDS, all);
    const what = `echo of 64 KiB, ${IN_FLIGHT} at a time, compared with`;
    found.push({
      what: `${what} a bare WebSocket`,
      calls,
      value: ws / limit,
      unit: "x",
      least: 0.5,
      note: `${short(ws)} and ${short(limit)} MB/s`,
    }, {
      what: `${what} TCP`,
      calls,
      value: ws / tcp,
      unit: "x",
      note: `${short(ws)} and ${short(tcp)} MB/s`,
    });
  });
  return found;
};

/** All costs by name, in the order in which they run. */
export const WEBSOCKETS = { calls, bulk };
