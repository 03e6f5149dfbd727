/** What close() does while it drains: its time limit, calls it gives up, streams without an end. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  memoryPair,
  method,
  ordered,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { decodeAll } from "../support/frames.ts";
import { Reconnecting } from "../support/dials.ts";
import { faceClient, faceServer, greet } from "../support/facing.ts";
import { faceJsonClient, faceJsonServer } from "../support/json_peer.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  data,
  end,
  frame,
  goaway,
  hello,
  join,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

async function errorOf(promise: Promise<unknown>): Promise<RpcError> {
  return await assertRejects(() => promise, RpcError);
}

// X8: the time that close() gives.

test("[X8] when a client's drain runs out of time, the signal of the server's handler fires", async () => {
  const clock = new TestClock();
  const held = new Held();
  const t = pair(held.services, { client: { clock } });
  const call = t.client.go("Held.work");
  await settle();
  const closing = t.client.close({ timeout: 200 });
  await clock.advance(199);
  assert(!held.calls[0].ctx.signal.aborted);
  await clock.advance(1);
  const reason = held.calls[0].ctx.signal.reason as RpcError;
  assertEquals(reason.code, "cancelled");
  const error = await errorOf(call.reply);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  await closing;
  await t.close();
});

test("[X8] a drain that runs out of time sends one CANCEL for each call that the peer has, before GOAWAY", async () => {
  const { client, peer, clock, connection } = faceClient();
  await greet({ peer, connection, clock });
  const calls = [1, 2, 3].map(() => client.connection.go("m"));
  await settle();
  calls[1].abort();
  await settle();
  client.close({ timeout: 100 });
  await settle();
  await clock.advance(100);
  const heard = await peer.rest();
  assertEquals(
    heard.filter(({ kind }) => kind !== KIND.REQUEST)
      .map(({ kind, id }) => kind === KIND.CANCEL ? id : kind),
    [calls[1].id, KIND.GOAWAY, calls[0].id, calls[2].id, KIND.GOAWAY],
  );
  await peer.end();
  await client.closed;
  assertNothingLeft(connection);
});

test("[X8] JSON-RPC: a client whose drain runs out of time cancels the calls that are left", async () => {
  const { client, peer, clock, connection } = faceJsonClient<
    Record<string, () => unknown>
  >({ dialect: "lsp" });
  client.go("work");
  await settle();
  client.close({ timeout: 100 });
  await clock.advance(100);
  const heard = (await peer.rest()) as { method: string }[];
  assertEquals(heard.map(({ method }) => method), ["work", "$/cancelRequest"]);
  await peer.end();
  await client.connection.closed;
  assertNothingLeft(connection);
});

test("[X8] the shortest timeout of all close() calls applies; a close() without one changes nothing", async () => {
  const facing = faceClient({ keepaliveTime: Infinity });
  const { client, clock } = facing;
  await greet(facing);
  client.connection.go("m");
  await settle();
  const first = client.close({ timeout: Infinity });
  assertEquals(client.close(), first);
  await clock.advance(60_000 - 1);
  assertEquals(client.stats().state, "draining");
  client.close({ timeout: 9000 });
  client.close({ timeout: 100 });
  client.close({ timeout: 500 });
  await clock.advance(99);
  assertEquals(client.stats().state, "draining");
  await clock.advance(1);
  assertEquals(client.stats().state, "finishing");
  await clock.advance(1000);
  await first;
  assertNothingLeft(client.connection);
  assertEquals(clock.timers, 0);
});

test("[X8] a drain without a limit, of a call that a silent server never answers, ends with the handshake", async () => {
  const { client, clock } = faceClient();
  const call = client.connection.go("m");
  const closing = client.close({ timeout: Infinity });
  await clock.advance(9_999);
  assertEquals(client.stats().state, "draining");
  await clock.advance(1);
  assertEquals(await call.settled, "unknown");
  await clock.advance(6000);
  await closing;
  assertEquals((await client.closed)?.code, "deadline_exceeded");
});

test("[X8] close() throws a TypeError for a timeout that is not a number", async () => {
  const t = pair({ Test: { call: () => 1 } });
  const again = new ReconnectingClient(() => new Promise(() => {}));
  for (const end of [t.client, t.server, t.connection, again]) {
    assertThrows(() => void end.close({ timeout: NaN }), TypeError, "timeout");
  }
  assertEquals(t.client.stats().state, "open");
  await t.close();
  await again.abort();
});

test("[X8] server.close({ timeout }) resolves in time whatever its peers do", async () => {
  const clock = new TestClock();
  const held = new Held();
  const server = new Server(held.services, {
    clock,
    maxConnections: 6,
    onError: () => {},
    keepaliveTime: Infinity,
  });
  const peers = Array.from({ length: 7 }, () => new RawPeer());
  const [silent, busy, half, failed, stalled, broken, turned] = peers;
  const accepted = peers.slice(0, 6).map(({ duplex }) => server.accept(duplex));
  assertThrows(() => server.accept(turned.duplex));
  await busy.send(hello(), request(1, "Held.work"));
  await half.send(hello(), request(1, "Held.work"), goaway(undefined));
  await half.end();
  await failed.send(hello(), request(1, "Held.work"), goaway(0, "internal"));
  await stalled.send(
    hello(),
    ...[1, 2, 3].map((id) => request(id, "Held.echo", "x".repeat(60_000))),
  );
  await broken.send(hello(), frame(0x7f));
  await settle();
  void silent;
  let closed = false;
  const closing = server.close({ timeout: 100 }).then(() => closed = true);
  await clock.advance(1099);
  assert(!closed);
  await clock.advance(1);
  assert(closed);
  await closing;
  for (const connection of accepted) assertNothingLeft(connection);
  assertEquals(clock.timers, 0);
  assert(held.calls.every(({ ctx }) => ctx.signal.aborted));
});

test("[X8] a later, shorter close of a server applies to all of its connections", async () => {
  const clock = new TestClock();
  const held = new Held();
  const t = pair(held.services, { server: { clock } });
  t.client.go("Held.work");
  await settle();
  const closing = t.server.close({ timeout: Infinity });
  assertEquals(t.server.close({ timeout: 50 }), closing);
  await clock.advance(1050);
  await closing;
  await t.close();
});

test("[X8] a reconnecting client's close() resolves within the shortest timeout given", async () => {
  const t = new Reconnecting(["peer"]);
  const peer = await t.ready();
  const call = t.go();
  await settle();
  const closing = t.client.close({ timeout: Infinity });
  await settle();
  assertEquals(t.client.close({ timeout: 100 }), closing);
  await t.advance(99);
  assertEquals(call.outcome, "unknown");
  await t.advance(1);
  assertEquals(await call.settled, "unknown");
  await t.advance(1000);
  await closing;
  assertEquals((await peer.nextOf(KIND.CANCEL)).id, call.id);
  await t.over();
});

test("[X8] a reconnecting client's close() also applies to connections that only finish their calls", async () => {
  const t = new Reconnecting(["peer", "peer"]);
  const peer = await t.ready();
  const call = t.go();
  await settle();
  // The first connection goes on with its call only; without a limit.
  await peer.send(goaway(call.id));
  await t.advance(1000);
  await t.ready();
  const closing = t.client.close({ timeout: 100 });
  await t.advance(100);
  assertEquals(await call.settled, "unknown");
  await t.advance(1000);
  await closing;
  await t.over();
});

// X8: the peer's GOAWAY.

test("[X8] a GOAWAY in place of HELLO ends the connection, whatever follows", async () => {
  for (const code of ["", "unauthenticated"]) {
    const { client, peer, clock } = faceClient();
    const call = client.connection.go("m");
    await peer.send(goaway(undefined, code), hello());
    await settle();
    assertEquals(client.stats().state, "finishing");
    assertEquals(await call.settled, "refused");
    await clock.advance(1000);
    const reason = await client.closed;
    assertEquals(reason?.code, code === "" ? undefined : code);
    assertNothingLeft(client.connection);
    const last = (await peer.rest()).at(-1)!;
    assertEquals([last.kind, readCode(last).code], [KIND.GOAWAY, ""]);
  }
});

test("[X8] a GOAWAY with an id above the last call's refuses no call, one below the first refuses all", async () => {
  for (const [id, outcome] of [[7, "unknown"], [0, "refused"]] as const) {
    const facing = faceClient();
    const { client, peer } = facing;
    await greet(facing);
    const call = client.connection.go("m");
    await settle();
    await peer.send(goaway(id));
    await settle();
    assertEquals(call.outcome, outcome);
    await client.abort();
  }
});

test("[X8] the connection closes when the peer has sent GOAWAY and no call is left", async () => {
  const facing = faceServer({ Test: { call: () => 1 } });
  const { peer, connection, clock } = facing;
  await greet(facing);
  await peer.send(request(1, "Test.call"), goaway(undefined));
  // Calls that it made before may follow its GOAWAY.
  await clock.advance(4000);
  await peer.send(request(2, "Test.call"));
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 1);
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 2);
  await clock.advance(4000);
  assertEquals(connection.stats().state, "open");
  await clock.advance(7000);
  assert(connection.stats().state !== "open");
  const [said] = await peer.rest();
  assertEquals([said.kind, said.id], [KIND.GOAWAY, 2]);
  await clock.advance(1000);
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
});

// X37: calls that the server never started.

test("[X37] a drain that runs out of time refuses the calls that it never started", async () => {
  const clock = new TestClock();
  const held = new Held();
  const t = pair(held.services, { server: { clock, maxRunning: 2 } });
  const calls = Array.from(
    { length: 10 },
    (_, i) => t.client.go("Held.work", i),
  );
  await settle();
  const closing = t.server.close({ timeout: 100 });
  await clock.advance(100);
  const outcomes = await Promise.all(calls.map(({ settled }) => settled));
  assertEquals(outcomes.slice(0, 2), ["unknown", "unknown"]);
  assertEquals(new Set(outcomes.slice(2)), new Set(["refused"]));
  const error = await errorOf(calls[9].reply);
  assertEquals(error.code, "unavailable");
  assertEquals(held.calls.length, 2);
  await clock.advance(1000);
  await closing;
  await t.close();
});

test("[X37] so it does those that wait for an ordered call, while later ones run", async () => {
  const clock = new TestClock();
  const held = new Held();
  const services = {
    Line: ordered(held.services.Held),
    Free: held.services.Held,
  };
  const t = pair(services, { server: { clock } });
  const calls = ["Line.work", "Line.work", "Free.work", "Line.work"]
    .map((name) => t.client.connection.go(name));
  await settle();
  t.server.close({ timeout: 100 });
  await clock.advance(100);
  assertEquals(
    await Promise.all(calls.map(({ settled }) => settled)),
    ["unknown", "refused", "unknown", "refused"],
  );
  await clock.advance(1000);
  await t.close();
});

test("[X37] so it does those whose params are still being validated", async () => {
  const clock = new TestClock();
  const validate = () => new Promise<never>(() => {});
  const schema = {
    "~standard": { version: 1 as const, vendor: "test", validate },
  };
  let ran = false;
  const run = () => ran = true;
  const t = pair({ Test: { call: method(schema, run) } }, {
    server: { clock },
  });
  const call = t.client.connection.go("Test.call");
  await settle();
  t.server.close({ timeout: 100 });
  await clock.advance(100);
  assertEquals(await call.settled, "refused");
  assert(!ran);
  await clock.advance(1000);
  await t.close();
});

test("[X37] JSON-RPC: their replies say that they never started", async () => {
  const held = new Held();
  const { peer, connection, clock } = faceJsonServer(held.services, {
    maxRunning: 1,
  });
  for (const id of [1, 2, 3]) {
    await peer.send({ jsonrpc: "2.0", id, method: "Held.work" });
  }
  await settle();
  connection.close({ timeout: 100 });
  await clock.advance(100);
  const heard = (await peer.rest()) as { id: number; error: object }[];
  assertEquals(heard.map(({ id }) => id), [3, 2]);
  assert(heard.every(({ error }) => error !== undefined));
  await peer.end();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[X37] a reconnecting client sends calls refused by a drain to the next server", async () => {
  const clock = new TestClock();
  const held = new Held();
  const next = new Server({ Held: { work: () => "next" } });
  const first = new Server(held.services, { clock, maxRunning: 1 });
  let dialled = 0;
  const client = new ReconnectingClient<typeof held.services>(() => {
    const [near, far] = memoryPair();
    (dialled++ === 0 ? first as Server<object> : next).accept(far);
    return near;
  }, { retry: { base: 1, cap: 1 } });
  const calls = [1, 2, 3].map((n) => client.go("Held.work", n));
  while (held.calls.length === 0) await settle();
  await settle();
  const closing = first.close({ timeout: 100 });
  await clock.advance(100);
  assertEquals((await errorOf(calls[0].reply)).outcome, "unknown");
  assertEquals(await calls[1].reply, "next");
  assertEquals(await calls[2].reply, "next");
  await clock.advance(1000);
  await closing;
  await client.close();
  await next.close();
});

// X45: streams without an end.

/** A stream that yields one item and then waits for the signal it was given. */
function feed(wait: (ctx: CallContext) => Promise<unknown>, last?: number) {
  let open = 0;
  const services = {
    Feed: {
      async *items(_: undefined, ctx: CallContext): AsyncGenerator<number> {
        open++;
        try {
          yield 1;
          await wait(ctx);
          if (last !== undefined) yield last;
          while (true) yield 3;
        } finally {
          open--;
        }
      },
    },
  };
  return { services, open: () => open };
}

