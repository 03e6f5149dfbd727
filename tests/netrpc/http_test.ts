/** The HTTP handshake before Go's protocol. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  connect,
  ConnectionError,
  type Duplex,
  type EchoServices,
  listen,
  memoryPair,
  Server,
} from "../../mod.ts";
import { httpAccept, httpConnect, httpListener, netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { ascii, FIRST, FIRST_REPLY, RawBytePeer } from "../support/go_peer.ts";
import { join } from "../support/raw_peer.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";

const hello = { HelloService: { Hello: (name: string) => `hello:${name}` } };

test("the client sends Go's HTTP request, and bytes after the response are not lost", async () => {
  const raw = new RawBytePeer();
  const dialling = httpConnect(raw.duplex);
  const request = "CONNECT /_goRPC_ HTTP/1.0\n\n";
  assertEquals(await raw.take(request.length), ascii(request));
  const answer = ascii("HTTP/1.0 200 Connected to Go RPC\n\n");
  await raw.send(join(answer, FIRST_REPLY.subarray(0, 10)));
  const client = new Client<EchoServices>(await dialling, {
    protocol: netrpc(),
  });
  const call = client.call("HelloService.Hello", "hi");
  await raw.take(78);
  await raw.send(FIRST_REPLY.subarray(10));
  assertEquals(await call, "hello:hi");
  await client.abort();
});

test("a handshake that does not finish in 10 seconds fails", async () => {
  const clock = new TestClock();
  for (const handshake of [httpAccept, httpConnect]) {
    const raw = new RawBytePeer();
    const waiting = handshake(raw.duplex, { clock });
    const failed = assertRejects(() => waiting, Error, "within 10000 ms");
    await raw.send(ascii("HTTP"));
    await settle();
    await clock.advance(10_000);
    await failed;
  }
  assertEquals(clock.timers, 0);
});

const CONNECT = "CONNECT /_goRPC_ HTTP/1.0\n\n";
const CONNECTED = "HTTP/1.0 200 Connected to Go RPC\n\n";

const REJECTED = [
  ["another method", "GET /_goRPC_ HTTP/1.1\r\n\r\n", "405"],
  ["another method, with bare newlines", "GET / HTTP/1.1\nA: b\n\n", "405"],
  ["another path", "CONNECT /x HTTP/1.0\n\n", "404"],
  ["a head that is too long", `GET / HTTP/1.1\r\n${"x".repeat(17_000)}`, "431"],
] as const;

for (const [name, request, status] of REJECTED) {
  test(`another HTTP request is answered with ${status}: ${name}`, async () => {
    const raw = new RawBytePeer();
    const accepting = httpAccept(raw.duplex);
    const failed = assertRejects(() => accepting, ConnectionError);
    await raw.send(ascii(request));
    const received = new TextDecoder().decode(await raw.rest());
    assert(received.startsWith(`HTTP/1.0 ${status} `), received);
    await raw.end();
    await failed;
  });

  test(`[X6] a rejected connection lingers for a second and is then destroyed: ${name}`, async () => {
    const clock = new TestClock();
    const { source, give } = handListener();
    const errors: unknown[] = [];
    const server = new Server(hello, {
      protocol: netrpc(),
      clock,
      onError: (error) => errors.push(error),
    });
    server.serve(httpListener(source, { clock }));
    const raw = new RawBytePeer();
    await give(raw.duplex);
    await raw.send(ascii(request));
    const received = new TextDecoder().decode(await raw.rest());
    assert(received.startsWith(`HTTP/1.0 ${status} `), received);
    // The peer has not closed its side: it may go on sending for a while.
    await raw.send(ascii("more"));
    assertEquals(server.stats().connections, 1);
    await clock.advance(1000);
    await assertRejects(() => raw.send(ascii("more")), ConnectionError);
    await settle();
    assertEquals([server.stats().connections, clock.timers], [0, 0]);
    assertEquals(errors.length, 1);
    await server.close();
  });
}

for (const sent of ["", "CONNECT /_go", `GET / ${"x".repeat(16_000)}`]) {
  test(`[X6] a connection whose handshake does not finish is destroyed, after ${sent.length} bytes`, async () => {
    const clock = new TestClock();
    const { source, give } = handListener();
    const server = new Server(hello, { protocol: netrpc(), clock });
    server.serve(httpListener(source, { clock }));
    const raw = new RawBytePeer();
    await give(raw.duplex);
    await raw.send(ascii(sent));
    await settle();
    assertEquals(server.stats().connections, 1);
    await clock.advance(10_000);
    await assertRejects(() => raw.rest(), ConnectionError);
    await settle();
    assertEquals([server.stats().connections, clock.timers], [0, 0]);
    await server.close();
  });
}

test("[X6] handshakes count as connections, and those above maxConnections are answered with 503", async () => {
  const clock = new TestClock();
  const { source, give } = handListener();
  const server = new Server(hello, {
    protocol: netrpc(),
    clock,
    maxConnections: 2,
  });
  server.serve(httpListener(source, { clock }));
  const raws = [
    new RawBytePeer(),
    new RawBytePeer(),
    new RawBytePeer(),
    new RawBytePeer(),
  ];
  for (const raw of raws) await give(raw.duplex);
  await settle();
  assertEquals(server.connections.size, 2);
  for (const raw of raws.slice(2)) {
    await raw.send(ascii(CONNECT));
    const received = new TextDecoder().decode(await raw.rest());
    assert(received.startsWith("HTTP/1.0 503 "), received);
  }
  await raws[0].end();
  await settle();
  assertEquals(server.connections.size, 1);
  const closing = server.close();
  await settle();
  await clock.advance(1000);
  await closing;
  assertEquals(clock.timers, 0);
});

test("[X6] over TCP, rejected and silent connections that stay half open are destroyed", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no sockets");
  const clock = new TestClock();
  const server = new Server(hello, { protocol: netrpc(), clock });
  const listener = await listen({ port: 0 });
  server.serve(httpListener(listener, { clock }));
  const writers: WritableStreamDefaultWriter<Uint8Array>[] = [];
  for (let i = 0; i < 20; i++) {
    const { readable, writable } = await connect(listener.address);
    const writer = writable.getWriter();
    writers.push(writer);
    await writer.write(ascii(i < 10 ? "GET / HTTP/1.1\r\n\r\n" : "GET"));
    if (i < 10) await Array.fromAsync(readable);
  }
  while (clock.timers < 20) await systemTurn();
  await clock.advance(10_000);
  for (const writer of writers) {
    await assertRejects(async () => {
      for (;;) {
        await writer.write(ascii("more"));
        await systemTurn();
      }
    });
  }
  await server.close();
  assertEquals([server.connections.size, clock.timers], [0, 0]);
});

function systemTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

for (const end of ["\n\n", "\r\n\r\n", "\nHost: x\n\n", "\nA: b\r\n\n"]) {
  test(`[X30] a CONNECT request that ends in ${JSON.stringify(end)} is answered at once`, async () => {
    const raw = new RawBytePeer();
    const accepting = httpAccept(raw.duplex);
    await raw.send(ascii(`CONNECT /_goRPC_ HTTP/1.0${end}`));
    assertEquals(await raw.take(CONNECTED.length), ascii(CONNECTED));
    await (await accepting).writable.abort();
  });
}

test("a server accepts a request in single bytes, with headers", async () => {
  const raw = new RawBytePeer();
  const accepting = httpAccept(raw.duplex);
  const request = `CONNECT /_goRPC_ HTTP/1.0\r\nX: ${"y".repeat(5000)}\r\n\r\n`;
  const stream = join(ascii(request), FIRST);
  await raw.send(...[...stream].map((byte) => Uint8Array.of(byte)));
  const server = new Server(hello, { protocol: netrpc() });
  server.accept(await accepting);
  const answer = ascii("HTTP/1.0 200 Connected to Go RPC\n\n");
  assertEquals(await raw.take(answer.length), answer);
  assertEquals(await raw.take(FIRST_REPLY.length), FIRST_REPLY);
  await raw.end();
  await server.close();
});

test("a client closes the connection if the head of the response is too long", async () => {
  const raw = new RawBytePeer();
  const waiting = httpConnect(raw.duplex);
  const failed = assertRejects(
    () => waiting,
    ConnectionError,
    "more than 16384",
  );
  const flood = Array(20).fill(ascii("x".repeat(1000)));
  await raw.send(...flood).catch(() => {});
  await failed;
  await assertRejects(() => raw.rest(), ConnectionError);
});

for (const handshake of [httpAccept, httpConnect]) {
  test(`a signal aborts the handshake: ${handshake.name}`, async () => {
    for (const early of [true, false]) {
      const raw = new RawBytePeer();
      const aborter = new AbortController();
      const reason = new Error("enough");
      if (early) aborter.abort(reason);
      const waiting = handshake(raw.duplex, { signal: aborter.signal });
      const failed = assertRejects(() => waiting, Error, "enough");
      await settle();
      aborter.abort(reason);
      await failed;
      await assertRejects(() => raw.rest(), ConnectionError);
    }
  });
}

/** A listener whose connections the test provides. */
function handListener() {
  const { readable, writable } = new TransformStream<Duplex, Duplex>();
  const writer = writable.getWriter();
  let closed = 0;
  const source = {
    [Symbol.asyncIterator]: () => readable[Symbol.asyncIterator](),
    close: () => {
      closed++;
      writer.close().catch(() => {});
    },
  };
  return {
    source,
    give: (duplex: Duplex) => writer.write(duplex),
    closed: () => closed,
  };
}

