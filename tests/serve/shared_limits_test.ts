/** The limits of a server as a whole: connections, and bytes held for their peers. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Client,
  connect,
  type Connection,
  ConnectionError,
  type EchoServices,
  echoServices,
  listen,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { JsonRpcServer } from "../../jsonrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import type { Any } from "../support/dials.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  CALLER,
  data,
  frame,
  hello,
  KIND,
  RawPeer,
  readCode,
  request,
} from "../support/raw_peer.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";
import { Held } from "../support/services.ts";

// Connections.

test("[F6] a connection above maxConnections receives GOAWAY alone, resource_exhausted, and is closed; the others go on", async () => {
  const clock = new TestClock();
  const server = new Server(echoServices(), { clock, maxConnections: 1 });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<EchoServices>(near);
  const peer = new RawPeer();
  const reason = assertThrows(
    () => server.accept(peer.duplex),
    ConnectionError,
  );
  assertEquals(reason.code, "resource_exhausted");
  await peer.send(hello(), request(1, "Echo.echo"));
  const [only, ...more] = await peer.rest();
  assertEquals([only.kind, only.flags, more.length], [KIND.GOAWAY, 1, 0]);
  assertEquals(readCode(only), {
    code: "resource_exhausted",
    text: reason.message,
  });
  assertEquals(server.connections.size, 1);
  assertEquals(await client.call("Echo.echo", "x"), "x");
  await peer.end();
  await client.close();
  await server.close();
  assertEquals(clock.timers, 0);
});

test("[F6] calls of a rejected client fail with unavailable, refused or not sent; the next client is accepted when one has left", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no sockets");
  const errors: unknown[] = [];
  const listener = await listen({ port: 0 });
  const server = new Server(echoServices(), {
    maxConnections: 1,
    onError: (error) => errors.push(error),
  });
  server.serve(listener);
  const first = new Client<EchoServices>(await connect(listener.address));
  await first.call("Echo.echo", 1);
  const second = new Client<EchoServices>(await connect(listener.address));
  const handles = Array.from({ length: 100 }, () => second.go("Echo.echo", 2));
  for (const { reply, settled } of handles) {
    const error = await assertRejects(() => reply, RpcError);
    assertEquals(error.code, "unavailable");
    assert(["refused", "not_sent"].includes(await settled), error.outcome);
    assertEquals((error.cause as ConnectionError).code, "resource_exhausted");
  }
  assertEquals((await second.closed)?.code, "resource_exhausted");
  assertEquals(errors.length, 1);
  assertEquals((errors[0] as ConnectionError).code, "resource_exhausted");
  await first.close();
  const third = new Client<EchoServices>(await connect(listener.address));
  assertEquals(await third.call("Echo.echo", 3), 3);
  await third.close();
  await server.close();
});

test("[F6] a reconnecting client that is rejected dials again, and its calls are served once the server accepts it", async () => {
  const clock = new TestClock();
  const server = new Server(echoServices(), { clock, maxConnections: 1 });
  const dial = () => {
    const [near, far] = memoryPair();
    try {
      server.accept(far);
    } catch (error) {
      assertEquals((error as ConnectionError).code, "resource_exhausted");
    }
    return near;
  };
  const first = new Client<EchoServices>(dial());
  await first.call("Echo.echo", 1);
  const client = new ReconnectingClient<EchoServices>(dial, { clock });
  const call = client.call("Echo.echo", 2);
  await clock.advance(60_000);
  assertEquals(client.stats().dials > 5, true);
  await first.close();
  await clock.advance(60_000);
  assertEquals(await call, 2);
  await client.close();
  await server.close();
});

test("[F6] while 1,024 rejected connections are being closed, further ones are destroyed at once", async () => {
  const clock = new TestClock();
  const server = new Server({}, { clock, maxConnections: 1 });
  server.accept(memoryPair()[1]);
  const reject = () => {
    const [near, far] = memoryPair();
    assertThrows(() => server.accept(far), ConnectionError);
    return near;
  };
  const waiting = Array.from({ length: 1024 }, reject);
  await settle();
  const destroyed = reject();
  await assertRejects(() => destroyed.readable.getReader().read());
  // Their peers neither read nor close: they end when the linger time is over.
  const { timers } = clock;
  assertEquals(timers, 1025);
  await clock.advance(1000);
  assertEquals(clock.timers, 1);
  const { value } = await waiting[0].readable.getReader().read();
  assertEquals(value?.[4], KIND.GOAWAY);
  const closing = server.close();
  await clock.advance(60_000);
  await closing;
  assertEquals(clock.timers, 0);
});

test("a server that closes waits for the connections that it rejected", async () => {
  const clock = new TestClock();
  const server = new Server({}, { clock, maxConnections: 1 });
  server.accept(memoryPair()[1]);
  const [, far] = memoryPair();
  assertThrows(() => server.accept(far), ConnectionError);
  await [...server.connections][0].abort();
  let closed = false;
  const closing = server.close().then(() => closed = true);
  await settle();
  assertEquals(closed, false);
  await clock.advance(1000);
  await closing;
  assertEquals(clock.timers, 0);
});

test("on a protocol without GOAWAY a rejected connection is closed without a message", async () => {
  const server = new JsonRpcServer({}, { maxConnections: 1 });
  const [near, far] = memoryPair();
  server.accept(far);
  const [extra, its] = memoryPair();
  assertThrows(() => server.accept(its), ConnectionError);
  assertEquals((await extra.readable.getReader().read()).done, true);
  await Promise.all([extra.writable.close(), near.writable.close()]);
  await server.close();
});

// Bytes.

/** A server, and peers of it that are made by hand. */
function hosts(options: object, services: object = {}) {
  const held = new Held();
  const clock = new TestClock();
  const all: unknown = { ...held.services, ...services };
  const server = new Server<Any>(all as Any, {
    clock,
    ...options,
  });
  const join = async (
    highWaterMark?: number,
    fields?: Parameters<typeof hello>[0],
  ): Promise<[RawPeer, Connection]> => {
    const peer = new RawPeer({ highWaterMark });
    const connection = server.accept(peer.duplex);
    await peer.send(hello(fields));
    return [peer, connection];
  };
  const buffered = () =>
    [...server.connections].reduce((n, c) => n + c.stats().bufferedBytes, 0);
  const close = async () => {
    held.release();
    await Promise.all([...server.connections].map((c) => c.abort()));
    await server.close();
    assertEquals(clock.timers, 0);
  };
  return { held, clock, server, join, buffered, close };
}

