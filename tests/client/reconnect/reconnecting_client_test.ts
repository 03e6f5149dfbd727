/** The connections of a reconnecting client: its dials, delays and states, and how it ends. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { jsonRpc } from "../../../jsonrpc.ts";
import { netrpc } from "../../../netrpc.ts";
import {
  type CallHandle,
  clientMiddleware,
  ConnectionError,
  type Dial,
  type Duplex,
  echoServices,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
  type ServerOptions,
} from "../../../mod.ts";
import { settle, TestClock } from "../../support/clock.ts";
import {
  assertNothingIsLeft,
  Dials,
  failing,
  hanging,
  Reconnecting,
  sendGoaway,
  serving,
} from "../../support/dials.ts";
import {
  goaway,
  hello,
  KIND,
  type RawPeer,
  reply,
} from "../../support/raw_peer.ts";

test("[L12] a client whose dial fails dials again, after delays that grow up to the cap", async () => {
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

test("[L12] a dial that hangs fails after dialTimeout, and its signal aborts", async () => {
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

test("[L12] a connection that closes before HELLO counts as a failed dial, and calls that wait are not sent on it", async () => {
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

test("[L12] there is a delay after a connection that answered its first call with GOAWAY", async () => {
  const t = new Reconnecting(["peer"]);
  const handle = t.go();
  for (const delay of [50, 100, 200, 400]) {
    const peer = await t.ready();
    await sendGoaway(peer);
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

test("[L12] after a stable connection that replied to a call, the client dials at once if it was closed gracefully, and after the first delay if it was lost", async () => {
  const t = new Reconnecting([failing(), failing(), "peer"]);
  await t.advance(50);
  await t.advance(100);
  let peer = await t.ready();
  const first = t.go();
  await peer.send(reply(1, "one"));
  await first.reply;
  await t.advance(5000);
  await sendGoaway(peer, 1);
  await peer.end();
  await settle();
  assertEquals(t.client.state, "connecting");
  peer = await t.ready();
  const second = t.go();
  await peer.send(reply(1, "two"));
  await second.reply;
  await t.advance(5000);
  await peer.reset();
  await settle();
  assertEquals(t.states.at(-1), ["waiting", 50]);
  await t.over();
});

test("[X20] delays start at the base again exactly when a connection has lived for stableAfter", async () => {
  for (const [lived, delay] of [[299, 200], [300, 50]]) {
    const t = new Reconnecting([failing(), failing(), "peer"], {
      retry: { stableAfter: 300 },
    });
    await t.advance(50);
    await t.advance(100);
    const peer = await t.ready();
    await t.advance(lived);
    await peer.reset();
    await settle();
    assertEquals(t.states.at(-1), ["waiting", delay]);
    await t.over();
  }
});

/** Connects, and replies to one call. */
async function answer(t: Reconnecting): Promise<RawPeer> {
  const peer = await t.ready();
  const handle = t.go();
  await peer.send(reply(1));
  await handle.reply;
  return peer;
}

/** Servers that end each connection soon. */
const SHORT: Record<string, (t: Reconnecting) => Promise<void>> = {
  "replies to one call and sends GOAWAY": async (t) => {
    const peer = await answer(t);
    await sendGoaway(peer, 1);
    await peer.end();
  },
  "replies to one call, sends GOAWAY and never closes": async (t) =>
    sendGoaway(await answer(t), 1),
  "replies to one call and resets": async (t) => (await answer(t)).reset(),
  "replies to one call and closes without GOAWAY": async (t) =>
    (await answer(t)).end(),
  "sends HELLO and GOAWAY at once": async (t) => {
    await settle();
    const peer = t.peers.at(-1)!;
    await peer.send(hello(), goaway(undefined));
    await peer.end();
  },
  "sends HELLO and resets": async (t) => (await t.ready()).reset(),
  "sends GOAWAY without HELLO": async (t) => {
    await settle();
    const peer = t.peers.at(-1)!;
    await peer.send(goaway(undefined));
    await peer.end().catch(() => {});
  },
  "accepts and resets": async (t) => {
    await settle();
    await t.peers.at(-1)!.reset();
  },
};