test("closing a server answers open handshakes with 503, and they delay no other connection", async () => {
  const clock = new TestClock();
  const { source, give, closed } = handListener();
  const server = new Server(hello, { protocol: netrpc() });
  server.serve(httpListener(source, { clock }));
  const [silent, quick] = [new RawBytePeer(), new RawBytePeer()];
  await give(silent.duplex);
  await give(quick.duplex);
  await quick.send(join(ascii(CONNECT), FIRST));
  await quick.take(CONNECTED.length);
  assertEquals(await quick.take(FIRST_REPLY.length), FIRST_REPLY);
  await quick.end();
  const closing = server.close();
  const received = new TextDecoder().decode(await silent.rest());
  assert(received.startsWith("HTTP/1.0 503 "), received);
  await silent.end();
  await closing;
  assertEquals([closed(), clock.timers], [1, 0]);
});

test("the signal of an HTTP listener aborts its handshakes and closes the listener", async () => {
  const clock = new TestClock();
  const { source, give, closed } = handListener();
  const aborter = new AbortController();
  const server = new Server(hello, { protocol: netrpc() });
  server.serve(httpListener(source, { clock, signal: aborter.signal }));
  const raw = new RawBytePeer();
  await give(raw.duplex);
  await settle();
  aborter.abort(new Error("enough"));
  await assertRejects(() => raw.rest(), ConnectionError);
  await server.close();
  assertEquals([closed(), clock.timers], [1, 0]);
});

test("a duplex keeps its addresses and its half-close after the handshake", async () => {
  const [near, far] = memoryPair();
  const accepting = httpAccept(far);
  const connecting = httpConnect(near);
  const [a, b] = await Promise.all([connecting, accepting]);
  assertEquals([a.remote, b.local], [near.remote, far.local]);
  const writer = a.writable.getWriter();
  for (let i = 0; i < 100; i++) {
    const chunk = new Uint8Array(5000).fill(i);
    const written = writer.write(chunk);
    if (i === 0) await written;
  }
  const closing = writer.close();
  let sum = 0;
  for await (const chunk of b.readable) sum += chunk.length;
  await closing;
  assertEquals(sum, 500_000);
  await b.writable.close();
  assertEquals((await Array.fromAsync(a.readable)).length, 0);
});
