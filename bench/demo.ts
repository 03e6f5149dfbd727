/**
 * The experiment from which this library began: how much faster calls are that do
 * not wait for each other.
 *
 * An echo server has a process of its own, and so has the client of each style of
 * calling, with one TCP connection. Every reply is checked. A wrong reply, like
 * any other fault, exits with 1.
 *
 * @module
 */

import { tool, usage } from "../tools/process.ts";
import { Child } from "./demo/child.ts";
import type { ClientMessage, ClientOrder, Result } from "./demo/client.ts";
import {
  type Address,
  type Options,
  readOptions,
  USAGE,
} from "./demo/options.ts";
import {
  Bar,
  chainConclusion,
  type ChainRow,
  conclusion,
  type Row,
  table,
} from "./demo/report.ts";
import type { ServerMessage } from "./demo/server.ts";
import {
  CHAIN_LIMIT,
  type ChainName,
  CHAINS,
  type StyleName,
  STYLES,
} from "./demo/styles.ts";

/** Milliseconds that the sync style may take. */
const SYNC_LIMIT = 10_000;

/** The network that is added to chains, in ms, if the options add none: without one there is little to see. */
const CHAIN_RTT = 10;

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen.help) return console.log(USAGE);
  if (chosen.server !== undefined) return await runAll(chosen, chosen.server);
  const server = new Child<ServerMessage>(chosen.runtime, "server.ts");
  try {
    let address: Address | undefined;
    await server.listen((message) => (address = message) !== undefined);
    await runAll(chosen, address!);
  } finally {
    await server.stop();
  }
}

async function runAll(chosen: Options, server: Address): Promise<void> {
  const rows: Row[] = [];
  for (const style of Object.keys(STYLES) as StyleName[]) {
    const row = toRow(style, chosen, await runStyle(style, chosen, server));
    if (chosen.json) console.log(JSON.stringify(row));
    rows.push(row);
  }
  const chains = await runChains(chosen, server);
  if (chosen.json) return;
  const { runtime, rtt, tasks } = chosen;
  const network = rtt > 0 ? `, ${rtt} ms of network added` : "";
  console.log(`Client and server on ${runtime}${network}\n\n${table(rows)}\n`);
  console.log(conclusion(rows, tasks));
  console.log(chainConclusion(chains, rtt || CHAIN_RTT));
}

async function runChains(
  chosen: Options,
  server: Address,
): Promise<ChainRow[]> {
  const rows: ChainRow[] = [];
  const { runtime } = chosen;
  const options = { ...chosen, rtt: chosen.rtt || CHAIN_RTT };
  for (const style of Object.keys(CHAINS) as ChainName[]) {
    const { calls: chains, seconds } = await runStyle(style, options, server);
    const ms_per_chain = round(1000 * seconds / chains, 2);
    const row = { style, runtime, chains, seconds: round(seconds, 4) };
    rows.push({ ...row, ms_per_chain });
    if (chosen.json) console.log(JSON.stringify(rows.at(-1)));
  }
  return rows;
}

async function runStyle(
  style: StyleName | ChainName,
  { calls, tasks, rtt, runtime }: Options,
  server: Address,
): Promise<Result> {
  const order = { style, calls, tasks, rtt, server, syncLimit: SYNC_LIMIT };
  const client = new Child<ClientMessage>(
    runtime,
    "client.ts",
    JSON.stringify(order satisfies ClientOrder),
  );
  const limit = style in CHAINS ? CHAIN_LIMIT : Infinity;
  const bar = new Bar(style, calls, style === "sync" ? SYNC_LIMIT : limit);
  try {
    let result: Result | undefined;
    await client.listen((message) => {
      if ("fault" in message) throw new Error(`${style}: ${message.fault}`);
      if ("done" in message) bar.show(message.done);
      else result = message.result;
      return result !== undefined;
    });
    return result!;
  } finally {
    bar.clear();
    await client.stop();
  }
}

function toRow(style: StyleName, { runtime }: Options, result: Result): Row {
  const { calls, seconds, cpu, peak } = result;
  return {
    style,
    runtime,
    calls,
    seconds: round(seconds, 4),
    calls_per_s: round(calls / seconds, 1),
    cpu_s: round(cpu, 4),
    rss_mb: round(peak, 1),
  };
}

function round(n: number, digits: number): number {
  return Number(n.toFixed(digits));
}

if (import.meta.main) await tool(main);
