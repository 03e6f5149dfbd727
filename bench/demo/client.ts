/**
 * The demo's client, in a process of its own: runs one style over one connection,
 * and sends its progress and at the end its result.
 *
 * @module
 */

import process from "node:process";
import { Client, connect, type EchoServices } from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { delayed } from "../delay.ts";
import type { Address } from "./options.ts";
import { parentDone, sendToParent } from "./parent.ts";
import {
  type ChainName,
  CHAINS,
  type StyleName,
  STYLES,
  Tally,
  type Work,
} from "./styles.ts";
import { cpuSeconds, Peak } from "./usage.ts";

/** The options of the client: its only argument, as JSON. */
export interface ClientOrder extends Work {
  readonly style: StyleName | ChainName;
  readonly server: Address;
  readonly rtt: number;
  /** Whether to use Go's protocol instead of the native one. */
  readonly gob?: boolean;
}

/** Its messages: the number of right replies so far, then how it ended. */
export type ClientMessage =
  | { readonly done: number }
  | { readonly fault: string }
  | { readonly result: Result };

/** The result of a style. */
export interface Result {
  readonly calls: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peak: number;
}

/** Milliseconds between two progress messages, and without a reply before it counts as a fault. */
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
  await { ...STYLES, ...CHAINS }[order.style](client, order, tally);
  const seconds = (performance.now() - began) / 1000;
  const result = { calls: tally.done, seconds, cpu: cpuSeconds() - cpu };
  await client.close();
  return { ...result, peak: peak.megabytes() };
}

/** Sends the progress from a timer, so that the loops need not do it. */
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
    sendToParent({ done: tally.done } satisfies ClientMessage);
  }, TELL_EVERY);
}

/** Sends a fault at once, whatever the calls in flight do: the demo then ends this process. */
function tellFault(reason: unknown): void {
  const fault = reason instanceof Error ? reason.message : String(reason);
  sendToParent({ fault } satisfies ClientMessage);
}

if (import.meta.main) {
  // The demo closes standard input when it has the last message, and so does its end.
  parentDone().then(() => process.exit());
  const order: ClientOrder = JSON.parse(process.argv[2]);
  const tally = new Tally(order.calls, tellFault);
  const peak = new Peak();
  watch(tally, peak);
  try {
    sendToParent(
      { result: await run(order, tally, peak) } satisfies ClientMessage,
    );
  } catch (error) {
    // Consequences of a fault follow it: the demo uses the first message.
    tellFault(error);
  }
}
