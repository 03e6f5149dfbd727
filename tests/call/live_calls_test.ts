/** What hangs? The list of calls that have not ended. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  type CallContext,
  Client,
  type LiveCall,
  method,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { Reconnecting } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { hello, RawPeer, request } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

function brief(calls: LiveCall[]): unknown[] {
  return calls.map(({ side, method, id, state, age }) => [
    side,
    ...[method, id, state, age],
  ]);
}

test("a client lists its calls: abandoned, sent, batched, queued", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Held["services"]>(peer.duplex, { clock });
  await peer.send(hello({ calls: 3 }));
  await settle();
  const first = client.go("Held.work", 1);
  await clock.advance(100);
  client.go("Held.work", 2, { timeout: 5000 });
  await clock.advance(20);
  first.abort();
  client.go("Held.echo", 3);
  client.go("Held.work", 4);
  assertEquals(brief(client.calls()), [
    ["client", "Held.work", 1, "abandoned", 120],
    ["client", "Held.work", 2, "sent", 20],
    ["client", "Held.echo", 3, "batched", 0],
    ["client", "Held.work", undefined, "queued", 0],
  ]);
  const [, second, third] = client.calls();
  assertEquals([second.remaining, third.remaining], [4980, Infinity]);
  const bytes = client.calls().slice(0, 3).map((call) => call.bytes);
  assertEquals(bytes.reduce((a, b) => a + b), client.stats().inFlightBytes);
  await client.abort();
  assertEquals(client.calls(), []);
});

test("a server lists the calls it serves: running, cancelled, validating, waiting", async () => {
  const clock = new TestClock();
  const held = new Held();
  const checked = Promise.withResolvers<{ value: unknown }>();
  const services = {
    ...held.services,
    checked: method({
      "~standard": {
        version: 1,
        vendor: "test",
        validate: () => checked.promise,
      },
    }, (value: unknown) => value),
  };
  const { client, server, close } = pair(services, {
    server: { clock, maxRunning: 3 },
  });
  client.go("Held.work", 1);
  const given = client.go("Held.work", 2);
  await settle();
  await clock.advance(50);
  client.go("checked", 3);
  client.go("Held.work", 4, { timeout: 60_000 });
  await settle();
  given.abort();
  await settle();
  await clock.advance(7);
  const calls = server.calls();
  assertEquals(brief(calls), [
    ["server", "Held.work", 1, "running", 57],
    ["server", "Held.work", 2, "cancelled", 57],
    ["server", "checked", 3, "validating", 7],
    ["server", "Held.work", 4, "waiting", 7],
  ]);
  checked.resolve({ value: 3 });
  held.release();
  await settle();
  held.release();
  await close();
  assertEquals(server.calls(), []);
});

test("a call whose result is a stream is listed on both sides until that has ended", async () => {
  const gate = Promise.withResolvers<void>();
  const { client, server, close } = pair({
    slow: async function* (_: null) {
      yield 1;
      await gate.promise;
    },
  });
  const items = await client.call("slow", null);
  await settle();
  const states = () =>
    [...client.calls(), ...server.calls()]
      .map(({ side, state }) => `${side} ${state}`);
  assertEquals(states(), ["client streaming", "server streaming"]);
  gate.resolve();
  assertEquals(await Array.fromAsync(items), [1]);
  await settle();
  assertEquals(states(), []);
  await close();
});

test("a handler that lists the calls finds its own call, once", async () => {
  const seen: LiveCall[][] = [];
  const look = (_: unknown, { connection }: CallContext) =>
    void seen.push(connection.calls());
  const any = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value: unknown) => Promise.resolve({ value }),
    },
  } as const;
  const { client, close } = pair({ look, later: method(any, look) });
  await client.call("look", null);
  await client.call("later", null);
  assertEquals(seen.map((calls) => calls.map((call) => call.method)), [
    ["look"],
    ["later"],
  ]);
  await close();
});

test("a reconnecting client lists what waits for a connection, and how old it is over all its sendings", async () => {
  const t = new Reconnecting(["peer"]);
  t.go("x");
  await t.advance(30);
  assertEquals(brief(t.client.calls()), [[
    "client",
    "m",
    undefined,
    "away",
    30,
  ]]);
  await t.ready();
  await t.advance(12);
  assertEquals(brief(t.client.calls()), [["client", "m", 1, "sent", 42]]);
  t.lose();
  await settle();
  assertEquals(t.client.calls(), []);
  await t.over();
});

test("a call made after a long silence is new, and so is one that comes then", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const held = new Held();
  const server = new Server(held.services, { clock, keepaliveTime: Infinity });
  const connection = server.accept(peer.duplex);
  await peer.send(hello(), request(1, "Held.work"));
  await settle();
  await clock.advance(600_000);
  await peer.send(request(2, "Held.work"));
  await settle();
  connection.go("m");
  assertEquals(connection.calls().map((call) => call.age), [0, 600_000, 0]);
  held.release();
  await connection.abort();
  await server.close();
});

test("ages are right when the clock passes 2^32 milliseconds", async () => {
  const clock = new TestClock();
  await clock.advance(2 ** 32 - 1_000_010);
  const peer = new RawPeer();
  const client = new Client<Held["services"]>(peer.duplex, {
    clock,
    keepaliveTime: Infinity,
    handshakeTimeout: Infinity,
  });
  client.go("Held.work", 1);
  await clock.advance(25);
  assertEquals(client.calls()[0].age, 25);
  await client.abort();
});
