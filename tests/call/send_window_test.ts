/** The in-flight window: what may be sent when, and what waits. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CallHandle,
  Client,
  type ClientOptions,
  echoServices,
  RpcError,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import { FULL } from "../support/full.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  failure,
  goaway,
  hello,
  KIND,
  RawPeer,
  reply,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

type Any = Record<string, (params?: unknown) => string>;

/** Counts the requests that have come so far. */
async function requests(peer: RawPeer, n: number): Promise<number[]> {
  const ids: number[] = [];
  while (ids.length < n) ids.push((await peer.nextOf(KIND.REQUEST)).id);
  return ids;
}

test("[I5] before the peer's HELLO at most 64 calls are sent", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  const handles = Array.from({ length: 100 }, () => client.go("m"));
  await settle();
  assertEquals(client.stats().inFlight, 64);
  assertEquals(client.stats().queued, 36);
  await peer.send(hello());
  await requests(peer, 100);
  assertEquals(client.stats().queued, 0);
  await client.abort();
  for (const handle of handles) assertEquals(await handle.settled, "unknown");
});

test("[I5] before the peer's HELLO at most 64 KiB are sent", async () => {
  const peer = new RawPeer({ highWaterMark: 1 << 20 });
  const client = new Client<Any>(peer.duplex);
  for (let i = 0; i < 10; i++) client.go("m", new Uint8Array(10_000));
  client.go("m", "small, but in its turn");
  await settle();
  assertEquals(client.stats().inFlight, 6);
  assertEquals(client.stats().queued, 5);
  await client.abort();
});

test("a call too large for the constants waits for the peer's HELLO", async () => {
  const { client, close } = pair(echoServices());
  const bytes = new Uint8Array(100_000).fill(7);
  const sent = client.call("Echo.echo", bytes);
  assertEquals(client.stats().queued, 1);
  assertEquals(await sent, bytes);
  await close();
});

test("[I8] the peer's HELLO sets calls and bytes in flight", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls: 3, bytes: 200 }));
  await settle();
  for (let i = 0; i < 5; i++) client.go("m", "x");
  await settle();
  assertEquals(client.stats().inFlight, 3);
  const [first] = await requests(peer, 3);
  await peer.send(reply(first));
  await settle();
  assertEquals(client.stats().inFlight, 3);
  assertEquals(client.stats().queued, 1);
  // 12 header, 2 + 1 method, 1 kind, 100 payload: one fits beside a small one.
  const sizes = client.stats().inFlightBytes;
  assertEquals(sizes, 3 * (12 + 2 + 1 + 1 + 1));
  await client.abort();
  assertNothingLeft(client.connection);
});

test("[I9] ready is there while the window has room, and comes when room is made", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls: 2 }));
  await settle();
  await client.ready;
  client.go("m");
  await client.ready;
  client.go("m");
  let woken = 0;
  const waiters = Array.from(
    { length: 1000 },
    () => client.ready.then(() => woken++),
  );
  await settle();
  assertEquals(woken, 0);
  await requests(peer, 2);
  await peer.send(reply(1));
  await Promise.all(waiters);
  assertEquals(woken, 1000, "each wakes once");
  await client.abort();
});

/** What ends the wait for room, and whether it makes some. */
const WAKERS: [
  string,
  boolean,
  (peer: RawPeer, client: Client<Any>, only: CallHandle) => unknown,
][] = [
  ["an answer", true, (peer) => peer.send(reply(1))],
  ["the refusal of a call given up", true, (peer, _, only) => {
    only.abort();
    return peer.send(failure(1, "cancelled", "", false));
  }],
  ["GOAWAY", false, (peer) => peer.send(goaway(1))],
  ["close", false, (_, client) => void client.close()],
  ["abort", false, (_, client) => client.abort()],
  ["FIN", false, (peer) => peer.end()],
  ["reset", false, (peer) => peer.reset()],
];