const fired = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

const untilDraining = ({ draining }: CallContext) => fired(draining);

for (const who of ["server", "client", "connection"] as const) {
  test(`[X45] ctx.draining fires when the ${who} closes, and the call goes on`, async () => {
    const held = new Held();
    const t = pair(held.services);
    const call = t.client.go("Held.work");
    await settle();
    const { draining, signal } = held.calls[0].ctx;
    assertEquals(held.calls[0].ctx.draining, draining);
    assert(!draining.aborted);
    const closing = t[who].close();
    await settle();
    assertEquals((draining.reason as RpcError).code, "unavailable");
    assert(!signal.aborted);
    held.release("done");
    assertEquals(await call.reply, "done");
    await closing;
    await t.close();
  });

  test(`[X45] close({ streams: "end" }) of a ${who} ends results in order`, async () => {
    const t = pair(feed(untilDraining).services);
    const reader = (await t.client.call("Feed.items")).getReader();
    assertEquals((await reader.read()).value, 1);
    const next = reader.read();
    await settle();
    const closing = t[who].close({ streams: "end" });
    // The source was asked for one more, and may still yield it.
    const { done, value } = await next;
    assert(done || value === 3);
    assertEquals(await reader.read(), { done: true, value: undefined });
    await closing;
    assertEquals(await t.client.closed, undefined);
    assertEquals(await t.connection.closed, undefined);
    await t.close();
    assertEquals(t.errors, []);
  });
}

