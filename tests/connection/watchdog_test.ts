/** PINGs, and the limits on silence, stalled writes, slow messages and idle connections. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type EchoServices,
  echoServices,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import {
  assertCloses,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { frame, hello, KIND, request } from "../support/raw_peer.ts";

const TIMES = { keepaliveTime: 1000, keepaliveTimeout: 500 };

/** A client and a server on one clock that tests move. */
function timed(options: object = {}) {
  const clock = new TestClock();
  const [near, far] = memoryPair();
  const server = new Server(echoServices(), { clock, ...options });
  const served = server.accept(far);
  const client = new Client<EchoServices>(near, { clock, ...options });
  const close = async () => {
    await Promise.all([client.close(), server.close()]);
    assertNothingLeft(client.connection);
    assertNothingLeft(served);
    assertEquals(clock.timers, 0);
  };
  return { client, served, clock, close };
}

test("ping resolves with the round-trip time, which rtt keeps", async () => {
  const { client, close, peer, clock } = (() => {
    const facing = faceClient();
    return { ...facing, close: () => facing.client.abort() };
  })();
  await greet({ peer, connection: client.connection, clock });
  assertEquals(client.connection.rtt, undefined);
  const first = client.connection.ping();
  const second = client.connection.ping();
  const asked = [await peer.nextOf(KIND.PING), await peer.nextOf(KIND.PING)];
  await clock.advance(30);
  // At most one PONG a batch, for the latest: it answers those before, too.
  await peer.send(frame(KIND.PONG, asked[1].id));
  assertEquals(await Promise.all([first, second]), [30, 30]);
  assertEquals(client.connection.rtt, 30);
  assertEquals(client.stats().rtt, 30);
  await peer.send(frame(KIND.PONG, 12345));
  const unanswered = client.connection.ping();
  await close();
  const error = await assertRejects(() => unanswered, RpcError);
  assertEquals(error.code, "unavailable");
  await assertRejects(() => client.connection.ping(), RpcError);
});

test("a client and a server answer each other's PINGs", async () => {
  const { client, served, close } = timed();
  await client.call("HelloService.Hello", "x");
  assertEquals(await client.connection.ping(), 0);
  assertEquals(await served.ping(), 0);
  await close();
});