for (const [name, room, wake] of WAKERS) {
  test(`[I9] 1,000 that wait for room wake once each by ${name}`, async () => {
    const peer = new RawPeer();
    const client = new Client<Any>(peer.duplex);
    await peer.send(hello({ calls: 1 }));
    await settle();
    const only = client.go("m");
    await settle();
    const woken = new Map<number, boolean[]>();
    const note = (i: number, ready: boolean) =>
      woken.set(i, [...woken.get(i) ?? [], ready]);
    for (let i = 0; i < 1000; i++) {
      client.ready.then(() => note(i, true), () => note(i, false));
    }
    await settle();
    assertEquals(woken.size, 0);
    await wake(peer, client, only);
    await settle();
    assertEquals(woken.size, 1000);
    for (const times of woken.values()) assertEquals(times, [room]);
    await client.abort();
    await only.settled;
    assertNothingLeft(client.connection);
  });
}

test("[I9] ready rejects with the reason when the connection ends, unreported where ignored", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls: 1 }));
  await settle();
  client.go("m");
  const waiting = client.ready;
  void client.ready;
  await client.abort(new Error("enough"));
  const error = await assertRejects(() => waiting, RpcError);
  assertEquals(error.code, "unavailable");
  assertEquals(error.outcome, "not_sent");
  await assertRejects(() => client.ready, RpcError);
});

test("[I5] a window of 0 rejects what waits, and answers what was sent early", async () => {
  const server = pair({});
  const early = await assertRejects(
    () => (server.client as unknown as Client<Any>).call("m"),
    RpcError,
  );
  assertEquals(early.code, "not_found");
  assertEquals(early.outcome, "refused");
  const later = await assertRejects(
    () => (server.client as unknown as Client<Any>).call("m"),
    RpcError,
  );
  assertEquals(later.code, "unavailable");
  assertEquals(later.outcome, "not_sent");
  await server.close();
});

test("a call larger than the peer's limits rejects at once, not sent", async () => {
  const { client, close } = pair(echoServices(), {
    server: { maxMessage: 20_000, windowBytes: 30_000 },
  });
  await client.call("Echo.echo", 1);
  const error = await assertRejects(
    () => client.call("Echo.echo", new Uint8Array(20_001)),
    RpcError,
  );
  assertEquals(error.code, "resource_exhausted");
  assertEquals(error.outcome, "not_sent");
  assertEquals(await client.call("Echo.echo", 2), 2);
  await close();
});

test("[X39] a call that can never be sent names the limit in its way", async () => {
  const refused = async (
    server: ServerOptions,
    client: ClientOptions,
    size: number,
  ) => {
    const both = pair(echoServices(), { server, client });
    await both.client.call("Echo.echo", 1);
    const error = await assertRejects(
      () => both.client.call("Echo.echo", new Uint8Array(size)),
      RpcError,
    );
    assertEquals([error.code, error.outcome], [
      "resource_exhausted",
      "not_sent",
    ]);
    await both.close();
    return error.message;
  };
  const MiB = 1024 * 1024;
  const windowBytes = await refused(
    { maxMessage: 2 * MiB, windowBytes: MiB },
    {},
    MiB,
  );
  assert(windowBytes.includes(`peer's windowBytes, ${MiB} bytes`), windowBytes);
  const maxMessage = await refused({ maxMessage: 2 * MiB }, {}, 2 * MiB);
  assert(
    maxMessage.includes(`peer's maxMessage, ${2 * MiB} bytes`),
    maxMessage,
  );
  const maxSendBuffer = await refused({}, { maxSendBuffer: MiB }, MiB);
  assert(maxSendBuffer.includes(`maxSendBuffer, ${MiB} bytes`), maxSendBuffer);
});

test("[X39] who accepts a large message has room for it in all that follows from it", async () => {
  const size = 40 * 1024 * 1024;
  const { client, close } = pair(echoServices(), {
    server: { maxMessage: size + 1024 },
    client: { maxMessage: size + 1024 },
  });
  await client.call("Echo.echo", 1);
  const sent = new Uint8Array(size);
  sent[size - 1] = 7;
  const got = await client.call("Echo.echo", sent) as Uint8Array;
  assertEquals([got.length, got[size - 1]], [size, 7]);
  await close();
});