test("[X45] ctx.draining has fired for a call that starts later, and fires on a loss", async () => {
  const held = new Held();
  const t = pair(held.services, { server: { maxRunning: 1 } });
  const calls = [t.client.go("Held.work"), t.client.go("Held.work")];
  await settle();
  const closing = t.server.close();
  await settle();
  held.calls[0].resolve();
  await settle();
  assert(held.calls[1].ctx.draining.aborted);
  assert(!held.calls[1].ctx.signal.aborted);
  held.release();
  await Promise.all(calls.map(({ reply }) => reply));
  await closing;
  await t.close();

  const other = pair(held.services);
  other.client.go("Held.work");
  await settle();
  const { draining } = held.calls.at(-1)!.ctx;
  await other.client.abort();
  await settle();
  assert(draining.aborted);
  held.release();
  await other.close();
});

test("[X45] close() waits for a result stream until its handler ends it on ctx.draining", async () => {
  const services = {
    Feed: {
      async *items(_: undefined, { draining }: CallContext) {
        while (!draining.aborted) {
          yield 1;
          await fired(draining);
        }
        yield 2;
      },
    },
  };
  const t = pair(services);
  const items = await t.client.call("Feed.items");
  const all = Array.fromAsync(items);
  await settle();
  await t.server.close();
  assertEquals(await all, [1, 2]);
  await t.close();
});

