/**
 * The entries that are measured: peers, the library and the limits, each in every
 * style; and the amount of work.
 *
 * @module
 */

import { Child, Program } from "../demo/child.ts";
import type { ClientMessage, ClientOrder } from "../demo/client.ts";
import type { Address } from "../demo/options.ts";
import { type Runtime, RUNTIMES } from "../demo/runtimes.ts";
import {
  FULL as LIMIT_FULL,
  type LimitSize,
  QUICK as LIMIT_QUICK,
  runLimit,
} from "../limit/run.ts";
import type { LimitStyle } from "../limit/styles.ts";
import { type Listening, runPair } from "../pair.ts";
import { type Result, type ResultOrFault, type Row, toRow } from "../rows.ts";
import type { BulkOrder } from "./bulk.ts";
import type { PeerOrder } from "./js/client.ts";
import type { JsPeer } from "./js/peers.ts";
import type { CallStyle } from "./js/styles.ts";

/** One entry. */
export interface Entry {
  readonly peer: string;
  readonly style: string;
  readonly runtime: string;
  run(): Promise<Row>;
}

/** The amount of work. */
export interface Size {
  readonly rounds: number;
  /** Calls of the concurrent and pipeline styles. */
  readonly calls: Record<PeerName, number>;
  /** Seconds of the sync style. */
  readonly seconds: number;
  readonly limits: LimitSize;
}

/**
 * All names. `sluice-to-go` is this library's client with Go's server, and
 * `go-to-sluice` Go's client with this library's server.
 */
export type PeerName =
  | "go"
  | "sluice-to-go"
  | "go-to-sluice"
  | JsPeer
  | "sluice"
  | "limit";

/** The peers that are written in JavaScript. */
export const JS_PEERS: readonly JsPeer[] = [
  "ioredis",
  "birpc",
  "capnweb",
  "vscode-jsonrpc",
  "grpc-js",
];

/** Every peer's name. */
export const PEERS: readonly PeerName[] = [
  "go",
  "sluice-to-go",
  "go-to-sluice",
  ...JS_PEERS,
  "sluice",
  "limit",
];

/** Tasks of the concurrent style. */
const TASKS = 64;

const STYLES: readonly CallStyle[] = ["pipeline", "concurrent", "sync"];

/** Fewer calls for slow peers: their rate is the same, their time is not. */
export const FULL: Size = {
  rounds: 3,
  calls: {
    "go": 524_288,
    "sluice-to-go": 524_288,
    "go-to-sluice": 524_288,
    "ioredis": 524_288,
    "birpc": 524_288,
    "capnweb": 262_144,
    "vscode-jsonrpc": 131_072,
    "grpc-js": 32_768,
    "sluice": 524_288,
    "limit": LIMIT_FULL.calls,
  },
  seconds: 3,
  limits: LIMIT_FULL,
};

/** The quick amount: less of what is slow. */
export const QUICK: Size = {
  rounds: 3,
  calls: {
    ...FULL.calls,
    "go": 131_072,
    "sluice-to-go": 131_072,
    "go-to-sluice": 131_072,
    "ioredis": 131_072,
    "birpc": 131_072,
    "capnweb": 65_536,
    "vscode-jsonrpc": 32_768,
    "grpc-js": 8_192,
  },
  seconds: 1,
  limits: LIMIT_QUICK,
};

/** The smallest amount, which only shows that everything works. */
export const SMOKE: Size = {
  rounds: 1,
  calls: Object.fromEntries(
    PEERS.map((name) => [name, 1_000]),
  ) as Size["calls"],
  seconds: 0.2,
  limits: { calls: 1_000, seconds: 0.2, chunks: 100 },
};

/** The entries of a round, in order. Entries that are compared follow each other. */
export function entries(
  names: ReadonlySet<PeerName>,
  size: Size,
  { peerRuntime, goPeer }: { peerRuntime: Runtime; goPeer: string },
): Entry[] {
  const list: Entry[] = [];
  const add = (
    peer: PeerName,
    style: string,
    runtime: string,
    run: Entry["run"],
  ) => {
    if (names.has(peer)) list.push({ peer, style, runtime, run });
  };
  for (const style of STYLES) {
    add("go", style, "go", () => runGo(goPeer, style, size));
    for (const runtime of RUNTIMES) {
      add("sluice-to-go", style, runtime, () => {
        return runSluiceToGo(goPeer, style, runtime, size);
      });
      add("go-to-sluice", style, runtime, () => {
        return runGoToSluice(goPeer, style, runtime, size);
      });
    }
    for (const peer of JS_PEERS) {
      add(
        peer,
        style,
        peerRuntime,
        () => runJs(peer, style, peerRuntime, size),
      );
    }
    for (const runtime of RUNTIMES) {
      add("sluice", style, runtime, () => runSluice(style, runtime, size));
      for (const limit of BESIDE[style]) {
        add("limit", limit, runtime, () => {
          return runLimit(limit, runtime, size.limits);
        });
      }
    }
  }
  for (const runtime of RUNTIMES) {
    add("sluice", "bulk", runtime, () => runBulk(runtime, size));
    add("limit", "bulk", runtime, () => runLimit("bulk", runtime, size.limits));
  }
  return list;
}