test("[F8] past maxQueuedCalls and maxQueuedBytes calls reject, not sent", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, {
    maxQueuedCalls: 10,
    maxQueuedBytes: 1000,
  });
  await peer.send(hello({ calls: 1 }));
  await settle();
  const handles = Array.from({ length: 12 }, () => client.go("m"));
  const error = await assertRejects(() => handles[11].reply, RpcError);
  assertEquals(error.code, "resource_exhausted");
  assertEquals(handles[11].outcome, "not_sent");
  for (const handle of handles.slice(1, 11)) handle.abort();
  const large = client.go("m", new Uint8Array(1000));
  await assertRejects(() => large.reply, RpcError);
  await client.abort();
});

test(
  "[F8] with the default limits a loop that never waits rejects past a million calls, and past 256 MiB",
  { skip: !FULL },
  async () => {
    const peer = new RawPeer();
    const client = new Client<Any>(peer.duplex);
    await peer.send(hello({ calls: 0x100, bytes: 1 << 20 }));
    await settle();
    const codes: Record<string, number> = {};
    const lost = (error: RpcError) =>
      codes[error.code] = (codes[error.code] ?? 0) + 1;
    const large = new Uint8Array(1 << 18);
    for (let i = 0; i < 1100; i++) client.go("m", large).reply.catch(lost);
    await settle();
    assert(
      codes.resource_exhausted > 50,
      `${codes.resource_exhausted} rejected`,
    );
    const { queued } = client.stats();
    assert(queued > 1000 && queued < 1024, `${queued} wait`);
    await client.abort();
    const clock = new TestClock();
    const other = new Client<Any>(new RawPeer().duplex, { clock });
    const handles = Array.from({ length: 2_000_000 }, () => other.go("m"));
    assertEquals(other.stats().queued, 1_048_576);
    const error = await assertRejects(() => handles.at(-1)!.reply, RpcError);
    assertEquals([error.code, error.outcome], [
      "resource_exhausted",
      "not_sent",
    ]);
    await other.abort();
  },
);

test("half a million calls made in one turn are all answered", async () => {
  const { client, close } = pair(echoServices());
  const n = 524_288;
  const replies: Promise<string>[] = new Array(n);
  for (let i = 0; i < n; i++) {
    replies[i] = client.call("HelloService.Hello", `client ${i}`);
  }
  assert(client.stats().queued > 500_000);
  const got = await Promise.all(replies);
  for (let i = 0; i < n; i++) {
    if (got[i] !== `hello:client ${i}`) throw new Error(`reply ${i} is wrong`);
  }
  await close();
});

test("[F7] both ends stalled by backpressure still make progress", async () => {
  // Requests and replies are far larger than what the pair holds.
  const { client, close } = pair(echoServices(), { highWaterMark: 4096 });
  const bytes = new Uint8Array(50_000).fill(1);
  const replies = Array.from(
    { length: 100 },
    () => client.call("Echo.echo", bytes),
  );
  for (const got of await Promise.all(replies)) {
    assertEquals((got as Uint8Array).length, bytes.length);
  }
  await close();
});

test("[4] a cancelled call keeps its place until the peer has answered", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, {
    server: { windowCalls: 64 },
  });
  await client.call("Held.echo", 1);
  const controller = new AbortController();
  const { signal } = controller;
  for (let i = 0; i < 64; i++) client.go("Held.work", i, { signal });
  await settle();
  controller.abort();
  await settle();
  assertEquals(client.stats().inFlight, 64);
  const next = client.go("Held.echo", "next");
  await settle();
  assertEquals(client.stats().queued, 1);
  held.release();
  assertEquals(await next.reply, "next");
  await close();
});

test("[L1] a lost connection holds no place for calls that were taken back, nor for calls it served", async () => {
  const stuck = { manual: true, capacity: 0 };
  const { near, far, out, reset } = linkedLines({ out: stuck });
  const held = new Held();
  const server = new Server(held.services);
  const connection = server.accept(far);
  const client = new Client<typeof held.services>(near);
  client.go("Held.work", 1);
  await settle();
  out.deliver(Infinity);
  await settle();
  out.resumeWriter();
  await settle();
  out.deliver(Infinity);
  await settle();
  // The batch before was not taken: these cannot leave.
  client.go("Held.work", 2).abort();
  assertEquals(client.stats().inFlight, 2);
  assertEquals([connection.stats().receiving, held.calls.length], [1, 1]);
  reset();
  await client.closed;
  held.release();
  await server.close();
  assertNothingLeft(client.connection);
  assertNothingLeft(connection);
});
