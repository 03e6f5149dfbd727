/**
 * What a pending call holds: live memory with very many of them in flight,
 * their promises included.
 *
 * @module
 */

import { Client, type EchoServices } from "../../mod.ts";
import { liveBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

/** How many calls are to be pending. */
export interface MemoryOrder {
  readonly calls: number;
}

/** Live bytes for each. */
export interface MemoryResult {
  readonly bytes: number;
}

/** Calls made in one turn. */
const BURST = 4096;

/**
 * Makes calls that are never answered, until so many are in flight. Their
 * promises have no reactions: those would be the user's.
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
