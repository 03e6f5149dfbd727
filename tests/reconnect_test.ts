/** The reconnecting client's connections: dials, delays, states, endings. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { jsonRpc } from "../jsonrpc.ts";
import { netrpc } from "../netrpc.ts";
import {
  ConnectionError,
  type Duplex,
  echoServices,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
  type ServerOptions,
} from "../mod.ts";
import { settle, TestClock } from "./support/clock.ts";
import {
  assertLeft,
  Dials,
  failing,
  hanging,
  leave,
  Reconnecting,
  serving,
} from "./support/dials.ts";
import { goaway, KIND, reply } from "./support/raw_peer.ts";

test("[L12] a dial that fails is made again after delays that grow up to the cap", async () => {
  const t = new Reconnecting([failing()]);
  for (const delay of [50, 100, 200, 400, 500, 500]) {
    await settle();
    assertEquals(t.states.at(-1), ["waiting", delay]);
    const { count } = t.dials;
    await t.advance(delay - 1);
    assertEquals(t.dials.count, count);
    await t.advance(1);
    assertEquals(t.dials.count, count + 1);
  }
  await t.over();
});

test("[L12] a dial that hangs is given up after dialTimeout, and its signal fires", async () => {
  const t = new Reconnecting([hanging(), "peer"], { dialTimeout: 1000 });
  await t.advance(999);
  assert(!t.dials.signals[0].aborted);
  await t.advance(1);
  assertInstanceOf(t.dials.signals[0].reason, ConnectionError);
  assertEquals(t.dials.signals[0].reason.code, "deadline_exceeded");
  assertEquals(t.client.state, "waiting");
  await t.advance(50);
  await t.ready();
  assertEquals(t.client.state, "ready");
  await t.over();
});

test("[L12] a connection that dies in HELLO counts as a failed dial; what waited was never sent", async () => {
  const t = new Reconnecting(["peer"]);
  const handle = t.go("x");
  for (const delay of [50, 100, 200]) {
    await settle();
    assertEquals(t.client.state, "connecting");
    const peer = t.peers.at(-1)!;
    await peer.end();
    await settle();
    assertEquals(t.states.at(-1), ["waiting", delay]);
    const kinds = (await peer.rest()).map(({ kind }) => kind);
    assertEquals(kinds.filter((kind) => kind === KIND.REQUEST), []);
    await t.advance(delay);
  }
  const peer = await t.ready();
  await peer.send(reply(1, "x"));
  assertEquals(await handle.reply, "x");
  await t.over();
});

test("[L12] a connection whose first call is answered by GOAWAY is not followed without delay", async () => {
  const t = new Reconnecting(["peer"]);
  const handle = t.go();
  for (const delay of [50, 100, 200, 400]) {
    const peer = await t.ready();
    await leave(peer);
    assertEquals(t.states.at(-1), ["waiting", delay]);
    assertEquals(handle.outcome, "refused");
    await peer.end();
    await t.advance(delay);
  }
  const peer = await t.ready();
  await peer.send(reply(1, "at last"));
  assertEquals(await handle.reply, "at last");
  await t.over();
});

test("[L12] after a connection that was of use, goodbye is followed at once, a loss after a delay; both begin anew", async () => {
  const t = new Reconnecting([failing(), failing(), "peer"]);
  await t.advance(50);
  await t.advance(100);
  let peer = await t.ready();
  const first = t.go();
  await peer.send(reply(1, "one"));
  await first.reply;
  await leave(peer, 1);
  await peer.end();
  await settle();
  assertEquals(t.client.state, "connecting");
  peer = await t.ready();
  const second = t.go();
  await peer.send(reply(1, "two"));
  await second.reply;
  await peer.reset();
  await settle();
  assertEquals(t.states.at(-1), ["waiting", 50]);
  await t.over();
});

test("[L12] a connection that lasted as long as the cap begins anew, too", async () => {
  const t = new Reconnecting([failing(), failing(), "peer"]);
  await t.advance(50);
  await t.advance(100);
  const peer = await t.ready();
  await t.advance(1000);
  await peer.reset();
  await settle();
  assertEquals(t.states.at(-1), ["waiting", 50]);
  await t.over();
});

test("[L12] a thousand clients that lose one server come back over the whole of the delay", async () => {
  const server = new Server<object>(echoServices());
  const waits: number[] = [];
  const clock = new TestClock();
  const clients = Array.from({ length: 1000 }, () => {
    let up = true;
    const dial = (signal: AbortSignal) => {
      if (!up) throw new ConnectionError("unavailable", "the server is down");
      up = false;
      return serving(server)(signal);
    };
    return new ReconnectingClient<object>(dial, {
      clock,
      retry: { base: 1000, cap: 1000 },
      onState: (_state, { delay }) => {
        if (delay !== undefined) waits.push(delay);
      },
    });
  });
  await settle();
  for (const connection of server.connections) connection.abort();
  await settle();
  assertEquals(waits.length, 1000);
  // Even draws leave no tenth of the second empty but once in 10^45 runs.
  const tenths = new Set(waits.map((delay) => Math.floor(delay / 100)));
  assertEquals(tenths.size, 10);
  await Promise.all(clients.map((client) => client.abort()));
  await server.close();
});

test("[L12] retries spent: the client ends, and what waits rejects, not sent", async () => {
  const t = new Reconnecting([failing()], { retry: { attempts: 3 } });
  const handle = t.go();
  await t.advance(50);
  await t.advance(100);
  const reason = await t.client.closed;
  assertEquals(reason?.code, "unavailable");
  assertInstanceOf(reason?.cause, ConnectionError);
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  assertStrictEquals(error.cause, reason);
  assertEquals(t.dials.count, 3);
  const after = await assertRejects(() => t.client.call("m"), RpcError);
  assertEquals([after.code, after.outcome], ["unavailable", "not_sent"]);
  assertLeft(t);
});

test("[L12] two dials in a row that are told unauthenticated end the client; one does not", async () => {
  const denied = failing("unauthenticated");
  const t = new Reconnecting([denied, failing(), denied, denied]);
  const handle = t.go();
  await t.advance(50);
  await t.advance(100);
  assertEquals(t.client.state, "waiting");
  await t.advance(200);
  assertEquals((await t.client.closed)?.code, "unauthenticated");
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([error.code, error.outcome], ["unauthenticated", "not_sent"]);
  assertLeft(t);
});

test("[L12] a peer that denies by GOAWAY before its HELLO counts as a denied dial", async () => {
  const t = new Reconnecting(["peer"]);
  const handle = t.go();
  for (const delay of [50, 0]) {
    await settle();
    const peer = t.peers.at(-1)!;
    await peer.send(goaway(undefined, "unauthenticated", "no token"));
    await settle();
    await t.advance(delay);
  }
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([error.code, error.outcome], ["unauthenticated", "not_sent"]);
  assertEquals((await t.client.closed)?.code, "unauthenticated");
  assertLeft(t);
});

test("[L12] a wait and a dial are given up at once by abort and by close", async () => {
  for (const end of ["abort", "close"] as const) {
    for (const step of [failing(), hanging()]) {
      const t = new Reconnecting([step]);
      await settle();
      const { count } = t.dials;
      await t.client[end]();
      assertLeft(t);
      await t.advance(100_000);
      assertEquals(t.dials.count, count);
    }
  }
});

test("[L16] a peer that says no HELLO is given up after handshakeTimeout; what waited was never sent", async () => {
  const t = new Reconnecting(["peer"], { handshakeTimeout: 1000 });
  const handle = t.go();
  await settle();
  await t.advance(1000);
  // What the peer still says is read for a second.
  await t.advance(1000);
  assertEquals(t.client.state, "waiting");
  assertEquals(handle.outcome, "not_sent");
  const frames = await t.peers[0].rest();
  assertEquals(frames.map(({ kind }) => kind), [KIND.HELLO, KIND.GOAWAY]);
  await t.advance(2000);
  assertEquals(t.peers.length, 2);
  await t.over();
});

test("[L16] dialTimeout is for the dial alone: the handshake has its own time", async () => {
  const t = new Reconnecting(["peer"], {
    dialTimeout: 100,
    handshakeTimeout: 1000,
  });
  await t.advance(999);
  assertEquals([t.client.state, t.dials.count], ["connecting", 1]);
  await t.ready();
  assertEquals(t.client.state, "ready");
  await t.advance(5000);
  assertEquals(t.client.state, "ready");
  await t.over();
});

for (
  const [what, end] of Object.entries({
    "its timeout": (t: Reconnecting) => t.advance(1000),
    "an abort": (t: Reconnecting) => t.client.abort(),
    "a close": (t: Reconnecting) => t.client.close(),
  })
) {
  test(`[L16] a dial that succeeds after ${what}: the late socket is closed`, async () => {
    const late = Promise.withResolvers<Duplex>();
    const t = new Reconnecting([() => late.promise, hanging()], {
      dialTimeout: 1000,
    });
    await settle();
    await end(t);
    const [near, far] = memoryPair();
    late.resolve(near);
    const reader = far.readable.getReader();
    await assertRejects(() => reader.read(), ConnectionError);
    assertEquals(t.peers.length, 0);
    await t.over();
  });
}

test("[L16] a late dial that returns no duplex, or fails, is no matter", async () => {
  const dials = [
    Promise.withResolvers<Duplex>(),
    Promise.withResolvers<Duplex>(),
  ];
  let n = 0;
  const t = new Reconnecting([() => dials[n++].promise], { dialTimeout: 10 });
  await settle();
  await t.advance(10);
  await t.advance(50);
  await t.over();
  dials[0].resolve(undefined as unknown as Duplex);
  dials[1].reject(new Error("late"));
  await settle();
});

test("a dial that returns no duplex is a failed dial", async () => {
  const t = new Reconnecting([() => ({}) as Duplex]);
  await settle();
  assertEquals(t.client.state, "waiting");
  await t.over();
});

test("a dial gets its signal, and one that is honoured ends at once", async () => {
  const seen: unknown[] = [];
  const dials = new Dials((signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        seen.push(signal.reason);
        reject(signal.reason);
      });
    })
  );
  const client = new ReconnectingClient<object>(dials.dial);
  await settle();
  const reason = new Error("changed my mind");
  await client.abort(reason);
  assertInstanceOf(seen[0], ConnectionError);
  assertStrictEquals((seen[0] as ConnectionError).cause, reason);
  assertStrictEquals((await client.closed)?.cause, reason);
});

test("states are told in order, by callback and by iterator", async () => {
  const t = new Reconnecting([failing(), "peer"]);
  const seen: string[] = [];
  const watched = (async () => {
    for await (const state of t.client.states()) seen.push(state);
  })();
  await t.advance(50);
  const peer = await t.ready();
  const handle = t.go();
  await settle();
  const closing = t.client.close();
  await settle();
  assertEquals(t.client.state, "draining");
  await peer.send(reply(1, "x"));
  await handle.reply;
  await peer.end();
  await closing;
  await watched;
  assertEquals(seen, [
    "connecting",
    "waiting",
    "connecting",
    "ready",
    "draining",
    "closed",
  ]);
  assertEquals(t.states, [
    ["waiting", 50],
    "connecting",
    "ready",
    "draining",
    "closed",
  ]);
  assertEquals(await t.client.closed, undefined);
  assertLeft(t);
});

test("an iterator that reads slowly gets the latest state; one that is left costs nothing", async () => {
  const t = new Reconnecting([failing(), "peer"]);
  const states = t.client.states();
  assertEquals((await states.next()).value, "connecting");
  await t.advance(50);
  await t.ready();
  assertEquals((await states.next()).value, "ready");
  await states.return?.();
  await t.over();
  assertEquals(await Array.fromAsync(t.client.states()), ["closed"]);
});

test("what onState throws is lost", async () => {
  const t = new Reconnecting(["peer"], {
    onState: () => {
      throw new Error("from the listener");
    },
  });
  await t.ready();
  assertEquals(t.client.state, "ready");
  await t.over();
});

test("a close twice, in parallel and after is one close; so is disposing", async () => {
  const server = new Server<object>(echoServices());
  const client = new ReconnectingClient<object>(serving(server));
  const first = client.close();
  assertStrictEquals(client.close(), first);
  await first;
  await client[Symbol.asyncDispose]();
  await client.abort();
  assertEquals(await client.closed, undefined);
  await server.close();
});

test("[L13] options that cannot hold are refused before anything is dialled", () => {
  const dials = new Dials(failing());
  const make = (options: object) =>
    new ReconnectingClient<object>(dials.dial, options);
  assertThrows(() => make({ dialTimeout: 0 }), RangeError);
  assertThrows(() => make({ retry: { base: -1 } }), RangeError);
  assertThrows(() => make({ maxQueuedCalls: -1 }), RangeError);
  assertEquals(dials.count, 0);
});

test("[I9] ready waits while there is no connection, goes on with the next, and rejects once closed", async () => {
  const t = new Reconnecting(["peer"]);
  let woken = 0;
  const wait = () => t.client.ready.then(() => woken++);
  const waits = [wait(), wait()];
  await settle();
  assertEquals(woken, 0);
  const peer = await t.ready({ calls: 1 });
  await Promise.all(waits);
  t.go();
  const full = wait();
  await settle();
  assertEquals(woken, 2);
  // Lost while somebody waits: the next connection's window counts.
  await peer.reset();
  await settle();
  await t.advance(50);
  assertEquals(woken, 2);
  await t.ready();
  await full;
  assertEquals(woken, 3);
  await t.over();
  await assertRejects(() => t.client.ready, RpcError);
});

test("desiredSize is the window's room, nothing while away, and negative by what waits", async () => {
  const t = new Reconnecting(["peer"]);
  assertEquals(t.client.desiredSize, 0);
  t.go();
  assertEquals(t.client.desiredSize, -1);
  await t.ready({ calls: 3 });
  assertEquals(t.client.desiredSize, 2);
  await t.over();
  assertEquals(t.client.desiredSize, 0);
});

for (
  const [name, wire] of [
    ["JSON-RPC", jsonRpc()],
    ["Go's", netrpc()],
    ["Go's JSON", netrpc({ encoding: "json" })],
  ] as const
) {
  test(`a wire without a HELLO is ready once it is dialled, and again after a loss (${name})`, async () => {
    const services = { A: { one: () => 1 } };
    const server = new Server(services, { wire } as ServerOptions);
    const client = new ReconnectingClient<typeof services>(() => {
      const [near, far] = memoryPair();
      server.accept(far);
      return Promise.resolve(near);
    }, { wire, retry: { base: 1, cap: 1 } });
    assertEquals(await client.call("A.one"), 1);
    const first = client.connection;
    await first?.abort();
    assertEquals(await client.call("A.one"), 1);
    assert(client.connection !== first);
    await client.close();
    await server.close();
  });
}
