/** The HTTP handshake before Go's wire. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  ConnectionError,
  type Duplex,
  type EchoServices,
  Server,
} from "../mod.ts";
import { httpAccept, httpConnect, httpListener, netrpc } from "../netrpc.ts";
import { settle, TestClock } from "./support/clock.ts";
import { ascii, FIRST, FIRST_REPLY, Raw } from "./support/go_wire.ts";
import { join } from "./support/raw_peer.ts";

const hello = { HelloService: { Hello: (name: string) => `hello:${name}` } };

test("the HTTP handshake is Go's, and what comes behind it is not lost", async () => {
  const raw = new Raw();
  const dialling = httpConnect(raw.duplex);
  const request = "CONNECT /_goRPC_ HTTP/1.0\n\n";
  assertEquals(await raw.take(request.length), ascii(request));
  const answer = ascii("HTTP/1.0 200 Connected to Go RPC\n\n");
  await raw.send(join(answer, FIRST_REPLY.subarray(0, 10)));
  const client = new Client<EchoServices>(await dialling, { wire: netrpc() });
  const call = client.call("HelloService.Hello", "hi");
  await raw.take(78);
  await raw.send(FIRST_REPLY.subarray(10));
  assertEquals(await call, "hello:hi");
  await client.abort();
});

test("an HTTP handshake that does not end is given up", async () => {
  const clock = new TestClock();
  for (const handshake of [httpAccept, httpConnect]) {
    const raw = new Raw();
    const waiting = handshake(raw.duplex, { clock });
    const failed = assertRejects(() => waiting, Error, "in time");
    await raw.send(ascii("HTTP"));
    await settle();
    await clock.advance(10_000);
    await failed;
  }
  assertEquals(clock.timers, 0);
});

for (
  const [name, request, answer] of [
    ["another method", "GET /_goRPC_ HTTP/1.1\r\n\r\n", "405"],
    ["another path", "CONNECT /x HTTP/1.0\n\n", "404"],
  ] as const
) {
  test(`an HTTP request with ${name} is answered ${answer}`, async () => {
    const raw = new Raw();
    const accepting = httpAccept(raw.duplex);
    const failed = assertRejects(() => accepting, Error, "Go RPC");
    await raw.send(ascii(request));
    const said = new TextDecoder().decode(await raw.rest());
    assert(said.startsWith(`HTTP/1.0 ${answer} `), said);
    await failed;
  });
}

test("an HTTP handshake may come in single bytes, with headers", async () => {
  const raw = new Raw();
  const accepting = httpAccept(raw.duplex);
  const request = `CONNECT /_goRPC_ HTTP/1.0\r\nX: ${"y".repeat(5000)}\r\n\r\n`;
  const stream = join(ascii(request), FIRST);
  await raw.send(...[...stream].map((byte) => Uint8Array.of(byte)));
  const server = new Server(hello, { wire: netrpc() });
  server.accept(await accepting);
  const answer = ascii("HTTP/1.0 200 Connected to Go RPC\n\n");
  assertEquals(await raw.take(answer.length), answer);
  assertEquals(await raw.take(FIRST_REPLY.length), FIRST_REPLY);
  await raw.end();
  await server.close();
});

for (const handshake of [httpAccept, httpConnect]) {
  test(`a head without end is given up and closed: ${handshake.name}`, async () => {
    const raw = new Raw();
    const waiting = handshake(raw.duplex);
    const failed = assertRejects(() => waiting, ConnectionError, "over 16384");
    const flood = Array(20).fill(ascii("x".repeat(1000)));
    await raw.send(...flood).catch(() => {});
    await failed;
    await assertRejects(() => raw.rest(), ConnectionError);
  });

  test(`a handshake can be given up by a signal: ${handshake.name}`, async () => {
    for (const early of [true, false]) {
      const raw = new Raw();
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

/** A listener that is fed by hand. */
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

test("closing an HTTP listener gives up the handshakes under way, and no other is kept waiting by them", async () => {
  const clock = new TestClock();
  const { source, give, closed } = handListener();
  const server = new Server(hello, { wire: netrpc() });
  server.serve(httpListener(source, { clock }));
  const [silent, quick] = [new Raw(), new Raw()];
  await give(silent.duplex);
  await give(quick.duplex);
  await quick.send(join(ascii("CONNECT /_goRPC_ HTTP/1.0\n\n"), FIRST));
  await quick.take("HTTP/1.0 200 Connected to Go RPC\n\n".length);
  assertEquals(await quick.take(FIRST_REPLY.length), FIRST_REPLY);
  await quick.end();
  await server.close();
  await assertRejects(() => silent.rest());
  assertEquals([closed(), clock.timers], [1, 0]);
});

test("what an HTTP listener has ready when it ends is still handed out", async () => {
  const { source, give } = handListener();
  const listener = httpListener(source);
  const iterator = listener[Symbol.asyncIterator]();
  const raws = [new Raw(), new Raw(), new Raw()];
  const first = iterator.next();
  for (const raw of raws) {
    await give(raw.duplex);
    await raw.send(ascii("CONNECT /_goRPC_ HTTP/1.0\n\n"));
  }
  assertEquals((await first).done, false);
  await settle();
  listener.close();
  await settle();
  assertEquals((await iterator.next()).done, false);
  assertEquals((await iterator.next()).done, false);
  assertEquals((await iterator.next()).done, true);
});

test("who stops asking an HTTP listener leaves nothing open", async () => {
  const { source, give } = handListener();
  const listener = httpListener(source);
  const iterator = listener[Symbol.asyncIterator]();
  const raws = [new Raw(), new Raw()];
  const first = iterator.next();
  for (const raw of raws) {
    await give(raw.duplex);
    await raw.send(ascii("CONNECT /_goRPC_ HTTP/1.0\n\n"));
  }
  await first;
  await settle();
  await iterator.return?.();
  await raws[1].take(34);
  await assertRejects(() => raws[1].rest());
  listener.close();
});
