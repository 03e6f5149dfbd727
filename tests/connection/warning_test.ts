/**
 * A close in two steps: the warning, the calls that cross it, LAST, and the
 * GOAWAY that excludes nothing.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { callable, Client, memoryPair, RpcError, Server } from "../../mod.ts";
import { recorded } from "../../testing.ts";
import { settle, TestClock } from "../support/clock.ts";
import { Reconnecting } from "../support/dials.ts";
import { decodeAll } from "../support/frames.ts";
import {
  faceClient,
  faceServer,
  type Facing,
  type FacingServer,
  greet,
} from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  goaway,
  hello,
  isWarning,
  KIND,
  last,
  reply,
  request,
  warning,
  window,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** A server whose peer answers no warning by itself, and has said HELLO. */
async function silentPeer(
  services: object,
  options?: Parameters<typeof faceServer>[1],
): Promise<FacingServer> {
  const facing = faceServer(services, options);
  facing.peer.answersWarning = false;
  await greet(facing);
  return facing;
}

async function assertWarned({ peer }: Pick<Facing, "peer">): Promise<void> {
  const got = await peer.next();
  assert(got !== undefined && isWarning(got), `kind ${got?.kind}`);
}

/** The GOAWAY with `id`, and the FIN, and the end of the connection without an error. */
async function assertEnds(
  { peer, connection, clock }: Facing,
  id: number,
): Promise<void> {
  const got = await peer.next();
  assertEquals([got?.kind, got?.flags, got?.id], [KIND.GOAWAY, 0, id]);
  assertEquals(await peer.next(), undefined);
  await peer.end();
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
  assertEquals(clock.timers, 0);
}

test("[X8] calls that cross the warning are served, and the GOAWAY behind LAST excludes none", async () => {
  const facing = await silentPeer({ Test: { add: () => 1 } });
  const { peer, connection } = facing;
  const closed = connection.close();
  await peer.send(request(1, "Test.add"));
  await assertWarned(facing);
  assertEquals((await peer.next())?.id, 1);
  await peer.send(request(2, "Test.add"), last());
  const kinds = [await peer.next(), await peer.next()].map((got) => got?.kind);
  assertEquals(kinds.sort(), [KIND.REPLY, KIND.GOAWAY]);
  assertEquals(await peer.next(), undefined);
  await peer.end();
  await closed;
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
});

test("[X8] the close of a connection without calls takes one round trip more", async () => {
  const [near, far] = memoryPair();
  const server = new Server({ Test: { add: () => 1 } });
  const record = recorded(far);
  server.accept(record.duplex);
  const client = new Client(near);
  await client.call("Test.add");
  await server.close();
  const { sent, received } = record;
  const kinds = (bytes: Uint8Array) =>
    decodeAll([bytes], 1 << 20).frames.map(({ kind }) => kind);
  assertEquals(kinds(sent).slice(2), [KIND.GOAWAY, KIND.GOAWAY]);
  assertEquals(kinds(received).slice(2), [KIND.LAST]);
  assertEquals(await client.closed, undefined);
});

test("[X8] after a warning the calls that wait are sent as the window allows, and then LAST", async () => {
  const facing = faceClient();
  await greet(facing, { calls: 1 });
  const { connection, peer, clock } = facing;
  const calls = ["a", "b", "c"].map((name) => connection.go(name));
  await settle();
  await peer.send(warning());
  await settle();
  const late = await connection.call("d").then(() => {}, (error) => error);
  assert(late instanceof RpcError);
  assertEquals([late.code, late.outcome], ["unavailable", "not_sent"]);
  await assertRejects(() => connection.ready, RpcError);
  assertEquals(connection.stats().state, "open");
  for (const { id } of calls) {
    const got = await peer.next();
    assertEquals(got?.kind, KIND.REQUEST);
    await peer.send(reply(got!.id));
    assert(id === undefined || id === got!.id);
  }
  assertEquals((await peer.next())?.kind, KIND.LAST);
  await peer.send(goaway(calls[2].id));
  await peer.end();
  assertEquals(await peer.next(), undefined);
  for (const call of calls) assertEquals(await call.settled, "executed");
  assertEquals(await connection.closed, undefined);
  assertEquals(clock.timers, 0);
});