test("[X45] items that a source has yielded, and the one it was asked for, arrive before the end", async () => {
  const t = pair(feed(untilDraining, 2).services);
  const items = await t.client.call("Feed.items");
  const all = Array.fromAsync(items);
  await settle();
  await t.server.close({ streams: "end" });
  assertEquals(await all, [1, 2]);
  await t.close();
});

test("[X45] a source that throws an AbortError, or the signal's reason, has ended in order", async () => {
  for (const own of [true, false]) {
    const t = pair(
      feed(async ({ draining }) => {
        await fired(draining);
        if (own) throw draining.reason;
        throw new DOMException("gave up", "AbortError");
      }).services,
    );
    const all = Array.fromAsync(await t.client.call("Feed.items"));
    await settle();
    await t.server.close({ streams: "end" });
    assertEquals(await all, [1]);
    await t.close();
    assertEquals(t.errors, []);
  }
});

test("[X45] an iterator without return() has ended when it throws, or has yielded the item it was asked for", async () => {
  for (const gives of [true, false]) {
    let asked = 0;
    const t = pair({
      Feed: {
        items: (_: undefined, ctx: CallContext): AsyncIterable<number> => ({
          [Symbol.asyncIterator]: () => ({
            async next() {
              if (asked++ === 0) return { done: false, value: 1 };
              await untilDraining(ctx);
              if (!gives) ctx.draining.throwIfAborted();
              return { done: false, value: 2 };
            },
          }),
        }),
      },
    });
    const all = Array.fromAsync(await t.client.call("Feed.items"));
    await settle();
    await t.server.close({ streams: "end" });
    assertEquals(await all, gives ? [1, 2] : [1]);
    assertEquals(asked, 2);
    await t.close();
    assertEquals(t.errors, []);
  }
});

