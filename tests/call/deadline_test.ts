/** Deadlines: on both ends, at every point of a call's life. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type CallContext, Client, RpcError } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import {
  hello,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

type Any = Record<string, (params?: unknown) => string>;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => promise, RpcError);
  return `${error.code} ${error.outcome}`;
}

/** A pair whose ends share one clock that the test moves. */
function timed(held = new Held(), server = {}, client = {}) {
  const clock = new TestClock();
  const made = pair(held.services, {
    client: { clock, ...client },
    server: { clock, ...server },
  });
  return { ...made, clock, held };
}

test("[A8] a deadline that has passed sends nothing", async () => {
  const { client, close } = timed();
  for (const timeout of [0, -1, -Infinity]) {
    const reply = client.call("Held.work", 1, { timeout });
    assertEquals(await codeOf(reply), "deadline_exceeded not_sent");
  }
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("[A8] a deadline that passes while the call waits for the window", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { clock });
  await peer.send(hello({ calls: 1 }));
  await settle();
  client.go("first");
  const waiting = client.go("m", 1, { timeout: 100 });
  await clock.advance(99);
  assertEquals(client.stats().queued, 1);
  await clock.advance(1);
  assertEquals(await codeOf(waiting.reply), "deadline_exceeded not_sent");
  assertEquals(client.stats().queued, 0);
  await client.abort();
  assertEquals(clock.timers, 0);
});

test("[A8] a deadline that passes in flight cancels the call", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { clock });
  await peer.send(hello());
  await settle();
  const handle = client.go("m", 1, { timeout: 100 });
  await settle();
  await clock.advance(100);
  assertEquals(await codeOf(handle.reply), "deadline_exceeded unknown");
  assertEquals((await peer.nextOf(KIND.CANCEL)).id, handle.id);
  // [I3] The late reply is dropped, and frees the place.
  assertEquals(client.stats().inFlight, 1);
  await peer.send(reply(1));
  assertEquals(await handle.settled, "executed");
  assertEquals(client.stats().inFlight, 0);
  assertEquals(client.stats().lateReplies, 1);
  await client.abort();
});

test("[A8] a deadline after the reply has no effect, and no timer is left", async () => {
  const { client, close, clock } = timed();
  assertEquals(await client.call("Held.echo", 1, { timeout: 100 }), 1);
  assertEquals(client.stats().timers, 0);
  await clock.advance(1000);
  await close();
  assertEquals(clock.timers, 0);
});

test("all deadlines of a connection share one timer", async () => {
  const { client, close, clock, held } = timed();
  await client.call("Held.echo", 1);
  // Those that watch over the two ends.
  const before = clock.timers;
  const handles = Array.from(
    { length: 100 },
    (_, i) => client.go("Held.work", i, { timeout: 1000 - i }),
  );
  await settle();
  assertEquals(client.stats().timers, 100);
  // One for each end.
  assertEquals(clock.timers, before + 2);
  await clock.advance(950);
  const late = handles.filter((handle) => handle.outcome === "unknown");
  assertEquals(late.length, 100);
  assertEquals(client.stats().timers, 50);
  await clock.advance(50);
  assertEquals(client.stats().timers, 0);
  held.release();
  for (const handle of handles) {
    assertEquals(await handle.settled, "executed");
  }
  await close();
});

test("[A9] a request with nothing left of its deadline is refused", async () => {
  const held = new Held();
  const { server, close } = pair(held.services);
  const peer = new RawPeer();
  server.accept(peer.duplex);
  await peer.send(hello(), request(1, "Held.work", "x", 0));
  const error = await peer.nextOf(KIND.ERROR);
  assertEquals(readCode(error).code, "deadline_exceeded");
  assertEquals(error.flags, 0, "not STARTED");
  assertEquals(held.calls.length, 0);
  await peer.reset();
  await close();
});

test("[A9] a deadline that passes before the start is refused", async () => {
  const { client, close, clock, held } = timed(new Held(), { maxRunning: 1 });
  const running = client.go("Held.work");
  await settle();
  const waiting = client.go("Held.work", 2, { timeout: 50 });
  await settle();
  await clock.advance(50);
  assertEquals(await waiting.settled, "refused");
  assertEquals(held.calls.length, 1);
  held.release();
  await running.reply;
  await close();
});

