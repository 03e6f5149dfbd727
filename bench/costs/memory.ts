/**
 * Measures the memory of a pending call, its promise included: live memory with
 * very many calls in flight.
 *
 * @module
 */

import { Client, type EchoServices } from "../../mod.ts";
import { liveBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

/** Number of pending calls. */
export interface MemoryOrder {
  readonly calls: number;
}

/** Live bytes for each call. */
export interface MemoryResult {
  readonly bytes: number;
}

/** Calls made in one turn. */
const BURST = 4096;

/**
 * Makes calls that get no reply, until enough are in flight. Their promises have no
 * reactions, because those belong to the user.
 */
async function pend(calls: number): Promise<Client<EchoServices>> {
  const client = new Client<EchoServices>(new ScriptedPeer().duplex);
  for (let i = 0; i < calls; i++) {
    if (i % BURST === 0) await new Promise((resolve) => setTimeout(resolve));
    client.call("HelloService.Hello", "client " + i);
  }
  await new Promise((resolve) => setTimeout(resolve));
  const { inFlight } = client.stats();
  if (inFlight === calls) return client;
  throw new Error(`${inFlight} calls are in flight, not ${calls}`);
}

async function run({ calls }: MemoryOrder): Promise<MemoryResult> {
  const warm = await pend(BURST);
  const before = await liveBytes();
  const client = await pend(calls);
  const bytes = (await liveBytes() - before) / calls;
  for (const { connection } of [warm, client]) {
    if (connection.stats().state !== "open") throw new Error("calls were lost");
  }
  return { bytes };
}

if (import.meta.main) await program(run);