test("[X8] LAST also follows when the last call that waits is given up", async () => {
  for (const how of ["abort", "deadline"] as const) {
    const facing = faceClient();
    await greet(facing, { calls: 1 });
    const { connection, peer, clock } = facing;
    const first = connection.go("a");
    const second = connection.go("b", undefined, { timeout: 10 });
    await settle();
    await peer.send(warning());
    await settle();
    if (how === "abort") second.abort();
    else await clock.advance(10);
    assertEquals((await peer.next())?.id, first.id);
    assertEquals((await peer.next())?.kind, KIND.LAST);
    assertEquals(await second.settled, "not_sent");
    await connection.abort();
  }
});

test("[X8] ctx.draining fires at the warning, at both sides, and handlers that start later see it", async () => {
  const [ours, theirs] = [new Held(), new Held()];
  const [near, far] = memoryPair();
  const server = new Server(ours.services);
  const connection = server.accept(far);
  const client = new Client(near, { services: callable(theirs.services) });
  const calls = [client.go("Held.work"), connection.go("Held.work")];
  await settle();
  const draining = Promise.all([
    connection.draining,
    client.connection.draining,
  ]);
  const closed = server.close();
  const crossing = client.go("Held.work");
  await draining;
  await settle();
  const contexts = [...ours.calls, ...theirs.calls].map(({ ctx }) => ctx);
  assertEquals(contexts.map(({ draining }) => draining.aborted), [
    true,
    true,
    true,
  ]);
  assertEquals(contexts.map(({ signal }) => signal.aborted), [
    false,
    false,
    false,
  ]);
  ours.release("done");
  theirs.release("done");
  for (const { reply } of [...calls, crossing]) {
    assertEquals(await reply, "done");
  }
  await closed;
  assertEquals(await client.closed, undefined);
});

test("[X8] a close that may take no time, and one to a peer that makes no calls, has no warning", async () => {
  const close: Record<string, (facing: FacingServer) => Promise<unknown>> = {
    "no time": ({ connection }) => connection.close({ timeout: 0 }),
    "after LAST": async ({ connection, peer }) => {
      await peer.send(last());
      await settle();
      return connection.close();
    },
  };
  for (const [name, run] of Object.entries(close)) {
    const facing = await silentPeer({ Test: { add: () => 1 } });
    const closed = run(facing);
    const frames = await facing.peer.rest();
    assertEquals(frames.map(({ flags }) => flags), [1], name);
    await facing.peer.end();
    await closed;
    assertEquals(await facing.connection.closed, undefined);
  }
});

test("[X8] a peer that sends no LAST receives the GOAWAY when it has been quiet for a second", async () => {
  const facing = await silentPeer({ Test: { add: () => 1 } });
  const { peer, connection, clock } = facing;
  connection.close();
  await assertWarned(facing);
  await clock.advance(900);
  await peer.send(request(1, "Test.add"));
  assertEquals((await peer.next())?.kind, KIND.REPLY);
  await clock.advance(1000);
  assertEquals(connection.stats().state, "draining");
  await clock.advance(100);
  await assertEnds(facing, 1);
});

test("[X8] a peer whose calls fill the window, or whose message is not complete, is not quiet", async () => {
  const held = new Held();
  const facing = await silentPeer(held.services, { windowCalls: 2 });
  const { peer, connection, clock } = facing;
  await peer.send(request(1, "Held.work"), request(2, "Held.work"));
  await settle();
  connection.close({ timeout: 60_000 });
  await assertWarned(facing);
  await clock.advance(10_000);
  held.release();
  assertEquals((await peer.next())?.id, 1);
  assertEquals((await peer.next())?.id, 2);
  const third = request(3, "Held.work", "x".repeat(100));
  await peer.send(third.subarray(0, 50));
  await clock.advance(10_000);
  await peer.send(third.subarray(50));
  await settle();
  held.release();
  assertEquals((await peer.next())?.id, 3);
  await clock.advance(2000);
  await assertEnds(facing, 3);
});