for (const [what, life] of Object.entries(SHORT)) {
  test(`[X20] a server that ${what}, again and again, is dialled after delays that grow up to the cap`, async () => {
    const t = new Reconnecting(["peer"]);
    for (const delay of [50, 100, 200, 400, 500, 500, 500]) {
      await settle();
      const { count } = t.dials;
      await life(t);
      await settle();
      assertEquals(t.states.at(-1), ["waiting", delay]);
      await t.advance(delay - 1);
      assertEquals(t.dials.count, count);
      await t.advance(1);
      assertEquals(t.dials.count, count + 1);
    }
    await t.over();
  });
}

test("[X20] retry.attempts counts failed dials, not short connections that replied to a call", async () => {
  const t = new Reconnecting(["peer"], { retry: { attempts: 2 } });
  for (const delay of [50, 100, 200, 400]) {
    const peer = await answer(t);
    await peer.reset();
    await settle();
    assertEquals(t.states.at(-1), ["waiting", delay]);
    await t.advance(delay);
  }
  await t.over();
});

test("[L12] a thousand clients that lose one server come back spread over the whole delay", async () => {
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
      onStateChange: (_state, { delay }) => {
        if (delay !== undefined) waits.push(delay);
      },
    });
  });
  await settle();
  for (const connection of server.connections) connection.abort();
  await settle();
  assertEquals(waits.length, 1000);
  // With even random numbers a tenth of the second stays empty once in 10^45 runs.
  const tenths = new Set(waits.map((delay) => Math.floor(delay / 100)));
  assertEquals(tenths.size, 10);
  await Promise.all(clients.map((client) => client.abort()));
  await server.close();
});

test("[L12] after retry.attempts failed dials the client ends, and calls that wait reject as not_sent", async () => {
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
  assertNothingIsLeft(t);
});

test("[L12] the client ends after two dials in a row fail with unauthenticated, but not after one", async () => {
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
  assertNothingIsLeft(t);
});

test("[L12] a peer that rejects the client by GOAWAY before its HELLO counts as a dial that failed with unauthenticated", async () => {
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
  assertNothingIsLeft(t);
});

/** Lasting reasons for a failed dial: the code that the client ends with, and the dial. */
const LASTING: Record<string, [code: string, dial: Dial | "peer"]> = {
  "a peer with another serializer": ["serializer_mismatch", "peer"],
  "a peer of another version": ["version_mismatch", "peer"],
  "a peer that is no Sluice peer": ["not_sluice", "peer"],
  "a dial that fails with such a code": [
    "not_sluice",
    failing("not_sluice"),
  ],
  "a dial that throws a TypeError": ["internal", () => {
    throw new TypeError("the test's mistake");
  }],
  "a dial that rejects with a RangeError": [
    "internal",
    () => Promise.reject(new RangeError("the test's mistake")),
  ],
  "a dial that returns no duplex": ["internal", () => ({}) as Duplex],
};

const FIRST_BYTES: Record<string, Uint8Array> = {
  serializer_mismatch: hello({ extra: [4, 0, 1, 0x78] }),
  version_mismatch: hello({ version: 2 }),
  not_sluice: new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"),
};

for (const [what, [code, dial]] of Object.entries(LASTING)) {
  test(`[X38] ${what} ends the client after retry.fatalAttempts dials in a row, with that error`, async () => {
    const t = new Reconnecting([dial], { retry: { fatalAttempts: 3 } });
    const handle = t.go();
    for (let dials = 1; dials <= 3; dials++) {
      await settle();
      assertEquals(t.dials.count, dials);
      if (dials < 3) assert(!t.states.includes("closed"));
      if (dial === "peer") {
        const peer = t.peers.at(-1)!;
        await peer.send(FIRST_BYTES[code]).catch(() => {});
        await peer.end().catch(() => {});
        await settle();
      }
      await t.advance([50, 100, 1000][dials - 1]);
    }
    const reason = await t.client.closed;
    assertEquals(reason?.code, code);
    if (code === "internal") assertInstanceOf(reason?.cause, Error);
    const error = await assertRejects(() => handle.reply, RpcError);
    assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
    assertStrictEquals(error.cause, reason);
    assertEquals(t.dials.count, 3);
    assertNothingIsLeft(t);
  });
}

