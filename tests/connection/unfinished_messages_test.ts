// Messages that never arrive whole: what a server holds for them.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Duplex, memoryPair, Server } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { FULL } from "../support/full.ts";
import { memory } from "../support/heap.ts";
import { frame, hello, KIND } from "../support/raw_peer.ts";

const CONNECTIONS = 1000;
/** Bytes of the 4 MiB that arrive, one by one. */
const RECEIVED = FULL ? 20_000 : 40;
/** Bytes that a connection, its streams and the peer's end of them take by themselves, at most. */
const CONNECTION = 24_000;

/** Sends the header of a REQUEST of 4 MiB, then single bytes of it. */
async function trickle(duplex: Duplex): Promise<void> {
  const writer = duplex.writable.getWriter();
  const header = frame(KIND.REQUEST, 1);
  new DataView(header.buffer).setUint32(0, 4 << 20);
  await writer.write(hello());
  await writer.write(header);
  for (let i = 0; i < RECEIVED; i++) await writer.write(Uint8Array.of(i));
  writer.releaseLock();
}

test("[B12] for bodies of 4 MiB that arrive byte by byte on 1,000 connections, memory follows what has arrived", async () => {
  const server = new Server({}, { clock: new TestClock() });
  const before = await memory();
  const peers = Array.from({ length: CONNECTIONS }, () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  });
  await Promise.all(peers.map(trickle));
  await settle();
  const { live } = await memory();
  const each = (live - before.live) / CONNECTIONS;
  assert(each <= CONNECTION + 2 * RECEIVED, `${each} bytes a connection`);
  assertEquals(server.connections.size, CONNECTIONS);
  const ends = [...server.connections].map((connection) => connection.abort());
  for (const { readable } of peers) await readable.cancel();
  await Promise.all(ends);
  await server.close();
});