test("[X45] a source that fails while it is asked to end fails the stream", async () => {
  const t = pair(
    feed(async ({ draining }) => {
      await fired(draining);
      throw new RpcError("broken", "for another reason");
    }).services,
  );
  const all = Array.fromAsync(await t.client.call("Feed.items"));
  const failed = assertRejects(() => all, RpcError, "another reason");
  await settle();
  await t.server.close({ streams: "end" });
  await failed;
  await t.close();
});

test("[X45] a ReadableStream is cancelled, and END waits for its cleanup, whose error goes to onError", async () => {
  const cleanup = Promise.withResolvers<void>();
  let reason: unknown;
  const t = pair({
    Feed: {
      items: () =>
        new ReadableStream<number>({
          start: (controller) => controller.enqueue(1),
          async cancel(why) {
            reason = why;
            await cleanup.promise;
            throw new Error("cleanup failed");
          },
        }, { highWaterMark: 2 }),
    },
  });
  const reader = (await t.client.call("Feed.items")).getReader();
  assertEquals((await reader.read()).value, 1);
  let ended = false;
  const next = reader.read().then(({ done }) => ended = done);
  await settle();
  const closing = t.server.close({ streams: "end" });
  await settle();
  assertEquals((reason as RpcError).code, "unavailable");
  assert(!ended);
  cleanup.resolve();
  await next;
  assert(ended);
  await closing;
  await t.close();
  assertEquals(t.errors.map(({ error }) => (error as Error).message), [
    "cleanup failed",
  ]);
});

test("[X45] a source that does not react is given up when the time is over", async () => {
  const clock = new TestClock();
  const never = feed(() => new Promise(() => {}));
  const t = pair(never.services, { server: { clock } });
  const reader = (await t.client.call("Feed.items")).getReader();
  await reader.read();
  const next = assertRejects(() => reader.read(), RpcError);
  await settle();
  const closing = t.server.close({ timeout: 100, streams: "end" });
  await clock.advance(1100);
  await closing;
  await next;
  await t.close();
});

test("[X45] a stream that a handler returns after the close ends at once, and so does one that a closing client receives", async () => {
  for (const who of ["server", "client"] as const) {
    const gate = Promise.withResolvers<void>();
    const f = feed(untilDraining);
    const t = pair({
      Feed: {
        items: async (_: undefined, ctx: CallContext) => {
          await gate.promise;
          return f.services.Feed.items(undefined, ctx);
        },
      },
    });
    const call = t.client.call("Feed.items");
    await settle();
    const closing = t[who].close({ streams: "end" });
    await settle();
    gate.resolve();
    const rest = await Array.fromAsync(await call);
    assert(rest.length <= 1, `${rest}`);
    await closing;
    await t.close();
    assertEquals(f.open(), 0);
  }
});

test("[X45] a closing client sends STOP once, and reads the items that have arrived", async () => {
  const facing = faceClient();
  const { client, peer, connection } = facing;
  await greet(facing, { streams: { credit: 65_536, max: 10 } });
  const call = client.connection.go("m");
  await settle();
  const id = call.id as number;
  await peer.send(reply(id, [5]), data(id, [1, 55]), data(id, [1, 56]));
  const reader = (await call.reply as ReadableStream<unknown>).getReader();
  client.close({ streams: "end" });
  await settle();
  // The producer may not have read the STOP yet.
  await peer.send(data(id, [1, 57]));
  assertEquals((await reader.read()).value, 7);
  assertEquals((await reader.read()).value, 8);
  assertEquals((await reader.read()).done, true);
  assertEquals((await peer.nextOf(KIND.STOP)).id, id);
  assertEquals(client.stats().state, "draining");
  await peer.send(end(id, 0, "cancelled"));
  const rest = await peer.rest();
  assertEquals(rest.filter(({ kind }) => kind === KIND.STOP), []);
  await peer.end();
  assertEquals(await client.closed, undefined);
  assertNothingLeft(connection);
});