test("[F3] above maxTotalBuffered the connection whose waiting calls hold most is closed, and the others go on", async () => {
  const { server, join, buffered, close } = hosts({
    maxRunning: 1,
    maxTotalBuffered: 1_000_000,
  });
  const small = await Promise.all(Array.from({ length: 9 }, () => join()));
  for (const [peer] of small) {
    await peer.send(
      request(1, "Held.work"),
      request(2, "Held.work", "x".repeat(50_000)),
    );
  }
  const [greedy, connection] = await join();
  let id = 0;
  while (connection.stats().state === "open") {
    assert(++id < 100, "it is never closed");
    await greedy.send(request(id, "Held.work", "x".repeat(50_000)));
    await settle(1);
    assert(buffered() <= 1_000_000 + 50_100, `${buffered()} bytes`);
  }
  assertEquals(connection.stats().bufferedBytes < 1000, true);
  const frames = await greedy.rest();
  const { code } = readCode(frames.at(-1)!);
  assertEquals([frames.at(-1)?.kind, code], [
    KIND.GOAWAY,
    "resource_exhausted",
  ]);
  await greedy.end();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  assertNothingLeft(connection);
  assertEquals(server.connections.size, 9);
  for (const [peer] of small) {
    await peer.send(frame(KIND.PING, 7));
    assertEquals((await peer.nextOf(KIND.PONG)).id, 7);
  }
  await close();
});

test("[F4] a connection whose peer never reads, and which holds most, is ended at once if its transport does not take the bytes", async () => {
  const { server, join, buffered, close } = hosts({
    maxTotalBuffered: 1_000_000,
    highWaterMark: 10_000_000,
  }, { Big: { get: () => new Uint8Array(200_000) } });
  const [deaf, connection] = await join(0);
  const [other, its] = await join(0);
  await settle();
  await deaf.send(...[1, 2, 3].map((id) => request(id, "Big.get", [0])));
  await settle();
  assert(connection.stats().bufferedBytes > 600_000);
  assertEquals(connection.stats().state, "open");
  await other.send(request(1, "Big.get", [0]), request(2, "Big.get", [0]));
  await settle();
  // The clock stands still: it does not wait for the flush time.
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  assertNothingLeft(connection);
  assertEquals([server.connections.size, its.stats().state], [1, "open"]);
  assert(buffered() < 401_000, `${buffered()} bytes`);
  assertEquals((await other.nextOf(KIND.REPLY)).id, 1);
  await close();
});

