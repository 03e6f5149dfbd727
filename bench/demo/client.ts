/**
 * The demo's client, in a process of its own: runs one style over one
 * connection, tells how far it is, and at the end what it took.
 *
 * @module
 */

import process from "node:process";
import { Client, connect, type EchoServices } from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { delayed } from "../delay.ts";
import type { Address } from "./options.ts";
import { parentDone, tell } from "./parent.ts";
import { type StyleName, STYLES, Tally, type Work } from "./styles.ts";
import { cpuSeconds, Peak } from "./usage.ts";

/** What the client is told, as JSON, by its only argument. */
export interface ClientOrder extends Work {
  readonly style: StyleName;
  readonly server: Address;
  readonly rtt: number;
  /** Speaks Go's wire instead of ours. */
  readonly gob?: boolean;
}

/** What it tells: how many replies were right so far, then how it ended. */
export type ClientMessage =
  | { readonly done: number }
  | { readonly fault: string }
  | { readonly result: Result };

/** What a style took. */
export interface Result {
  readonly calls: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peak: number;
}

/** Milliseconds between two tellings, and without any reply until it is a fault. */
const TELL_EVERY = 100;
const PATIENCE = 60_000;

async function run(
  order: ClientOrder,
  tally: Tally,
  peak: Peak,
): Promise<Result> {
  const tcp = await connect(order.server);
  const duplex = order.rtt > 0 ? delayed(tcp, order.rtt / 2) : tcp;
  const wire = order.gob ? netrpc() : undefined;
  const client = new Client<EchoServices>(duplex, { protocol: wire });
  const cpu = cpuSeconds();
  const began = performance.now();
  await STYLES[order.style](client, order, tally);
  const seconds = (performance.now() - began) / 1000;
  const result = { calls: tally.done, seconds, cpu: cpuSeconds() - cpu };
  await client.close();
  return { ...result, peak: peak.megabytes() };
}

/** Tells how far it is, by a timer: the loops need not know. */
function watch(tally: Tally, peak: Peak): void {
  let seen = 0;
  let since = performance.now();
  setInterval(() => {
    peak.sample();
    const now = performance.now();
    if (tally.done > seen) {
      seen = tally.done;
      since = now;
    } else if (now - since > PATIENCE) {
      tellFault(`no reply came for ${PATIENCE / 1000} s`);
    }
    tell({ done: tally.done } satisfies ClientMessage);
  }, TELL_EVERY);
}

/** Told at once, whatever the calls still under way do: the demo ends us then. */
function tellFault(reason: unknown): void {
  const fault = reason instanceof Error ? reason.message : String(reason);
  tell({ fault } satisfies ClientMessage);
}

if (import.meta.main) {
  // Once the demo has heard the end, it lets go; if it is gone, all is over.
  parentDone().then(() => process.exit());
  const order: ClientOrder = JSON.parse(process.argv[2]);
  const tally = new Tally(order.calls, tellFault);
  const peak = new Peak();
  watch(tally, peak);
  try {
    tell({ result: await run(order, tally, peak) } satisfies ClientMessage);
  } catch (error) {
    // What follows from a fault comes after it: the demo heeds the first.
    tellFault(error);
  }
}