test('[X45] a reconnecting client passes `streams: "end"` to its connection', async () => {
  const f = feed(untilDraining);
  const server = new Server(f.services);
  const client = new ReconnectingClient<typeof f.services>(() => {
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  });
  const all = Array.fromAsync(await client.call("Feed.items"));
  await settle();
  await client.close({ streams: "end" });
  assertEquals(await all, [1]);
  await server.close();
  assertEquals(f.open(), 0);
});

// The code of END after a deadline.

test("[X8] a result whose deadline passed ends with deadline_exceeded, one that was cancelled with cancelled", async () => {
  for (const late of [true, false]) {
    const f = feed(({ signal }) => fired(signal));
    const facing = faceServer(f.services);
    const { peer, clock } = facing;
    await greet(facing, { streams: { credit: 65_536, max: 10 } });
    await peer.send(request(1, "Feed.items", [0], late ? 1000 : undefined));
    await settle();
    if (late) await clock.advance(1000);
    else await peer.send(frame(KIND.CANCEL, 1));
    const said = await peer.nextOf(KIND.END);
    const code = late ? "deadline_exceeded" : "cancelled";
    assertEquals(readCode(said).code, code);
    await facing.connection.abort();
  }
});

test("[X37] no waiting call starts when a result stream is released because its connection ends", async () => {
  let ran = 0;
  const services = {
    Feed: {
      // More than a reader grants that does not read: its source has ended, and it has not.
      items: () =>
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            controller.enqueue(new Uint8Array(65_000));
            controller.enqueue(new Uint8Array(1000));
            controller.close();
          },
        }),
      next: () => void ran++,
    },
  };
  for (const end of ["close", "abort"] as const) {
    const t = pair(services, { server: { maxRunning: 1 } });
    const result = await t.client.call("Feed.items");
    const behind = t.client.go("Feed.next");
    await settle();
    if (end === "close") t.server.close({ timeout: 0 });
    else t.connection.abort();
    const outcome = await behind.settled;
    assertEquals([ran, outcome], [0, end === "close" ? "refused" : "unknown"]);
    await result.cancel().catch(() => {});
    await t.close();
  }
});

test("a GOAWAY takes back every request that has not left, also one that its id would cover", async () => {
  const written: Uint8Array[] = [];
  let unblock = () => {};
  const blocked = new Promise<void>((resolve) => unblock = resolve);
  let peer!: ReadableStreamDefaultController<Uint8Array>;
  const client = new Client({
    readable: new ReadableStream({ start: (c) => void (peer = c) }),
    writable: new WritableStream({
      write: (chunk: Uint8Array) => {
        written.push(chunk);
        return blocked;
      },
    }),
  });
  // HELLO is with the transport, which takes nothing more: the request gathers behind it.
  await settle();
  const handle = client.go("S.work");
  await settle();
  peer.enqueue(join(hello(), goaway(100)));
  await settle();
  assertEquals([handle.id, handle.outcome], [1, "not_sent"]);
  unblock();
  await settle();
  const kinds = decodeAll([join(...written)]).frames.map(({ kind }) => kind);
  assertEquals(kinds.includes(KIND.REQUEST), false);
  await client.abort();
});

test("close({ ctx }) of a server excuses the call that closes it, and still waits for the calls of other connections", async () => {
  const order: string[] = [];
  const work = Promise.withResolvers<void>();
  const server: Server<object> = new Server<object>({
    S: {
      close: async (_: undefined, ctx: CallContext) => {
        await server.close({ ctx, timeout: 3000 });
        order.push("closed");
      },
      work: async () => {
        await work.promise;
        order.push("worked");
      },
    },
  });
  const clients = [0, 1].map(() => {
    const [near, far] = memoryPair();
    server.accept(far);
    return new Client(near);
  });
  const working = clients[0].call("S.work");
  await settle();
  const closing = clients[1].call("S.close");
  await settle();
  assertEquals(order, []);
  work.resolve();
  await Promise.all([working, closing]);
  assertEquals(order, ["worked", "closed"]);
  for (const client of clients) await client.close();
});