test("[X38] credentials that throw a programming error end the client, as such a dial does", async () => {
  const mistake = new TypeError("the test's mistake");
  const t = new Reconnecting(["peer"], {
    retry: { fatalAttempts: 2 },
    credentials: () => {
      throw mistake;
    },
  });
  await t.advance(50);
  const reason = await t.client.closed;
  assertStrictEquals(reason?.cause, mistake);
  assertNothingIsLeft(t);
});

test("[X38] after failures that may pass the client dials on for ever, and each of them resets the count of fatal attempts", async () => {
  const lasting = failing("version_mismatch");
  const t = new Reconnecting([
    lasting,
    lasting,
    failing(),
    lasting,
    lasting,
    "peer",
    lasting,
    lasting,
    failing(),
  ], { retry: { fatalAttempts: 3 } });
  for (let i = 0; i < 5; i++) await t.advance(1000);
  await answer(t);
  t.lose();
  for (let i = 0; i < 50; i++) await t.advance(1000);
  assertEquals(t.client.state, "waiting");
  assert(t.dials.count > 50);
  await t.over();
});

/** Why a client has no connection, and the code of that failure. */
const AWAY: Record<string, (t: Reconnecting) => Promise<string>> = {
  "the dials fail": async (t) => {
    t.dials.then(failing("resource_exhausted"));
    await t.advance(10);
    return "resource_exhausted";
  },
  "the connection was lost": async (t) => {
    await t.ready();
    t.dials.then(hanging());
    await t.peers[0].reset();
    await settle();
    return "unavailable";
  },
  "the server has sent GOAWAY": async (t) => {
    await t.ready();
    t.dials.then(hanging());
    await t.peers[0].send(goaway(undefined, "resource_exhausted", "full"));
    await settle();
    return "resource_exhausted";
  },
};

/** The end of a chain of causes. */
function root(error: unknown): unknown {
  while (error instanceof Error && error.cause !== undefined) {
    const { cause } = error;
    if (!(cause instanceof ConnectionError)) break;
    error = cause;
  }
  return error;
}

const REJECTIONS: Record<
  string,
  (t: Reconnecting, handle: CallHandle) => Promise<unknown>
> = {
  "a deadline": (t) => t.advance(30),
  "a close whose time runs out": (t) => {
    t.client.close({ timeout: 10 });
    return t.advance(10);
  },
  "an abort of the client": (t) => {
    t.client.abort();
    return settle();
  },
  "a call after close": async (t) => {
    const closing = t.client.close({ timeout: 10 });
    await settle();
    const late = t.go();
    await t.advance(10);
    // The connection that the client left has its own time to close.
    await t.advance(1000);
    await closing;
    assertInstanceOf(root(await thrown(late)), ConnectionError);
  },
};

function thrown(handle: CallHandle): Promise<unknown> {
  return handle.reply.then(() => undefined, (error) => error);
}

for (const [where, arrive] of Object.entries(AWAY)) {
  for (const [how, end] of Object.entries(REJECTIONS)) {
    for (const use of [undefined, clientMiddleware((_call, next) => next())]) {
      const by = use === undefined ? "" : ", by way of middleware";
      test(`[X38] a call that waits because ${where} and is rejected by ${how} has the last failure as its cause${by}`, async () => {
        const t = new Reconnecting(["peer"], {
          use,
          retry: { base: 60_000, cap: 60_000 },
        });
        const code = await arrive(t);
        const handle = t.go("x", { timeout: 30 });
        await end(t, handle);
        const error = await thrown(handle);
        assertInstanceOf(error, RpcError);
        const last = root(error);
        assertInstanceOf(last, ConnectionError);
        assertEquals(last.code, code);
        t.dials.then(hanging());
        await t.over();
      });
    }
  }
  test(`[X38] with whenOffline reject, a call that rejects because ${where} has the last failure as its cause`, async () => {
    const t = new Reconnecting(["peer"], {
      whenOffline: "reject",
      retry: { base: 60_000, cap: 60_000 },
    });
    const code = await arrive(t);
    const error = await thrown(t.go());
    assertInstanceOf(error, RpcError);
    assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
    assertEquals((root(error) as ConnectionError).code, code);
    t.dials.then(hanging());
    await t.over();
  });
}

