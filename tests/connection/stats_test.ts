/** What clients, servers and connections count. */

import { test } from "node:test";
import { assert, assertEquals, assertGreater } from "@std/assert";
import {
  type CallContext,
  Client,
  memoryPair,
  method,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { Reconnecting, sendGoaway, serving } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import {
  failure,
  frame,
  hello,
  KIND,
  RawPeer,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

const services = {
  S: {
    echo: (value: unknown) => value,
    fail: (_: null) => {
      throw new RpcError("out_of_luck", "as asked");
    },
    // Validated later: so it is kept from before its handler runs.
    end: method({
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => Promise.resolve({ value }),
      },
    }, (_: unknown, { connection }: CallContext) => {
      connection.abort();
      return new Promise(() => {});
    }),
  },
};

test("the caller counts calls by outcome, the server by how they ended", async () => {
  const { client, connection, close } = pair(services);
  const ignore = () => {};
  await client.call("S.echo", 1);
  await client.call("S.fail", null).catch(ignore);
  await client.call("S.none" as "S.echo", 1).catch(ignore);
  await client.call("S.echo", 1n).catch(ignore);
  const { settled } = client.stats();
  assertEquals(settled, { not_sent: 1, refused: 1, executed: 2, unknown: 0 });
  const { served } = connection.stats();
  assertEquals(served, { ok: 1, failed: 1, refused: 1, lost: 0 });
  await close();
});

test("calls of a lost connection count as unknown for the caller, as lost for the server", async () => {
  const held = new Held();
  const { client, connection, server } = pair(held.services);
  const calls = [1, 2].map((n) => client.call("Held.work", n).catch(() => {}));
  await settle();
  await connection.abort();
  await Promise.all(calls);
  assertEquals(client.stats().settled.unknown, 2);
  assertEquals(connection.stats().served.lost, 2);
  held.release();
  await client.closed;
  await server.close();
});

test("a handler that ends its own connection counts as lost once", async () => {
  const { client, connection, server } = pair(services);
  await client.call("S.end", null).catch(() => {});
  await client.closed;
  assertEquals(connection.stats().served.lost, 1);
  await server.close();
});

test("an aborted call is counted once, with its final outcome", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work", 1);
  await settle();
  handle.abort();
  assertEquals(client.stats().settled.unknown, 0);
  held.release();
  await handle.settled;
  const { settled } = client.stats();
  assertEquals(settled, { not_sent: 0, refused: 0, executed: 1, unknown: 0 });
  await close();
});

test("bytes queued, written and read are counted; what one side wrote the other has read", async () => {
  const { client, connection, close } = pair(services);
  await client.call("S.echo", "x".repeat(1000));
  await settle();
  const [near, far] = [client.stats(), connection.stats()];
  assertEquals(near.bytesWritten, far.bytesRead);
  assertEquals(far.bytesWritten, near.bytesRead);
  assertGreater(near.bytesWritten, 1000);
  await close();

  const peer = new RawPeer();
  const full = new Client<Held["services"]>(peer.duplex);
  await peer.send(hello({ calls: 1 }));
  await settle();
  for (const n of [1, 2]) full.go("Held.work", "y".repeat(n * 100));
  const { queued, queuedBytes, inFlightBytes } = full.stats();
  assertEquals([queued, queuedBytes], [1, inFlightBytes + 100]);
  await full.abort();
});

test("a server adds up its connections, those that are over included", async () => {
  const server = new Server(services);
  const connect = () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return new Client<typeof services>(near);
  };
  const [first, second] = [connect(), connect()];
  await first.call("S.echo", 1);
  await second.call("S.echo", 2);
  await first.close();
  await settle();
  const stats = server.stats();
  assertEquals([stats.connections, stats.accepted], [1, 2]);
  assertEquals(stats.served, { ok: 2, failed: 0, refused: 0, lost: 0 });
  assertGreater(stats.bytesRead, second.connection.stats().bytesWritten);
  assertEquals(stats.receiving, 0);
  await second.close();
  await server.close();
  assertEquals(server.stats().connections, 0);
});

test("a reconnecting client counts a call once, with the outcome of all its attempts", async () => {
  const t = new Reconnecting(["peer", "peer"]);
  const first = await t.ready();
  const handle = t.go("x");
  await settle();
  await sendGoaway(first);
  await t.advance(100);
  const second = await t.ready();
  assertEquals(t.client.stats().resent, 1);
  await second.send(reply(1));
  assertEquals(await handle.settled, "executed");
  const { settled, bytesWritten } = t.client.stats();
  // The first peer said that it refused the call.
  assertEquals(settled, { not_sent: 0, refused: 0, executed: 1, unknown: 0 });
  assertGreater(bytesWritten, 0);
  await t.over();
});

test("a reconnecting client counts a call that may have run as unknown, however its next attempt ends", async () => {
  const t = new Reconnecting(["peer", "peer"]);
  await t.ready();
  const handle = t.go("x", { idempotent: true });
  await settle();
  t.lose();
  await t.advance(100);
  const second = await t.ready();
  await second.send(failure(1, "not_found", "", false));
  assertEquals(await handle.settled, "unknown");
  const { settled } = t.client.stats();
  assertEquals(settled, { not_sent: 0, refused: 0, executed: 0, unknown: 1 });
  await t.over();
});

test("bytes of a chunk that takes several turns to decode are counted once", async () => {
  const peer = new RawPeer();
  const client = new Client(peer.duplex);
  const pads = Array.from({ length: 20_000 }, () => frame(KIND.PAD));
  await peer.send(hello(), ...pads);
  await settle(200);
  assertEquals(client.stats().bytesRead, hello().length + 12 * pads.length);
  await client.abort();
});

test("a reconnecting client's stats have the bytes that wait for a connection, and the round trip of the current one", async () => {
  const t = new Reconnecting(["peer"]);
  t.go("x".repeat(100));
  const { waiting, waitingBytes, rtt } = t.client.stats();
  assertEquals([waiting, rtt], [1, undefined]);
  assertGreater(waitingBytes, 100);
  await t.over();

  const server = new Server<object>(services);
  const client = new ReconnectingClient<typeof services>(serving(server));
  await client.ready;
  const ms = await client.connection?.ping();
  assertEquals(client.stats().rtt, ms);
  await client.close();
  await server.close();
});

test("[A12] a handler that ignores its signal counts as running until it settles", async () => {
  const held = new Held();
  const peer = new RawPeer();
  const server = new Server(held.services);
  const connection = server.accept(peer.duplex);
  await peer.send(hello(), request(1, "Held.work"));
  await settle();
  await connection.abort();
  assertEquals(connection.stats().running, 1);
  held.release();
  await settle();
  assertEquals(connection.stats().running, 0);
  assert(held.calls[0].ctx.signal.aborted);
  await server.close();
});
