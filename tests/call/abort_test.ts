/** Abort: what a signal does at every point of a call's life, and what it leaves. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  type CallHandle,
  Client,
  echoServices,
  type RpcError,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { FULL } from "../support/full.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { failure, hello, KIND, RawPeer, reply } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

type Any = Record<string, (params?: unknown) => string>;

/** What a promise rejects with, whatever it is. */
async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (reason) {
    return reason;
  }
  throw new Error("it did not reject");
}

/** A client whose peer is made by hand and has sent HELLO. */
async function raw(
  calls = 4096,
): Promise<{ peer: RawPeer; client: Client<Any> }> {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls }));
  await peer.nextOf(KIND.HELLO);
  return { peer, client };
}

test("[A1] a signal aborted before the call sends nothing", async () => {
  const { client, close } = pair(echoServices());
  const reason = { why: "before" };
  const handle = client.go("Echo.echo", 1, {
    signal: AbortSignal.abort(reason),
  });
  assertStrictEquals(await reasonOf(handle.reply), reason);
  assertEquals(handle.outcome, "not_sent");
  assertEquals(await handle.settled, "not_sent");
  assertEquals(await handle.sent, false);
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("[A2] a call that was taken back from its batch was not sent, whenever its handle is asked", async () => {
  const { client } = await raw();
  const controller = new AbortController();
  const { signal } = controller;
  const asksAtOnce = client.go("m", "x", { signal });
  const asksLater = client.go("m", "x", { signal });
  const sent = asksAtOnce.sent;
  client.go("after");
  controller.abort("now");
  await settle();
  // The batch has gone, and with it the ids of both calls.
  for (const handle of [asksAtOnce, asksLater]) {
    assertEquals(await handle.settled, "not_sent");
    assertEquals(handle.outcome, "not_sent");
  }
  assertEquals(await sent, false);
  assertEquals(await asksLater.sent, false);
  await client.abort();
});

test("[A2] aborted in the turn of the call, its frame becomes a PAD and no CANCEL follows", async () => {
  const { peer, client } = await raw();
  const controller = new AbortController();
  const before = client.go("before");
  const handle = client.go("m", "x", { signal: controller.signal });
  const after = client.go("after");
  controller.abort("now");
  assertEquals(handle.outcome, "not_sent");
  // Its place is taken until the batch has gone.
  assertEquals(client.stats().inFlight, 3);
  await settle();
  assertEquals(client.stats().inFlight, 2);
  assertEquals(await reasonOf(handle.reply), "now");
  const first = await peer.nextOf(KIND.REQUEST);
  const second = await peer.nextOf(KIND.REQUEST);
  assertEquals([first.id, second.id], [before.id, after.id]);
  await peer.send(reply(first.id), reply(second.id));
  assertEquals(await after.reply, "ok");
  const closed = client.close();
  for (const frame of await peer.rest()) {
    assert(frame.kind !== KIND.CANCEL);
  }
  await peer.end();
  await closed;
});

test("[A2] aborted while it waits for the window, a call leaves the queue", async () => {
  const { client, peer } = await raw(1);
  await settle();
  client.go("first");
  const controller = new AbortController();
  const handle = client.go("m", "x", { signal: controller.signal });
  assertEquals(client.stats().queued, 1);
  controller.abort();
  assertEquals(client.stats().queued, 0);
  assertEquals(handle.outcome, "not_sent");
  const error = await reasonOf(handle.reply) as DOMException;
  assertEquals(error.name, "AbortError");
  void peer;
  await client.abort();
});

test("[A2] aborted while the batch waits for the writer, a call is not sent", async () => {
  const peer = new RawPeer({ highWaterMark: 0 });
  const client = new Client<Any>(peer.duplex);
  await settle();
  // HELLO is being written and the peer does not read, so this batch waits.
  const stuck = client.go("stuck", new Uint8Array(30_000));
  await settle();
  const controller = new AbortController();
  const handle = client.go("m", "x", { signal: controller.signal });
  controller.abort();
  assertEquals(await handle.settled, "not_sent");
  stuck.reply.catch(() => {});
  await client.abort();
});

test("[A3] aborted before its handler starts, a call is refused", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, { server: { maxRunning: 1 } });
  const running = client.go("Held.work", 1);
  await settle();
  const controller = new AbortController();
  const waiting = client.go("Held.work", 2, { signal: controller.signal });
  await settle();
  controller.abort("stop");
  assertEquals(await reasonOf(waiting.reply), "stop");
  assertEquals(waiting.outcome, "unknown");
  assertEquals(await waiting.settled, "refused");
  assertEquals(held.calls.length, 1);
  held.release();
  await running.reply;
  await close();
});

