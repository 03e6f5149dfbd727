// Floods in which every step is legal, or fails locally.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { memoryPair, type Serializer, Server } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faceServer, greet } from "../support/facing.ts";
import { FULL } from "../support/full.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import { frame, KIND, request } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

function shuffle(list: unknown[], random: Random): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [list[i], list[j]] = [list[j], list[i]];
  }
}

test("[I7] calls answered in random order each get their own result", async () => {
  const random = new Random();
  const count = FULL ? 1_000_000 : 50_000;
  const held = new Held();
  const { client, connection, close } = pair(held.services, {
    server: { windowCalls: count, windowBytes: 2 ** 32 - 1, maxRunning: count },
  });
  await client.call("Held.echo");
  const replies = Array.from(
    { length: count },
    (_, i) => client.call("Held.work", i),
  );
  while (held.calls.length < count) await settle();
  assertEquals(connection.stats().running, count);
  shuffle(held.calls, random);
  for (const { params, resolve } of held.calls) resolve(params);
  for (let i = 0; i < count; i++) {
    const got = await replies[i];
    if (got !== i) throw new Error(`call ${i} got ${got}, seed ${random.seed}`);
  }
  await close();
});

test("[F6] connections that send nothing are closed after the handshake timeout", async () => {
  const clock = new TestClock();
  const count = FULL ? 10_000 : 1000;
  const server = new Server({}, { clock, handshakeTimeout: 5000 });
  const ends = Array.from({ length: count }, () => {
    const [near, far] = memoryPair();
    return { near, connection: server.accept(far) };
  });
  await clock.advance(4999);
  assert(ends.every(({ connection }) => connection.stats().state === "open"));
  await clock.advance(1);
  await clock.advance(10_000);
  for (const { near, connection } of ends) {
    assertEquals((await connection.closed)?.code, "deadline_exceeded");
    assertNothingLeft(connection);
    await near.readable.cancel();
  }
  assertEquals(clock.timers, 0);
  await server.close();
});

test("[F11] calls past their deadline on the server occupy the window while their handlers run on", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { client, connection, close } = pair(held.services, {
    client: { clock },
    server: { clock, maxRunning: 8, windowCalls: 64 },
  });
  await client.call("Held.echo");
  const rounds = FULL ? 10_000 : 100;
  let released = 0;
  const settled: Promise<unknown>[] = [];
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 100; i++) {
      settled.push(client.go("Held.work", i, { timeout: 1 }).settled);
    }
    await settle(2);
    await clock.advance(2);
    const { receiving: places } = connection.stats();
    const running = held.calls.length - released;
    assert(running <= 8, `${running} handlers run`);
    assert(places <= 64, `${places} calls are held`);
    // Handlers that ignore their signals: some end much later than their calls.
    if (round % 10 === 9) {
      held.release();
      released = held.calls.length;
    }
  }
  while (client.stats().inFlight > 0) {
    held.release();
    await settle(2);
  }
  await Promise.all(settled);
  await close();
});

test("[F11] calls whose replies are too large for the caller leave the window when the error is handed over", async () => {
  const services = { Test: { large: () => "x".repeat(20_000) } };
  const { client, connection, close } = pair(services, {
    client: { maxMessage: 16_384 },
    server: { windowCalls: 64 },
  });
  const codes = new Set<unknown>();
  let most = 0;
  for (let round = 0; round < 100; round++) {
    const failing = Array.from(
      { length: 100 },
      () => client.call("Test.large").then(() => "", (error) => error.code),
    );
    await settle(1);
    most = Math.max(most, connection.stats().receiving);
    for (const code of await Promise.all(failing)) codes.add(code);
  }
  assertEquals(codes, new Set(["resource_exhausted"]));
  assert(most <= 64, `${most} calls were held`);
  await close();
});

test("[F12] params stay bytes until their handler starts", async () => {
  let decoded = 0;
  const serializer: Serializer = {
    name: "counting",
    encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
    decode: (bytes) => {
      decoded++;
      return JSON.parse(new TextDecoder().decode(bytes));
    },
  };
  const held = new Held();
  const { client, connection, close } = pair(held.services, {
    client: { serializer },
    server: { serializer, maxRunning: 2 },
  });
  const many = Array.from({ length: 1000 }, () => ({}));
  const replies = Array.from(
    { length: 100 },
    () => client.call("Held.work", many),
  );
  await settle();
  assertEquals(connection.stats().waiting, 98);
  assertEquals(decoded, 2);
  const cancelled = client.go("Held.work", many);
  await settle();
  cancelled.abort();
  assertEquals(await cancelled.settled, "refused");
  assertEquals(decoded, 2);
  let ended = 0;
  const all = Promise.all(replies).then(() => ended = replies.length);
  while (ended === 0) {
    held.release(1);
    await settle(1);
  }
  await all;
  assertEquals(held.calls.length, 100);
  await close();
});

/** What a peer that never reads may send without end, two frames a call. */
const UNREAD: [string, (id: number) => Uint8Array[]][] = [
  ["calls and their CANCELs", (id) => [
    request(id, "Test.hold"),
    frame(KIND.CANCEL, id),
  ]],
  ["unknown methods", (id) => [request(id, "no.such")]],
  ["late deadlines", (id) => [request(id, "Test.hold", "x", 0)]],
];

for (const [name, make] of UNREAD) {
  test(`[F10] ${name} from a peer that never reads fill its window, and close`, async () => {
    const services = { Test: { hold: () => new Promise<never>(() => {}) } };
    const facing = faceServer(services, { windowCalls: 100, maxRunning: 4 });
    await greet(facing);
    const { peer, connection } = facing;
    // The first answers are written, and taken by the pipe.
    let most = 0;
    for (let id = 1; connection.stats().state === "open"; id++) {
      assert(id < 100_000, "it is never closed");
      await peer.send(...make(id));
      const { state, receiving: held } = connection.stats();
      if (state === "open") most = Math.max(most, held);
      if (id % 100 === 0) await settle(1);
    }
    assert(most <= 100, `${most} calls were held`);
    const frames = await peer.rest();
    assertEquals(frames.at(-1)?.kind, KIND.GOAWAY);
    await peer.end();
    assertEquals((await connection.closed)?.code, "resource_exhausted");
    assertNothingLeft(connection);
  });
}