test("[L9] keepalive notices a peer that vanished without a FIN within its stated time", async () => {
  const facing = faceClient(TIMES);
  await greet(facing);
  const call = facing.client.connection.go("Test.call");
  const idle = facing.connection;
  await facing.clock.advance(999);
  await settle();
  assertEquals(idle.stats().state, "open");
  await facing.clock.advance(1);
  assertEquals((await facing.peer.nextOf(KIND.PING)).kind, KIND.PING);
  await facing.clock.advance(499);
  await settle();
  assertEquals(idle.stats().state, "open");
  await facing.clock.advance(1);
  const error = await assertRejects(() => call.reply, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  assertEquals((await idle.closed)?.code, "unavailable");
  assertNothingLeft(idle);
});

test("any byte proves that the peer lives, and a peer that sends gets no PING", async () => {
  const facing = faceServer({ Test: { call: () => 1 } }, TIMES);
  await greet(facing);
  for (let i = 1; i <= 20; i++) {
    await facing.clock.advance(900);
    await facing.peer.send(request(i, "Test.call"));
    assertEquals((await facing.peer.next())?.kind, KIND.REPLY);
  }
  await facing.clock.advance(1000);
  assertEquals((await facing.peer.next())?.kind, KIND.PING);
  // Half a header is a byte, too.
  await facing.peer.send(new Uint8Array(5));
  await facing.clock.advance(600);
  assertEquals(facing.connection.stats().state, "open");
  await facing.connection.abort();
});

test("[F14] after a blocked event loop, what arrived meanwhile is read before the peer counts as silent", async () => {
  const facing = faceServer({}, TIMES);
  await greet(facing);
  await facing.clock.advance(1000);
  const { id } = await facing.peer.nextOf(KIND.PING);
  // The PONG lies unread when the timer fires, as it does after a blocked loop.
  const sent = facing.peer.send(frame(KIND.PONG, id));
  await Promise.all([facing.clock.advance(500), sent]);
  await settle();
  assertEquals(facing.connection.stats().state, "open");
  await facing.connection.abort();
});

test("[F13] a server with the shortest keepalive never disconnects a client of this library", async () => {
  const { client, clock, close } = timed({
    keepaliveTime: 1,
    keepaliveTimeout: 1,
  });
  for (let i = 0; i < 200; i++) await clock.advance(1);
  await settle();
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  await close();
});

test("[F5] a message that trickles in, in its header or its body, ends the connection in time", async () => {
  for (const first of [6, 20]) {
    const facing = faceServer({ Test: { call: () => 1 } }, {
      messageTimeout: 1000,
    });
    await greet(facing);
    const bytes = request(1, "Test.call", "x".repeat(500));
    await facing.peer.send(bytes.subarray(0, first));
    for (let at = first; at < first + 9; at++) {
      await facing.clock.advance(100);
      await facing.peer.send(bytes.subarray(at, at + 1));
      assertEquals(facing.connection.stats().state, "open");
    }
    await facing.clock.advance(100);
    const { text } = await assertCloses(facing, "deadline_exceeded");
    assert(text.includes("1000 ms"), text);
  }
});

test("a long series of messages, each complete in time, does not end the connection", async () => {
  const facing = faceServer({ Test: { call: () => 1 } }, {
    messageTimeout: 1000,
  });
  await greet(facing);
  for (let id = 1; id < 20; id++) {
    // The end of one and the beginning of the next, in every chunk.
    const [before, next] = [
      request(id, "Test.call"),
      request(id + 1, "Test.call"),
    ];
    if (id === 1) await facing.peer.send(before.subarray(0, 7));
    await facing.peer.send(before.subarray(7), next.subarray(0, 7));
    await facing.clock.advance(600);
    assertEquals(facing.connection.stats().state, "open");
  }
  await facing.connection.abort();
});

test("[F4] a peer that reads nothing is disconnected", async () => {
  const facing = faceServer({ Test: { big: () => "x".repeat(200_000) } }, {
    writeTimeout: 1000,
  });
  await greet(facing);
  await facing.peer.send(request(1, "Test.big"), request(2, "Test.big"));
  await settle();
  await facing.clock.advance(999);
  assertEquals(facing.connection.stats().state, "open");
  await facing.clock.advance(1);
  await settle();
  assertEquals(facing.connection.stats().state, "finishing");
  // Neither does it take the GOAWAY: the flush is bounded in time, too.
  await facing.clock.advance(10_000);
  assertEquals((await facing.connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(facing.connection);
});

test("an idle connection is closed gracefully, and calls keep it open", async () => {
  const { client, served, clock, close } = timed({ idleTimeout: 1000 });
  for (let i = 0; i < 5; i++) {
    await client.call("HelloService.Hello", "x");
    await clock.advance(900);
    assertEquals(client.stats().state, "open");
  }
  await clock.advance(1100);
  await settle();
  assertEquals(await client.closed, undefined);
  assertEquals(await served.closed, undefined);
  await close();
});

test("a call in flight keeps its connection open", async () => {
  const facing = faceServer({
    Test: { hang: () => new Promise<never>(() => {}) },
  }, {
    idleTimeout: 1000,
  });
  await greet(facing);
  await facing.peer.send(request(1, "Test.hang"));
  await settle();
  await facing.clock.advance(10_000);
  assertEquals(facing.connection.stats().state, "open");
  await facing.connection.abort();
});

test("before the peer's HELLO only the handshake timeout applies", async () => {
  const facing = faceClient({ ...TIMES, handshakeTimeout: 5000 });
  await facing.clock.advance(4999);
  assertEquals(facing.connection.stats().state, "open");
  await facing.peer.send(hello());
  await settle();
  await facing.clock.advance(999);
  assertEquals(facing.connection.stats().state, "open");
  await facing.connection.abort();
});

test("a HELLO that rules out all calls that a drain waits for leaves no timer behind", async () => {
  const facing = faceClient(TIMES);
  const { client, clock, peer } = facing;
  // Only HELLO says whether the peer accepts streams.
  const call = client.connection.call("Test.up", ReadableStream.from([1]));
  const closed = client.close();
  await settle();
  await peer.send(hello());
  const error = await assertRejects(() => call, RpcError);
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await peer.end();
  await closed;
  assertEquals(clock.timers, 0);
});
