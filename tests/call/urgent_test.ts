// Urgent calls: what they overtake, at the caller and at the callee, and the
// places that they have beside the window.

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { Client, memoryPair, ordered, Server } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { assertCloses, faceClient, faceServer } from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { frame, hello, KIND, reply, request } from "../support/raw_peer.ts";

const URGENT = 0x20;

function urgentRequest(id: number, method: string): Uint8Array {
  const bytes = request(id, method);
  bytes[5] |= URGENT;
  return bytes;
}

test("[WI10] an urgent call goes ahead of calls that wait for the window, with the next id", async () => {
  const { connection, peer } = faceClient();
  await peer.send(hello({ calls: 2 }));
  await peer.nextOf(KIND.HELLO);
  await connection.opened;
  const normal = Array.from({ length: 4 }, () => connection.go("Test.a"));
  const urgent = connection.go("Test.b", "x", { priority: "urgent" });
  assertEquals(connection.stats().queued, 2);
  const sent = [await peer.next(), await peer.next(), await peer.next()];
  assertEquals(sent.map((got) => [got?.id, got?.flags]), [
    [1, 0],
    [2, 0],
    [3, URGENT],
  ]);
  await peer.send(reply(3), reply(1));
  assertEquals(await urgent.reply, "ok");
  assertEquals((await peer.next())?.id, 4);
  assertEquals(normal[2].id, 4);
  connection.abort();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[WI10] 16 urgent calls of together 65,536 bytes fit beside a full window; the next one waits, ahead of others", async () => {
  for (const [size, fit] of [[1, 16], [8_000, 8]]) {
    const { connection, peer } = faceClient();
    await peer.send(hello({ calls: 1, bytes: 16_384, maxMessage: 16_384 }));
    await peer.nextOf(KIND.HELLO);
    await connection.opened;
    connection.go("Test.a", "x".repeat(16_000));
    const waits = connection.go("Test.a");
    const urgent = Array.from(
      { length: 20 },
      () => connection.go("Test.b", "x".repeat(size), { priority: "urgent" }),
    );
    assertEquals(urgent.filter(({ id }) => id !== undefined).length, fit);
    await peer.send(reply(1));
    await settle();
    // The first call has left 16,384 bytes and a place: for urgent calls only.
    assertEquals(waits.id, undefined);
    assertEquals(urgent[fit].id, 2 + fit);
    connection.abort();
    await connection.closed;
    assertNothingLeft(connection);
  }
});

test("[WI10] a server accepts 16 urgent calls beyond its window, and one more is a fault", async () => {
  for (const over of [false, true]) {
    const services = { Test: { hold: () => new Promise(() => {}) } };
    const facing = faceServer(services, { windowCalls: 64 });
    const { connection, peer } = facing;
    await peer.send(hello());
    await peer.nextOf(KIND.HELLO);
    let id = 1;
    const requests: Uint8Array[] = [];
    while (id <= 64) requests.push(request(id++, "Test.hold"));
    while (id <= 80) requests.push(urgentRequest(id++, "Test.hold"));
    await peer.send(...requests);
    await settle();
    assertEquals(connection.stats().receiving, 80);
    if (over) {
      await peer.send(urgentRequest(id, "Test.hold"));
      await assertCloses(facing, "resource_exhausted");
    } else {
      // An urgent call does not make room for one that is not.
      await peer.send(request(id, "Test.hold"));
      await assertCloses(facing, "resource_exhausted");
    }
  }
});

test("an urgent call starts while maxRunning handlers run, 16 of them at most, and before calls that wait", async () => {
  const started: string[] = [];
  const open: (() => void)[] = [];
  const services = {
    Test: {
      work: (name: string) => {
        started.push(name);
        return new Promise<void>((resolve) => open.push(resolve));
      },
    },
  };
  const { client, connection, close } = pair(services, {
    server: { maxRunning: 2 },
  });
  const calls = ["a", "b", "c"].map((name) => client.call("Test.work", name));
  for (let i = 0; i < 17; i++) {
    calls.push(client.call("Test.work", `u${i}`, { priority: "urgent" }));
  }
  await settle();
  const urgent = Array.from({ length: 16 }, (_, i) => `u${i}`);
  assertEquals(started, ["a", "b", ...urgent]);
  assertEquals(connection.stats().waiting, 2);
  open.shift()?.();
  await settle();
  assertEquals(started.slice(18), ["u16"]);
  while (open.length > 0) {
    open.shift()?.();
    await settle();
  }
  await Promise.all(calls);
  assertEquals(started.at(-1), "c");
  await close();
});

test("an urgent call of a server with maxRunning over all connections starts beyond it", async () => {
  const started: string[] = [];
  const services = {
    Test: {
      work: (name: string) => {
        started.push(name);
        return new Promise<void>(() => {});
      },
    },
  };
  const server = new Server(services, { maxTotalRunning: 1 } as object);
  const clients = [1, 2].map(() => {
    const [near, far] = memoryPair();
    server.accept(far);
    return new Client<typeof services>(near);
  });
  clients[0].call("Test.work", "a").catch(() => {});
  await settle();
  clients[1].call("Test.work", "b").catch(() => {});
  clients[1].call("Test.work", "u", { priority: "urgent" }).catch(() => {});
  await settle();
  assertEquals(started.includes("u"), true);
  for (const client of clients) await client.abort();
  await server.close({ timeout: 0 });
});

test("an urgent call starts no earlier than its connection is authorized", async () => {
  let accept = () => {};
  const started: string[] = [];
  const services = {
    Test: { work: (name: string) => void started.push(name) },
  };
  const { client, close } = pair(services, {
    server: {
      authorize: () =>
        new Promise((resolve) => accept = () => resolve("somebody")),
    },
  });
  const calls = [
    client.call("Test.work", "a"),
    client.call("Test.work", "u", { priority: "urgent" }),
  ];
  await settle();
  assertEquals(started, []);
  accept();
  await Promise.all(calls);
  assertEquals(started, ["u", "a"]);
  await close();
});

test("an urgent call of an ordered method keeps its turn", async () => {
  const log: string[] = [];
  const services = {
    Test: {
      add: ordered(async (name: string) => {
        await settle();
        log.push(name);
      }),
    },
  };
  const { client, close } = pair(services);
  await Promise.all([
    client.call("Test.add", "a"),
    client.call("Test.add", "b"),
    client.call("Test.add", "u", { priority: "urgent" }),
  ]);
  assertEquals(log, ["a", "b", "u"]);
  await close();
});

test("any other priority is a TypeError, and nothing is sent", async () => {
  const { client, close } = pair({ Test: { a: () => 1 } });
  for (const priority of ["high", "", 1, null, Symbol("x")]) {
    const options = { priority } as unknown as { priority: "urgent" };
    await assertRejects(
      () => client.call("Test.a", undefined, options),
      TypeError,
      "Cannot use priority",
    );
  }
  await close();
});

test("a PING goes ahead of what waits to be written", async () => {
  const { connection, peer } = faceClient();
  await peer.send(hello());
  await peer.nextOf(KIND.HELLO);
  await connection.opened;
  connection.go("Test.a");
  connection.ping().catch(() => {});
  assertEquals((await peer.next())?.kind, KIND.PING);
  assertEquals((await peer.next())?.kind, KIND.REQUEST);
  await peer.send(frame(KIND.PONG, 1));
  connection.abort();
  await connection.closed;
});