test("[A3] aborted while its handler runs, the handler's signal fires once and the outcome is executed", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const controller = new AbortController();
  const handle = client.go("Held.work", 1, { signal: controller.signal });
  await settle();
  const [{ ctx }] = held.calls;
  let fired = 0;
  ctx.signal.addEventListener("abort", () => fired++);
  controller.abort("stop");
  assertEquals(await reasonOf(handle.reply), "stop");
  await settle();
  assertEquals(fired, 1);
  assertEquals((ctx.signal.reason as RpcError).code, "cancelled");
  assertEquals(client.stats().inFlight, 1, "the place is held");
  held.release();
  assertEquals(await handle.settled, "executed");
  assertEquals(client.stats().inFlight, 0);
  assertEquals(client.stats().lateReplies, 1);
  await close();
});

test("[A3] a handler that first looks at its signal after the abort sees it fired", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work", 1);
  await settle();
  handle.abort();
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  await handle.settled;
  await close();
});

test("[A4] abort after settle, and abort twice, have no effect", async () => {
  const { peer, client } = await raw();
  const controller = new AbortController();
  const { signal } = controller;
  const done = client.go("done", "x", { signal });
  const twice = client.go("twice");
  await peer.send(reply((await peer.nextOf(KIND.REQUEST)).id));
  assertEquals(await done.reply, "ok");
  controller.abort();
  done.abort();
  assertEquals(done.outcome, "executed");
  twice.abort("first");
  twice.abort("second");
  assertEquals(await reasonOf(twice.reply), "first");
  assertEquals((await peer.nextOf(KIND.CANCEL)).id, twice.id);
  await peer.send(failure(2, "cancelled", "", false));
  assertEquals(await twice.settled, "refused");
  const closed = client.close();
  for (const frame of await peer.rest()) assert(frame.kind !== KIND.CANCEL);
  await peer.end();
  await closed;
});

test("[A5] one signal on 10,000 calls: one listener, all reject, the CANCELs leave together", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, {
    server: { windowCalls: 10_000, maxRunning: 10_000 },
  });
  await client.call("Held.echo", 1);
  const controller = new AbortController();
  const { signal } = controller;
  const handles = Array.from(
    { length: 10_000 },
    (_, i) => client.go("Held.work", i, { signal }),
  );
  await settle(16);
  assertEquals(held.calls.length, 10_000);
  assertEquals(client.stats().listeners, 1);
  const { chunksWritten } = client.stats();
  controller.abort("all");
  for (const handle of handles) {
    assertEquals(await reasonOf(handle.reply), "all");
  }
  await settle();
  assertEquals(client.stats().chunksWritten, chunksWritten + 1);
  assertEquals(client.stats().listeners, 0);
  held.release();
  for (const handle of handles) await handle.settled;
  await close();
});

test("[A6] any reason is handed through as it is", async () => {
  const { client, close } = pair(new Held().services);
  for (
    const reason of ["text", 0, null, new Error("e"), Object.freeze({ a: 1 })]
  ) {
    const controller = new AbortController();
    const { signal } = controller;
    const reply = client.call("Held.work", 1, { signal });
    controller.abort(reason);
    assertStrictEquals(await reasonOf(reply), reason);
  }
  await close();
});

test("[A7] a reply and an abort that cross settle the call once", async () => {
  for (let turns = 0; turns < 6; turns++) {
    const { client, close } = pair(echoServices());
    const controller = new AbortController();
    const { signal } = controller;
    const handle = client.go("Echo.echo", "x", { signal });
    let told = 0;
    handle.reply.then(() => told++, () => told++);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    controller.abort();
    await handle.settled;
    await settle();
    assertEquals(told, 1);
    await close();
  }
});

test("[A12] a handler that ignores its signal holds its place, not its caller", async () => {
  const held = new Held();
  const { client, connection, close } = pair(held.services);
  const handle = client.go("Held.work");
  await settle();
  handle.abort("gone");
  assertEquals(await reasonOf(handle.reply), "gone");
  await settle();
  assertEquals(connection.stats().running, 1);
  assertEquals(connection.stats().receiving, 1);
  held.release();
  await handle.settled;
  await close();
});

