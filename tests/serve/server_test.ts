/** The server: sources of connections, what onError receives, and close. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  Client,
  connect,
  ConnectionError,
  type Duplex,
  type EchoServices,
  echoServices,
  type ErrorInfo,
  listen,
  memoryPair,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { RawPeer } from "../support/raw_peer.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";

test("a server serves every connection of a listener, and closes it with itself", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no sockets");
  const listener = await listen({ port: 0 });
  const server = new Server(echoServices());
  const serving = server.serve(listener);
  const clients = await Promise.all(
    [1, 2, 3].map(async () =>
      new Client<EchoServices>(await connect(listener.address))
    ),
  );
  for (const [i, client] of clients.entries()) {
    assertEquals(await client.call("Echo.echo", i), i);
  }
  assertEquals(server.connections.size, 3);
  await server.close();
  await serving;
  for (const client of clients) {
    assertEquals(await client.closed, undefined);
    await client.close();
  }
  assertEquals(server.connections.size, 0);
  await assertRejects(() => connect(listener.address), ConnectionError);
});

test("a server refuses what it cannot iterate over with a TypeError", () => {
  const server = new Server(echoServices());
  const cases: [unknown, string][] = [
    [Promise.resolve(), "received a promise; await it first"],
    [undefined, "received undefined"],
    [{}, "received object"],
  ];
  for (const [source, text] of cases) {
    const serve = () => server.serve(source as AsyncIterable<Duplex>);
    assertThrows(
      serve,
      TypeError,
      `Cannot serve: expected a listener, ${text}`,
    );
  }
});

test("a server serves any async iterable of duplexes", async () => {
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  const serving = server.serve((async function* () {
    yield await Promise.resolve(far);
  })());
  const client = new Client<EchoServices>(near);
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  await serving;
  await client.close();
  await server.close();
});

test("close ends a source that is waiting for its next connection", async () => {
  const server = new Server(echoServices());
  let returned = false;
  const serving = server.serve({
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<Duplex>>(() => {}),
      return: () => {
        returned = true;
        return Promise.resolve({ done: true as const, value: undefined });
      },
    }),
  });
  await server.close();
  await serving;
  assert(returned);
});

test("an exception of a source is passed to onError and rejects serve, and is not reported as unhandled", async () => {
  const errors: unknown[] = [];
  const server = new Server(echoServices(), {
    onError: (error) => errors.push(error),
  });
  const boom = new Error("boom");
  const serving = server.serve({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(boom) }),
  });
  await settle();
  assertStrictEquals(errors[0], boom);
  assertStrictEquals(await serving.catch((error) => error), boom);
  await server.close();
});

test("an invalid duplex is reported to onError, and serving goes on", async () => {
  const errors: unknown[] = [];
  const server = new Server(echoServices(), {
    onError: (error) => errors.push(error),
  });
  const [near, far] = memoryPair();
  server.serve((async function* () {
    yield await Promise.resolve({} as Duplex);
    yield far;
  })());
  const client = new Client<EchoServices>(near);
  assertEquals(await client.call("Echo.echo", 1), 1);
  assert(errors[0] instanceof TypeError);
  await client.close();
  await server.close();
});

test("a connection that breaks the protocol is reported to onError; one that closes in order is not", async () => {
  const errors: { error: unknown; info: ErrorInfo }[] = [];
  const server = new Server(echoServices(), {
    onError: (error, info) => errors.push({ error, info }),
  });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<EchoServices>(near);
  await client.call("Echo.echo", 1);
  await client.close();
  await settle();
  assertEquals(errors, []);
  const stranger = new RawPeer();
  const connection = server.accept(stranger.duplex);
  await stranger.send(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await stranger.end();
  await connection.closed;
  await settle();
  assertEquals((errors[0].error as ConnectionError).code, "not_sluice");
  assertStrictEquals(errors[0].info.connection, connection);
  await server.close();
});
