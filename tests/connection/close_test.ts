/** Closing, draining and losing a connection: the outcome of every call. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  type CallContext,
  Client,
  ConnectionError,
  echoServices,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  goaway,
  hello,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

type Any = Record<string, (params?: unknown) => string>;

async function errorOf(promise: Promise<unknown>): Promise<RpcError> {
  return await assertRejects(() => promise, RpcError);
}

test("[L5] close right after 100,000 calls in one turn: all are answered", async () => {
  const { client, close } = pair(echoServices());
  const handles = Array.from(
    { length: 100_000 },
    (_, i) => client.go("Echo.echo", i),
  );
  const closed = client.close();
  for (let i = 0; i < handles.length; i++) {
    if (await handles[i].reply !== i) throw new Error(`call ${i}`);
  }
  await closed;
  assertEquals(await client.closed, undefined);
  await close();
});

test("[L5] close twice, in parallel and after, is one close", async () => {
  const { client, server, close } = pair(echoServices());
  const first = client.close();
  assertStrictEquals(client.close(), first);
  await first;
  assertStrictEquals(client.close(), first);
  assertStrictEquals(server.close(), server.close());
  await client[Symbol.asyncDispose]();
  await close();
});

test("[L6] a call after close rejects, not sent", async () => {
  const { client, close } = pair(echoServices());
  const closing = client.close();
  const during = await errorOf(client.call("Echo.echo", 1));
  assertEquals([during.code, during.outcome], ["unavailable", "not_sent"]);
  await closing;
  const after = await errorOf(client.call("Echo.echo", 1));
  assertEquals([after.code, after.outcome], ["unavailable", "not_sent"]);
  assert(after.cause instanceof ConnectionError);
  await close();
});

test("[L3] a drain that finishes loses nothing, on both sides", async () => {
  const held = new Held();
  const { client, server, close } = pair(held.services);
  const running = client.go("Held.work", 1);
  await settle();
  const closing = server.close();
  await settle();
  const refused = await errorOf(client.call("Held.echo", 1));
  assertEquals(refused.code, "unavailable");
  held.release("finished");
  assertEquals(await running.reply, "finished");
  await closing;
  assertEquals(await client.closed, undefined);
  await close();
});

test("[L3] a drain that runs out of time settles calls with their true outcome and fires the handler's signal", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { client, server, close } = pair(held.services, { server: { clock } });
  const running = client.go("Held.work", 1);
  await settle();
  const closing = server.close({ timeout: 100 });
  await clock.advance(100);
  assert(held.calls[0].ctx.signal.aborted);
  const error = await errorOf(running.reply);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  await clock.advance(2000);
  await closing;
  const reason = await client.closed;
  assertEquals(reason?.code, "deadline_exceeded");
  held.release();
  await close();
});

test("[L3] a client's drain that runs out of time settles the calls that are left", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { clock });
  await peer.send(hello({ calls: 1 }));
  await settle();
  const sent = client.go("m");
  const queued = client.go("m");
  const closing = client.close({ timeout: 100 });
  await settle();
  await clock.advance(100);
  assertEquals(await sent.settled, "unknown");
  assertEquals(await queued.settled, "not_sent");
  await clock.advance(1000);
  await closing;
  assertEquals((await client.closed)?.code, "deadline_exceeded");
  assertNothingLeft(client.connection);
});

test("[L4] a GOAWAY refuses the calls above its id and lets the others finish", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls: 4 }));
  await settle();
  const handles = Array.from({ length: 6 }, () => client.go("m"));
  await settle();
  await peer.send(goaway(2));
  const outcomes = handles.map((handle) => handle.settled);
  assertEquals(await outcomes[2], "refused");
  assertEquals(await outcomes[3], "refused");
  assertEquals(await outcomes[4], "not_sent");
  assertEquals(await outcomes[5], "not_sent");
  assertEquals(handles[0].outcome, "unknown");
  await peer.send(reply(2, "two"), reply(1, "one"));
  assertEquals(await handles[0].reply, "one");
  assertEquals(await handles[1].reply, "two");
  const error = await errorOf(handles[2].reply);
  assertEquals(error.code, "unavailable");
  await peer.end();
  assertEquals(await client.closed, undefined);
  assertNothingLeft(client.connection);
});

test("[L4] a GOAWAY can refuse all calls when the first id is near the end of its range", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { firstId: 0xfffffff0 });
  await peer.send(hello());
  const handles = Array.from({ length: 32 }, () => client.go("m"));
  await settle();
  await peer.send(goaway(undefined));
  for (const handle of handles) assertEquals(await handle.settled, "refused");
  await peer.end();
  await client.closed;
});

test("[L4] a GOAWAY tells ids before a wrap from ids after it", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { firstId: 0xfffffffe });
  await peer.send(hello());
  const handles = Array.from({ length: 4 }, () => client.go("m"));
  await settle();
  assertEquals(handles.map((h) => h.id), [0xfffffffe, 0xffffffff, 0, 1]);
  await peer.send(goaway(0));
  assertEquals(await handles[3].settled, "refused");
  assertEquals(handles[2].outcome, "unknown");
  await client.abort();
});

test("[L4] a second GOAWAY may have a lower id, never a higher one", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello());
  const handles = Array.from({ length: 4 }, () => client.go("m"));
  await settle();
  await peer.send(goaway(3), goaway(3), goaway(2));
  assertEquals(await handles[2].settled, "refused");
  assertEquals(handles[1].outcome, "unknown");
  await peer.send(goaway(4));
  assertEquals(await handles[1].settled, "unknown");
  await peer.end();
  assertEquals((await client.closed)?.code, "protocol_error");
});

test("[L18] replies, GOAWAY and FIN in one chunk: the replies are delivered", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello());
  const handles = [client.go("a"), client.go("b"), client.go("c")];
  await settle();
  await peer.send(reply(1), reply(2), goaway(2));
  await peer.end();
  assertEquals(await handles[0].reply, "ok");
  assertEquals(await handles[1].reply, "ok");
  assertEquals(await handles[2].settled, "refused");
  assertEquals(await client.closed, undefined);
});

test("[L18] a GOAWAY while REQUESTs are in the batch turns them into PADs", async () => {
  const peer = new RawPeer({ highWaterMark: 0 });
  const client = new Client<Any>(peer.duplex);
  const sending = peer.send(hello());
  await peer.nextOf(KIND.HELLO);
  await sending;
  await settle();
  // The first call is being written, in two chunks; the peer reads no more, so the
  // next ones wait.
  const bytes = new Uint8Array(40_000);
  const first = client.go("m", bytes, { transfer: true });
  await settle();
  const batched = client.go("m");
  const going = peer.send(goaway(1));
  await settle();
  assertEquals(await batched.settled, "not_sent");
  assertEquals(first.outcome, "unknown");
  await going;
  assertEquals((await peer.next())?.kind, KIND.REQUEST);
  const closing = client.close();
  await peer.send(reply(1));
  // PADs are not among the frames.
  assertEquals((await peer.rest()).map(({ kind }) => kind), [KIND.GOAWAY]);
  await peer.end();
  await closing;
});

test("[L2] after the caller's GOAWAY and FIN a handler still answers, and its signal does not fire", async () => {
  const held = new Held();
  const server = new Server(held.services);
  const peer = new RawPeer();
  const connection = server.accept(peer.duplex);
  await peer.send(hello(), request(1, "Held.work"), goaway(undefined));
  await peer.end();
  await settle();
  assert(!held.calls[0].ctx.signal.aborted);
  held.release("answer");
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 1);
  assertEquals(await connection.closed, undefined);
  await server.close();
});

test("[L1] a FIN without GOAWAY is a loss: signals fire, and replies already made are still written", async () => {
  const held = new Held();
  const server = new Server(held.services);
  const peer = new RawPeer();
  const connection = server.accept(peer.duplex);
  await peer.send(
    hello(),
    request(1, "Held.work"),
    request(2, "Held.echo", "made"),
  );
  await peer.end();
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 2);
  assertEquals(await peer.rest(), []);
  assertEquals((await connection.closed)?.code, "unavailable");
  const reason = held.calls[0].ctx.signal.reason as RpcError;
  assertEquals(reason.code, "unavailable");
  held.release("too late");
  await settle();
  assertNothingLeft(connection);
  await server.close();
});

test("[L1] when a connection is lost with replies in transit, each call settles with its true outcome", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  await peer.send(hello({ calls: 3 }));
  await settle();
  const handles = Array.from({ length: 5 }, () => client.go("m"));
  await settle();
  await peer.send(reply(2));
  await peer.reset();
  assertEquals(await handles[1].reply, "ok");
  const error = await errorOf(handles[0].reply);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  assert(error.cause instanceof ConnectionError);
  assert(error.cause.cause !== undefined, "the true reason is at the bottom");
  assertEquals(await handles[4].settled, "not_sent");
  const other = await errorOf(handles[2].reply);
  assert(other !== error, "one error per call");
  assertStrictEquals(other.cause, error.cause);
  await client.closed;
  assertNothingLeft(client.connection);
});

test("[B5] the error for a stream that ends inside a frame says how many bytes are missing", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex);
  const handle = client.go("m");
  await peer.send(hello(), reply(1).subarray(0, 13));
  await peer.end();
  const error = await errorOf(handle.reply);
  assertEquals(error.outcome, "unknown");
  const reason = await client.closed;
  assertEquals(reason?.code, "truncated");
  assert(reason?.message.includes("2 of 3 bytes missing"), reason?.message);
});

test("[L7] a writable that fails while the readable lives ends the connection with that cause", async () => {
  const boom = new Error("boom");
  const client = new Client<Any>({
    readable: new ReadableStream({ pull: () => new Promise(() => {}) }),
    writable: new WritableStream({
      write() {
        throw boom;
      },
    }),
  });
  const error = await errorOf(client.call("m"));
  assertStrictEquals((error.cause as ConnectionError).cause, boom);
  await client.closed;
  assertNothingLeft(client.connection);
});

test("[L7] a readable that fails while the writable lives ends the connection with that cause", async () => {
  const boom = new Error("boom");
  const client = new Client<Any>({
    readable: new ReadableStream({
      async pull() {
        await settle();
        throw boom;
      },
    }),
    writable: new WritableStream(),
  });
  const error = await errorOf(client.call("m"));
  assertEquals(error.outcome, "unknown");
  assertStrictEquals((error.cause as ConnectionError).cause, boom);
  await client.closed;
});

test("[L8] a locked stream is a TypeError at once", async () => {
  const [near] = memoryPair();
  const writer = near.writable.getWriter();
  assertThrows(() => new Client(near), TypeError, "locked");
  writer.releaseLock();
  const client = new Client(near);
  assertThrows(() => new Client(near), TypeError, "locked");
  await client.abort();
});

test("[L16] a peer that sends no HELLO is disconnected after the handshake timeout", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { clock });
  const handle = client.go("m");
  await settle();
  await clock.advance(10_000);
  assertEquals(await handle.settled, "unknown");
  await peer.end();
  assertEquals((await client.closed)?.code, "deadline_exceeded");
});

test("[L19] a peer that neither reads the GOAWAY nor closes is disconnected in time", async () => {
  const clock = new TestClock();
  const peer = new RawPeer({ highWaterMark: 0 });
  const client = new Client<Any>(peer.duplex, { clock });
  const closing = client.close({ timeout: 100 });
  await clock.advance(100 + 5000 + 1000);
  await closing;
  assertNothingLeft(client.connection);
});

test("[H7] a handler may close its own connection; its reply is still sent", async () => {
  const services = {
    Self: {
      sync: (_: unknown, { connection }: CallContext) => {
        connection.close();
        return "answered";
      },
      async: async (_: unknown, ctx: CallContext) => {
        await Promise.resolve();
        await ctx.connection.close({ ctx });
        return "answered too";
      },
    },
  };
  for (const method of ["Self.sync", "Self.async"] as const) {
    const { client, close } = pair(services);
    assert((await client.call(method)).startsWith("answered"));
    assertEquals(await client.closed, undefined);
    await close();
  }
});

test("[H7] a handler may abort its own connection", async () => {
  const { client, connection, close } = pair({
    Self: {
      abort: (_: unknown, { connection }: CallContext) => {
        connection.abort("enough");
        return "never seen";
      },
    },
  });
  const error = await errorOf(client.call("Self.abort"));
  assertEquals(error.outcome, "unknown");
  assertEquals((await connection.closed)?.cause, "enough");
  await close();
});

test("abort settles everything at once", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work");
  await settle();
  const reason = new Error("enough");
  await client.abort(reason);
  const error = await errorOf(handle.reply);
  assertEquals(error.outcome, "unknown");
  assertStrictEquals((error.cause as ConnectionError).cause, reason);
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  await close();
});

test("a closed server accepts no connection, and throws", async () => {
  const server = new Server(echoServices());
  await server.close();
  assertThrows(() => server.accept(memoryPair()[0]), TypeError, "closed");
});

test("the peer receives a GOAWAY for a protocol fault, after the replies made before it", async () => {
  const server = new Server(echoServices());
  const peer = new RawPeer();
  const connection = server.accept(peer.duplex);
  await peer.send(
    hello(),
    request(1, "Echo.echo", "a"),
    request(1, "Echo.echo", "b"),
    request(2, "Echo.echo", "never"),
  );
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 1);
  const last = await peer.nextOf(KIND.GOAWAY);
  assertEquals(readCode(last).code, "protocol_error");
  assertEquals(last.id, 1);
  assertEquals(await peer.rest(), []);
  await peer.end();
  assertEquals((await connection.closed)?.code, "protocol_error");
  await server.close();
});

test("opened resolves with the peer's HELLO, and rejects if the connection ends before", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client(peer.duplex, { clock });
  let opened = false;
  client.connection.opened.then(() => opened = true);
  await settle();
  assert(!opened);
  await peer.send(hello());
  await settle();
  assert(opened);
  await client.connection.abort();
  // It stays resolved.
  await client.connection.opened;

  const [lonely] = memoryPair();
  const other = new Client(lonely, { clock });
  const waiting = other.connection.opened;
  await other.connection.abort();
  for (const promise of [waiting, other.connection.opened]) {
    const error = await assertRejects(() => promise, ConnectionError);
    assertEquals(error.code, "cancelled");
  }
});

test("opened waits for authorize, and rejects when it says no", async () => {
  const decision = Promise.withResolvers<unknown>();
  const [near, far] = memoryPair();
  const server = new Server({}, { authorize: () => decision.promise });
  const connection = server.accept(far);
  const client = new Client(near);
  await settle();
  let opened: unknown;
  connection.opened.catch((error) => opened = error);
  decision.resolve(false);
  await client.closed;
  await connection.closed;
  assertInstanceOf(opened, ConnectionError);
  assertEquals(opened.code, "unauthenticated");
  await assertRejects(() => client.connection.opened, ConnectionError);
  await server.close();
});

test("draining resolves when either side begins to close, and when the connection is lost", async () => {
  for (const how of ["local", "peer", "lost", "asked later"] as const) {
    const clock = new TestClock();
    const peer = new RawPeer();
    const client = new Client(peer.duplex, { clock });
    await peer.send(hello());
    await settle();
    let draining = false;
    const watch = () => client.connection.draining.then(() => draining = true);
    if (how !== "asked later") watch();
    await settle();
    assert(!draining);
    if (how === "peer") await peer.send(goaway(undefined));
    else if (how === "lost") await peer.reset();
    else client.close();
    if (how === "asked later") watch();
    await settle();
    assert(draining, how);
    await client.connection.abort();
  }
});