test("[F4] replies that gather in one turn are counted before the next chunk is read", async () => {
  const { held, join, buffered, close } = hosts({
    maxTotalBuffered: 1_000_000,
  });
  const [deaf, connection] = await join(0);
  const ids = Array.from({ length: 200 }, (_, i) => i + 1);
  await deaf.send(...ids.map((id) => request(id, "Held.work")));
  await settle();
  // Handlers settle one by one; nothing is read, and nothing is written.
  for (const call of held.calls) {
    call.resolve(new Uint8Array(10_000));
    await settle(1);
    assert(buffered() <= 1_000_000 + 16_384 + 10_100, `${buffered()} bytes`);
  }
  assert(connection.stats().state !== "open");
  // What was not handed over is discarded, so that GOAWAY fits.
  const frames = await deaf.rest();
  assertEquals(readCode(frames.at(-1)!).code, "resource_exhausted");
  assert(frames.length < 10, `${frames.length} frames`);
  await close();
});

test("[B12] [F5] incomplete messages count: of 100 peers those that hold most are closed", async () => {
  const { server, join, buffered, close } = hosts({
    maxTotalBuffered: 1_000_000,
  });
  const peers = await Promise.all(Array.from({ length: 100 }, () => join()));
  const header = frame(KIND.REQUEST, 1);
  new DataView(header.buffer).setUint32(0, 4 << 20);
  for (const [peer] of peers) await peer.send(header);
  for (let round = 0; round < 20; round++) {
    for (const [peer, connection] of peers) {
      if (connection.stats().state !== "open") continue;
      await peer.send(new Uint8Array(1000));
      await settle(1);
      assert(buffered() <= 1_001_000, `${buffered()} bytes`);
    }
  }
  const open = [...server.connections].filter((c) =>
    c.stats().state === "open"
  );
  assert(open.length > 40 && open.length < 60, `${open.length} are left`);
  // Once its message is released, GOAWAY can be sent on each of the others.
  for (const [peer, connection] of peers) {
    if (connection.stats().state === "open") continue;
    const { code } = readCode(await peer.nextOf(KIND.GOAWAY));
    assertEquals(code, "resource_exhausted");
  }
  await close();
});

test("calls of the server that wait for the peer's window count, and are not sent when the connection is closed", async () => {
  const { join, close } = hosts({ maxTotalBuffered: 100_000 });
  const [peer, connection] = await join(undefined, { calls: 1 });
  await settle();
  const handles = Array.from(
    { length: 20 },
    () => connection.go("Peer.work", new Uint8Array(10_000)),
  );
  await peer.send(frame(KIND.PING, 1));
  await settle();
  const outcomes = await Promise.all(handles.map(({ settled }) => settled));
  assertEquals(outcomes.slice(1), Array(19).fill("not_sent"));
  await peer.end();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  await close();
});

test("what a connection has released since its last report does not count", async () => {
  const streams: ReadableStream<unknown>[] = [];
  const { join, close } = hosts({ maxTotalBuffered: 900_000 }, {
    Sink: {
      take: (stream: ReadableStream<unknown>) => {
        streams.push(stream);
        return new Promise(() => {});
      },
    },
  });
  const [second, two] = await join(undefined, { streams: true });
  const item = new Uint8Array(30_000).fill(0x61);
  item[0] = 3;
  for (let id = 1; id <= 20; id++) {
    await second.send(request(id, "Sink.take", [5]), data(id, item, CALLER));
  }
  await settle(10);
  assert(two.stats().bufferedBytes > 600_000);
  // All are read; that is too little for a CREDIT, so nothing is written.
  for (const stream of streams) await stream.getReader().read();
  assert(two.stats().bufferedBytes < 110_000);
  const [third, three] = await join();
  for (let id = 1; id <= 30; id++) {
    await third.send(request(id, "Held.work", "x".repeat(20_000)));
  }
  await settle();
  assert(three.stats().bufferedBytes > 600_000);
  assertEquals([two, three].map((c) => c.stats().state), ["open", "open"]);
  await close();
});