test("[A9] a deadline that passes while the handler runs fires its signal", async () => {
  const { server, close, clock, held } = timed();
  // By hand, as a client of ours would send a CANCEL at the same moment.
  const peer = new RawPeer();
  server.accept(peer.duplex);
  await peer.send(hello(), request(1, "Held.work", "x", 50));
  await settle();
  const [{ ctx }] = held.calls;
  assertEquals(ctx.remaining, 50);
  assertEquals(ctx.deadline, clock.date() + 50);
  await clock.advance(20);
  assertEquals(ctx.remaining, 30);
  assert(!ctx.signal.aborted);
  await clock.advance(30);
  assertEquals((ctx.signal.reason as RpcError).code, "deadline_exceeded");
  held.release("late, but told");
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 1);
  await peer.reset();
  await close();
});

test("[A10] a wall clock that jumps moves no deadline", async () => {
  const { client, close, clock, held } = timed();
  const deadline = new Date(clock.date() + 100);
  const handle = client.go("Held.work", 1, { deadline });
  await settle();
  clock.jump(3_600_000);
  await clock.advance(99);
  assertEquals(handle.outcome, "unknown");
  clock.jump(-7_200_000);
  assertEquals(client.stats().timers, 1);
  await clock.advance(1);
  assertEquals(await codeOf(handle.reply), "deadline_exceeded unknown");
  held.release();
  await handle.settled;
  await close();
});

test("[A11] any number is a timeout; NaN is a TypeError", async () => {
  const { client, close } = timed();
  for (const timeout of [Infinity, 2 ** 31, 2 ** 40, 1e308]) {
    assertEquals(await client.call("Held.echo", 1, { timeout }), 1);
  }
  await assertRejects(
    () => client.call("Held.echo", 1, { timeout: NaN }),
    TypeError,
  );
  await assertRejects(
    () => client.call("Held.echo", 1, { deadline: new Date(NaN) }),
    TypeError,
  );
  await close();
});

test("[A11] a timeout above 2^31 ms fires when its time has come", async () => {
  // Else the watch over the connection is kept every minute of it.
  const quiet = {
    keepaliveTime: Infinity,
    writeTimeout: Infinity,
    messageTimeout: Infinity,
  };
  const { client, close, clock } = timed(new Held(), quiet, quiet);
  const handle = client.go("Held.work", 1, { timeout: 2 ** 32 });
  await settle();
  await clock.advance(2 ** 32 - 1);
  assertEquals(client.stats().timers, 1);
  await clock.advance(1);
  assertEquals(await codeOf(handle.reply), "deadline_exceeded unknown");
  await client.abort();
  await close();
});

test("the earlier of timeout and deadline counts, and a client's default holds where neither is given", async () => {
  const held = new Held();
  const clock = new TestClock();
  const { client, close } = pair(held.services, {
    client: { clock, timeout: 100 },
    server: { clock },
  });
  const byDefault = client.go("Held.work", 1);
  const own = client.go("Held.work", 1, { timeout: 200 });
  const both = client.go("Held.work", 1, {
    timeout: 200,
    deadline: clock.date() + 50,
  });
  await settle();
  assertEquals(held.calls.map((call) => call.ctx.remaining), [100, 200, 50]);
  await clock.advance(200);
  held.release();
  for (const handle of [byDefault, own, both]) await handle.settled;
  await close();
});

test("a nested call inherits what is left of its handler's deadline", async () => {
  const clock = new TestClock();
  const inner = new Held();
  const options = { client: { clock }, server: { clock } };
  const far = pair(inner.services, options);
  const near = pair({
    Outer: {
      work: (_: unknown, ctx: CallContext) =>
        far.client.call("Held.work", 1, { ctx, timeout: 1000 }),
    },
  }, options);
  const handle = near.client.go("Outer.work", undefined, { timeout: 100 });
  await settle();
  assertEquals(inner.calls[0].ctx.remaining, 100);
  await clock.advance(100);
  inner.release();
  assertEquals(await handle.settled, "executed");
  await near.close();
  await far.close();
});
