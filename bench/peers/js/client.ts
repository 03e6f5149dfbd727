/**
 * A JavaScript peer's client, in a process of its own: `client.ts ORDER`.
 *
 * @module
 */

import process from "node:process";
import { parentDone, sendToParent } from "../../demo/parent.ts";
import { Tally } from "../../demo/styles.ts";
import { cpuSeconds, Peak } from "../../demo/usage.ts";
import type { ResultOrFault } from "../../rows.ts";
import { type JsPeer, loadPeer } from "./peers.ts";
import { type CallStyle, PEER_STYLES, type PeerWork } from "./styles.ts";

/** The options of the client: its only argument, as JSON. */
export interface PeerOrder extends PeerWork {
  readonly peer: JsPeer;
  readonly style: CallStyle;
  readonly port: number;
}

async function run(order: PeerOrder): Promise<ResultOrFault> {
  const peak = new Peak();
  const peer = await loadPeer(order.peer);
  const caller = await peer.connect(order.port);
  const tally = new Tally(order.calls, fault);
  const cpu = cpuSeconds();
  const began = performance.now();
  await PEER_STYLES[order.style](caller, order, tally, peer.window);
  const seconds = (performance.now() - began) / 1000;
  const used = cpuSeconds() - cpu;
  caller.close();
  return { calls: tally.done, seconds, cpu: used, peak: peak.megabytes() };
}

function fault(reason: unknown): void {
  sendToParent({
    fault: reason instanceof Error ? reason.message : String(reason),
  });
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  try {
    sendToParent(await run(JSON.parse(process.argv[2])));
  } catch (error) {
    fault(error);
  }
}