/** A request of 4 MiB that has begun, with `n` bytes of it. */
function begun(n: number): Uint8Array {
  const bytes = frame(KIND.REQUEST, 1, new Uint8Array(n));
  new DataView(bytes.buffer).setUint32(0, 4 << 20);
  return bytes;
}

test("[X19] an honest call beside 400 messages that never end is answered, and one of those is closed", async () => {
  const { server, join, buffered, close } = hosts({
    maxTotalBuffered: 4_000_000,
  });
  const stalled = await Promise.all(Array.from({ length: 400 }, () => join()));
  for (const [peer] of stalled) await peer.send(begun(9500));
  await settle();
  const [honest, its] = await join();
  for (let id = 1; id <= 20; id++) {
    await honest.send(request(id, "Held.echo", "x".repeat(900_000)));
    assertEquals((await honest.nextOf(KIND.REPLY)).id, id);
    // A little more of the others arrives each time: that is no progress.
    for (const [peer, connection] of stalled) {
      if (connection.stats().state === "open") {
        await peer.send(new Uint8Array(1));
      }
    }
  }
  assertEquals(its.stats().state, "open");
  const open = stalled.filter(([, c]) => c.stats().state === "open");
  assert(open.length > 300 && open.length < 400, `${open.length} are left`);
  assert(buffered() <= 4_000_000);
  assertEquals(server.connections.size, 401);
  await close();
});

test("[X19] an honest call beside replies that nobody reads is answered", async () => {
  const { join, close } = hosts({
    maxTotalBuffered: 4_000_000,
    highWaterMark: 10_000_000,
  }, { Big: { get: () => new Uint8Array(100_000) } });
  const deaf = await Promise.all(Array.from({ length: 13 }, () => join(0)));
  for (const [peer] of deaf) {
    await settle();
    await peer.send(...[1, 2, 3].map((id) => request(id, "Big.get", [0])));
  }
  await settle();
  const [honest, its] = await join();
  for (let id = 1; id <= 10; id++) {
    await honest.send(request(id, "Held.echo", "x".repeat(400_000)));
    assertEquals((await honest.nextOf(KIND.REPLY)).id, id);
  }
  assertEquals(its.stats().state, "open");
  const open = deaf.filter(([, c]) => c.stats().state === "open");
  assert(open.length > 6 && open.length < 13, `${open.length} are left`);
  await close();
});

test("[X19] replies to small calls are no progress for a connection that holds much more", async () => {
  const { held, join, close } = hosts({ maxTotalBuffered: 4_000_000 });
  const [busy, its] = await join();
  await busy.send(request(1, "Held.work", "x".repeat(900_000)));
  await settle();
  const others = await Promise.all(Array.from({ length: 3 }, () => join()));
  for (const [peer] of others) {
    await peer.send(request(1, "Held.work", "x".repeat(900_000)));
    await settle();
  }
  for (let id = 2; id <= 50; id++) {
    await busy.send(request(id, "Held.echo", "x".repeat(1000)));
    assertEquals((await busy.nextOf(KIND.REPLY)).id, id);
  }
  const [late, latest] = await join();
  await late.send(request(1, "Held.work", "x".repeat(900_000)));
  await settle();
  const states = [its, ...others.map(([, c]) => c), latest]
    .map((c) => c.stats().state);
  assertEquals(states, ["finishing", "open", "open", "open", "open"]);
  assertEquals(held.calls.length, 5);
  await close();
});

test("closing one connection for its bytes does not close a second one", async () => {
  const { server, join, close } = hosts({
    maxRunning: 1,
    maxTotalBuffered: 450_000,
  });
  const [[first, one], [second, two]] = [await join(), await join()];
  for (let id = 1; id <= 8; id++) {
    await first.send(request(id, "Held.work", "x".repeat(40_000)));
    await second.send(request(id, "Held.work", "x".repeat(30_000)));
  }
  await settle();
  const states = [one, two].map((c) => c.stats().state);
  assertEquals(states, ["finishing", "open"]);
  assertEquals(server.connections.size, 2);
  await close();
});