test("[X8] a peer whose calls fill a window that was lowered is not quiet", async () => {
  const held = new Held();
  const facing = faceServer(held.services, { windowCalls: 10 });
  const { peer, connection, clock } = facing;
  peer.answersWarning = false;
  await greet(facing, { windows: true });
  await peer.send(request(1, "Held.work"));
  connection.setWindow({ windowCalls: 1 });
  await peer.nextOf(KIND.WINDOW);
  await peer.send(window(1, 1, 16 << 20, true));
  await settle();
  connection.close({ timeout: 60_000 });
  await assertWarned(facing);
  await clock.advance(10_000);
  held.release();
  assertEquals((await peer.next())?.id, 1);
  await peer.send(request(2, "Held.work"));
  await settle();
  held.release();
  assertEquals((await peer.next())?.id, 2);
  await clock.advance(2000);
  await assertEnds(facing, 2);
});

test("[X8] a close that lacks nothing but LAST when its time is over ends without an error", async () => {
  const facing = await silentPeer({ Test: { add: () => 1 } });
  const { connection, clock } = facing;
  connection.close({ timeout: 50 });
  await assertWarned(facing);
  await facing.peer.send(request(1, "Test.add"));
  await facing.peer.next();
  await clock.advance(50);
  await assertEnds(facing, 1);
});

test("[X8] a server that closes before the peer's HELLO serves the calls that follow it", async () => {
  const facing = faceServer({ Test: { add: () => 1 } });
  const { peer, connection } = facing;
  peer.answersWarning = false;
  connection.close();
  assertEquals((await peer.next())?.kind, KIND.HELLO);
  await assertWarned(facing);
  await peer.send(hello(), request(1, "Test.add"), last());
  const kinds = [await peer.next(), await peer.next()].map((got) => got?.kind);
  assertEquals(kinds.sort(), [KIND.REPLY, KIND.GOAWAY]);
  await peer.end();
  assertEquals(await connection.closed, undefined);
});

test("[X8] two sides that serve each other and close at once refuse nothing", async () => {
  const [ours, theirs] = [new Held(), new Held()];
  const [near, far] = memoryPair();
  const clock = new TestClock();
  const server = new Server(ours.services, { clock });
  const connection = server.accept(far);
  const services = callable(theirs.services);
  const client = new Client(near, { services, clock });
  await client.call("Held.echo", 1);
  const calls = [client.go("Held.work"), connection.go("Held.work")];
  const closed = Promise.all([client.close(), server.close()]);
  await settle();
  ours.release("done");
  theirs.release("done");
  for (const { reply } of calls) assertEquals(await reply, "done");
  await closed;
  assertEquals(await client.closed, undefined);
  assertEquals(await connection.closed, undefined);
  assertEquals(clock.timers, 0);
});

test("[X8] a reconnecting client dials at the warning; the old connection sends what it has, and finishes it", async () => {
  const t = new Reconnecting(["peer"], {
    retry: { stableAfter: 1, base: 1, cap: 1 },
  });
  const old = await t.ready({ calls: 1 });
  const first = t.go("a");
  await settle();
  assertEquals((await old.nextOf(KIND.REQUEST)).id, first.id);
  await old.send(reply(first.id as number));
  assertEquals(await first.settled, "executed");
  const calls = [t.go("b"), t.go("c")];
  await settle();
  await old.send(warning());
  await t.advance(10);
  assertEquals(t.peers.length, 2);
  const next = await t.ready();
  const moved = t.go("d");
  await settle();
  const { id } = await next.nextOf(KIND.REQUEST);
  await next.send(reply(id));
  assertEquals(await moved.settled, "executed");
  for (const call of calls) {
    const got = await old.nextOf(KIND.REQUEST);
    await old.send(reply(got.id));
    assertEquals(await call.settled, "executed");
  }
  assertEquals((await old.rest()).map(({ kind }) => kind), [KIND.LAST]);
  assertEquals(t.client.stats().resent, 0);
  await old.end();
  await t.over();
});