test("[L12] abort and close end a delay and a dial at once", async () => {
  for (const end of ["abort", "close"] as const) {
    for (const step of [failing(), hanging()]) {
      const t = new Reconnecting([step]);
      await settle();
      const { count } = t.dials;
      await t.client[end]();
      assertNothingIsLeft(t);
      await t.advance(100_000);
      assertEquals(t.dials.count, count);
    }
  }
});

test("[L16] a connection without a HELLO of the peer fails after handshakeTimeout, and calls that wait are not sent on it", async () => {
  const t = new Reconnecting(["peer"], { handshakeTimeout: 1000 });
  const handle = t.go();
  await settle();
  await t.advance(1000);
  // The client reads for another second what the peer sends.
  await t.advance(1000);
  assertEquals(t.client.state, "waiting");
  assertEquals(handle.outcome, "not_sent");
  const frames = await t.peers[0].rest();
  assertEquals(frames.map(({ kind }) => kind), [KIND.HELLO, KIND.GOAWAY]);
  await t.advance(2000);
  assertEquals(t.peers.length, 2);
  await t.over();
});

test("[L16] dialTimeout limits the dial alone, and the handshake has its own timeout", async () => {
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
  test(`[L16] the client closes the socket of a dial that succeeds after ${what}`, async () => {
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

test("[L16] a late dial that returns no duplex, or fails, has no effect", async () => {
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

test("a dial gets a signal, and ends at once if it heeds it", async () => {
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

test("callback and iterator get the states in order", async () => {
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
  assertNothingIsLeft(t);
});

test("a slow reader of the iterator gets the latest state, and an iterator that is left costs nothing", async () => {
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

test("exceptions of onStateChange are ignored", async () => {
  const t = new Reconnecting(["peer"], {
    onStateChange: () => {
      throw new Error("from the listener");
    },
  });
  await t.ready();
  assertEquals(t.client.state, "ready");
  await t.over();
});

test("close in parallel, close again and dispose are one close", async () => {
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

test("[L13] options out of their range throw before anything is dialled", () => {
  const dials = new Dials(failing());
  const make = (options: object) =>
    new ReconnectingClient<object>(dials.dial, options);
  assertThrows(() => make({ dialTimeout: 0 }), RangeError);
  assertThrows(() => make({ retry: { base: -1 } }), RangeError);
  assertThrows(() => make({ maxQueuedCalls: -1 }), RangeError);
  assertEquals(dials.count, 0);
});

test("[I9] ready waits for a connection, also for the next one, and rejects once the client is closed", async () => {
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
  // The connection is lost while a caller waits: the window of the next one counts.
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

test("desiredSize is the room of the window; without a connection it is 0, or minus the number of calls that wait", async () => {
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
  test(`with a protocol without HELLO the client is ready once it has dialled, and again after a loss (${name})`, async () => {
    const services = { A: { one: () => 1 } };
    const server = new Server(services, { protocol: wire } as ServerOptions);
    const client = new ReconnectingClient<typeof services>(() => {
      const [near, far] = memoryPair();
      server.accept(far);
      return Promise.resolve(near);
    }, { protocol: wire, retry: { base: 1, cap: 1 } });
    assertEquals(await client.call("A.one"), 1);
    const first = client.connection;
    await first?.abort();
    assertEquals(await client.call("A.one"), 1);
    assert(client.connection !== first);
    await client.close();
    await server.close();
  });
}