/** The limits to measure next to a style. */
const BESIDE: Record<CallStyle, LimitStyle[]> = {
  pipeline: ["raw", "promise"],
  concurrent: [],
  sync: ["pingpong", "webstreams"],
};

const goServer = (program: string) =>
  new Program<Listening>("Go's server", program, ["server"]);

function goClient(
  program: string,
  style: CallStyle,
  calls: number,
  seconds: number,
  port: number,
): Program<ResultOrFault> {
  const work = [style, calls, TASKS, seconds, port].map(String);
  return new Program<ResultOrFault>("Go's client", program, [
    "client",
    ...work,
  ]);
}

async function runGo(
  program: string,
  style: CallStyle,
  { calls, seconds }: Size,
): Promise<Row> {
  const result = await runPair(
    () => goServer(program),
    ({ port }) => goClient(program, style, calls.go, seconds, port),
  );
  return toRow("go", style, "go", result);
}

async function runGoToSluice(
  program: string,
  style: CallStyle,
  runtime: Runtime,
  { calls, seconds }: Size,
): Promise<Row> {
  const most = calls["go-to-sluice"];
  const result = await runPair(
    () => new Child<Listening>(runtime, "server.ts", "gob"),
    ({ port }) => goClient(program, style, most, seconds, port),
  );
  return toRow("go-to-sluice", style, runtime, result);
}

async function runSluiceToGo(
  program: string,
  style: CallStyle,
  runtime: Runtime,
  { calls, seconds }: Size,
): Promise<Row> {
  const work = { style, calls: calls["sluice-to-go"], gob: true, seconds };
  const result = await runPair<ClientMessage>(
    () => goServer(program),
    ({ port }) => ourClient(runtime, { host: "127.0.0.1", port }, work),
    ourResult,
  );
  return toRow("sluice-to-go", style, runtime, result);
}

async function runJs(
  peer: JsPeer,
  style: CallStyle,
  runtime: Runtime,
  { calls, seconds }: Size,
): Promise<Row> {
  const result = await runPair(
    () => new Child<Listening>(runtime, "../peers/js/server.ts", peer),
    ({ port }) => {
      const work = { calls: calls[peer], tasks: TASKS, seconds };
      const order: PeerOrder = { peer, style, port, ...work };
      const text = JSON.stringify(order);
      return new Child<ResultOrFault>(runtime, "../peers/js/client.ts", text);
    },
  );
  return toRow(peer, style, runtime, result);
}

/** The demo's own server and client. */
async function runSluice(
  style: CallStyle,
  runtime: Runtime,
  { calls, seconds }: Size,
): Promise<Row> {
  const work = { style, calls: calls.sluice, seconds };
  const result = await runPair<ClientMessage>(
    () => new Child<Listening>(runtime, "server.ts"),
    ({ host, port }) => ourClient(runtime, { host: host!, port }, work),
    ourResult,
  );
  return toRow("sluice", style, runtime, result);
}

/** The demo's client. */
function ourClient(
  runtime: Runtime,
  server: Address,
  { style, calls, seconds, gob }: {
    style: CallStyle;
    calls: number;
    seconds: number;
    gob?: boolean;
  },
): Child<ClientMessage> {
  const order: ClientOrder = {
    style,
    calls,
    tasks: TASKS,
    rtt: 0,
    server,
    syncLimit: seconds * 1000,
    gob,
  };
  return new Child(runtime, "client.ts", JSON.stringify(order));
}

function ourResult(message: ClientMessage): Result | undefined {
  if ("fault" in message) throw new Error(message.fault);
  return "result" in message ? message.result : undefined;
}

async function runBulk(runtime: Runtime, { limits }: Size): Promise<Row> {
  const result = await runPair(
    () => new Child<Listening>(runtime, "server.ts"),
    ({ host, port }) => {
      const order: BulkOrder = { calls: limits.chunks, host: host!, port };
      const text = JSON.stringify(order);
      return new Child<ResultOrFault>(runtime, "../peers/bulk.ts", text);
    },
  );
  return toRow("sluice", "bulk", runtime, result);
}