for (const stalled of [false, true]) {
  const how = stalled ? "under a stalled write" : "in one turn";
  test(`[A13] call then abort in a loop, ${how}, stays within the window`, async () => {
    const peer = new RawPeer({ highWaterMark: 0 });
    const client = new Client<Any>(peer.duplex);
    const hearing = peer.send(hello());
    await peer.nextOf(KIND.HELLO);
    await hearing;
    await settle();
    // The peer does not read from here on: writing the batch with this call never ends.
    const first = client.go("m", "x".repeat(1000));
    if (stalled) await settle();
    let most = 0;
    const count = FULL ? 10_000_000 : 100_000;
    for (let i = 0; i < count; i++) {
      client.go("m", i).abort();
      most = Math.max(most, client.stats().outgoingBytes);
    }
    const { inFlight, inFlightBytes, queued } = client.stats();
    assertEquals(queued, 0);
    assert(inFlight <= 4096, `${inFlight} calls`);
    // Every one of them is a PAD of some 20 bytes, and holds its place.
    assert(most <= inFlightBytes, `${most} bytes`);
    assert(most <= 4096 * 64, `${most} bytes`);
    await client.abort();
    assertEquals(await first.settled, stalled ? "unknown" : "not_sent");
    assertNothingLeft(client.connection);
  });
}

test("[F1] call then cancel as fast as possible never passes the limit of running handlers", async () => {
  const held = new Held();
  const { client, connection, close } = pair(held.services, {
    server: { maxRunning: 8 },
  });
  let most = 0;
  const all: Promise<string>[] = [];
  const count = FULL ? 1_000_000 : 2000;
  for (let i = 0; i < count; i++) {
    const handle = client.go("Held.work", i);
    all.push(handle.settled);
    if (i % 50 === 0) await settle(1);
    handle.abort();
    most = Math.max(most, connection.stats().running);
    if (i % 100 === 0) {
      for (const call of held.calls.splice(0)) call.resolve();
    }
  }
  await settle();
  assert(most <= 8);
  for (let i = 0; client.stats().inFlight > 0 && i < 1000; i++) {
    held.release();
    await settle(1);
  }
  await Promise.all(all);
  await close();
});

test("a nested call inherits its handler's signal", async () => {
  const inner = new Held();
  const far = pair(inner.services);
  const near = pair({
    Outer: {
      work: (_: unknown, ctx: import("../../mod.ts").CallContext) =>
        far.client.call("Held.work", "nested", { ctx }),
    },
  });
  const handle = near.client.go("Outer.work", undefined);
  await settle();
  handle.abort("up");
  await settle();
  const reason = inner.calls[0].ctx.signal.reason as RpcError;
  assertEquals(reason.code, "cancelled");
  inner.release();
  assertEquals(await handle.settled, "executed");
  await near.close();
  await far.close();
  await assertRejects(() => handle.reply);
});

/** A signal that runs `code` when the library takes its listener away, which it does when it settles the call. */
function meddling(code: () => void): AbortSignal {
  const { signal } = new AbortController();
  const remove = signal.removeEventListener.bind(signal);
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    remove(...args);
    code();
  };
  return signal;
}

for (const windowCalls of [1, 64]) {
  for (const flushed of [true, false]) {
    test(`[L1] code that aborts the other calls while a lost connection settles one disturbs nothing (window ${windowCalls}, ${flushed ? "flushed" : "in the batch"})`, async () => {
      const held = new Held();
      const { client, close } = pair(held.services, {
        server: { windowCalls },
      });
      await client.call("Held.echo", 0);
      const others: CallHandle[] = [];
      const signal = meddling(() => others.forEach((other) => other.abort()));
      const first = client.go("Held.work", 1, { signal });
      for (let i = 2; i < 5; i++) {
        others.push(
          client.go("Held.work", i, { signal: meddling(() => first.abort()) }),
        );
      }
      if (flushed) await settle();
      await client.connection.abort();
      await client.closed;
      const outcomes = await Promise.all(
        [first, ...others].map((c) => c.settled),
      );
      assertEquals(outcomes.length, 4);
      const { settled, inFlight, inFlightBytes, queued, queuedBytes } = client
        .connection.stats();
      const counted = Object.values(settled).reduce((a, b) => a + b);
      assertEquals([counted, inFlight, inFlightBytes, queued, queuedBytes], [
        5,
        0,
        0,
        0,
        0,
      ]);
      held.release();
      await close();
    });
  }
}
