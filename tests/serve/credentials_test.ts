// Credentials: what a client sends in HELLO, read anew for each dial.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  ConnectionError,
  type CredentialsSource,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import {
  type Any,
  assertNothingIsLeft,
  Dials,
  Reconnecting,
  serving,
} from "../support/dials.ts";
import { settle } from "../support/clock.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { goaway, hello, RawPeer } from "../support/raw_peer.ts";

/** A server that accepts clients with the current token, and the credentials it received. */
class Gatekeeper {
  token = "first";
  readonly shown: string[] = [];
  readonly server: Server<object> = new Server({
    Test: {
      who: (_: undefined, ctx: CallContext) => ctx.auth as { token: string },
    },
  }, {
    authorize: ({ credentials }) => {
      const text = `${credentials}`;
      this.shown.push(text);
      return credentials === this.token && { token: text };
    },
  });
}

test("[X41] credentials that are text arrive as text and as bytes, up to 15,360 bytes", async () => {
  const sent = [
    ...["", "žlutý kůň", "\0", "\ufeffmark", "😀", "7"],
    ...[new Uint8Array(), new Uint8Array([0, 255, 128])],
    new TextEncoder().encode("bytes that could be text"),
  ];
  const long = new Uint8Array(15_360).map((_, i) => i);
  for (const credentials of [...sent, long, "x".repeat(15_360)]) {
    const got = Promise.withResolvers<unknown>();
    const t = pair({ Test: { call: () => 1 } }, {
      client: { credentials },
      server: {
        authorize: (hello) => {
          got.resolve(hello.credentials);
          return true;
        },
      },
    });
    const shown = await got.promise;
    assertEquals(shown, credentials);
    assertEquals(typeof shown, typeof credentials);
    assertEquals(await t.client.call("Test.call"), 1);
    await t.close();
  }
});

test("[X41] a reconnecting client sends with each dial what its credentials function returns", async () => {
  const given = ["text", new Uint8Array([1, 2]), ""];
  const seen: unknown[] = [];
  const server = new Server<object>({ Test: { call: () => 1 } }, {
    authorize: ({ credentials }) => (seen.push(credentials), true),
  });
  const client = new ReconnectingClient<Any>(serving(server), {
    credentials: () => given[seen.length],
    retry: { base: 1 },
  });
  for (const _ of given) {
    await client.call("Test.call");
    await client.connection?.abort();
  }
  assertEquals(seen, given);
  await client.abort();
  await server.close();
});

test("[X41] credentials that are not marked as text arrive as bytes, and marked ones must be UTF-8", async () => {
  const open = [...new TextEncoder().encode("open")];
  const shows: [readonly number[], unknown][] = [
    [[5, 0, 4, ...open], new Uint8Array(open)],
    [[5, 0, 4, ...open, 8, 0, 0], "open"],
    [[8, 0, 0, 5, 0, 4, ...open], "open"],
    [[8, 0, 0], undefined],
    [[5, 0, 1, 0xff, 8, 0, 0], "protocol_error"],
    [[5, 0, 1, 0x61, 8, 0, 1, 0], "protocol_error"],
  ];
  for (const [extra, shown] of shows) {
    const seen: unknown[] = [];
    const errors: unknown[] = [];
    const server = new Server<object>({ Test: { call: () => 1 } }, {
      authorize: ({ credentials }) => (seen.push(credentials), true),
      onError: (error) => errors.push(error),
    });
    const peer = new RawPeer();
    server.accept(peer.duplex);
    await peer.send(hello({ extra }));
    await settle();
    const fault = shown === "protocol_error";
    assertEquals(seen, fault ? [] : [shown]);
    await peer.end();
    await server.close();
    const codes = errors.map((error) => (error as ConnectionError).code);
    assertEquals(codes, [fault ? shown : "unavailable"]);
  }
});

test("[X42] the error of a rejected client says that the server did not accept its credentials", async () => {
  const server = new Server<object>({ Test: { call: () => 1 } }, {
    authorize: () => false,
  });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<Any>(near);
  const error = await client.call("Test.call").then(() => {}, (e) => e);
  assertInstanceOf(error, RpcError);
  const text = "the server did not accept the credentials";
  assertEquals([error.code, error.message], ["unauthenticated", text]);
  assertEquals((await client.closed)?.message, text);
  const again = new ReconnectingClient<Any>(serving(server), {
    retry: { base: 1 },
  });
  const waited = await again.call("Test.call").then(() => {}, (e) => e);
  assertInstanceOf(waited, RpcError);
  assertEquals([waited.code, waited.message], ["unauthenticated", text]);
  await server.close();
});

test("[X42] the error of a rejected client contains the text of another server", async () => {
  for (const [sent, shown] of [["", ""], ["no token", ': "no token"']]) {
    const peer = new RawPeer();
    const client = new Client<Any>(peer.duplex);
    await peer.send(goaway(undefined, "unauthenticated", sent));
    await peer.end();
    const text = `the server did not accept the credentials${shown}`;
    assertEquals((await client.closed)?.message, text);
  }
});

test("invalid credentials are refused before anything is sent", () => {
  const [near] = memoryPair();
  const make = (credentials: unknown) =>
    new Client(near, { credentials: credentials as string });
  assertThrows(() => make(7), TypeError, "Cannot use credentials");
  assertThrows(() => make(["x"]), TypeError, "Cannot use credentials");
  assertThrows(() => make("é".repeat(7681)), RangeError, "15362 bytes");
  assertThrows(() => make("x\ud800"), TypeError, "half of a surrogate pair");
  assertThrows(() => make(new Uint8Array(15_361)), RangeError, "15361 bytes");
  // The streams of the duplex are still free.
  assert(!near.readable.locked);
  const dials = new Dials();
  assertThrows(
    () =>
      new ReconnectingClient(dials.dial, { credentials: "x".repeat(15_361) }),
    RangeError,
  );
  assertEquals(dials.count, 0);
});

test("a protocol without HELLO has no credentials", () => {
  for (const wire of [jsonRpc(), netrpc({ encoding: "json" })]) {
    const [near] = memoryPair();
    assertThrows(
      () => new Client(near, { protocol: wire, credentials: "x" }),
      TypeError,
      "the protocol has no HELLO",
    );
  }
});

test("a reconnecting client calls its credentials function for each dial, synchronous or not", async () => {
  for (const later of [false, true]) {
    const gate = new Gatekeeper();
    const credentials: CredentialsSource = () =>
      later ? Promise.resolve(gate.token) : gate.token;
    const t = new Reconnecting([serving(gate.server)], { credentials });
    assertEquals(await t.client.call("Test.who"), { token: "first" });
    gate.token = "second";
    t.lose();
    await t.advance(100);
    assertEquals(await t.client.call("Test.who"), { token: "second" });
    assertEquals(gate.shown, ["first", "second"]);
    await t.over();
    await gate.server.close();
  }
});

test("a reconnecting client sends credentials that are not a function with each dial", async () => {
  const gate = new Gatekeeper();
  const t = new Reconnecting([serving(gate.server)], { credentials: "first" });
  await t.client.call("Test.who");
  t.lose();
  await t.advance(100);
  await t.client.call("Test.who");
  assertEquals(gate.shown, ["first", "first"]);
  await t.over();
  await gate.server.close();
});

test("[W1] a reconnecting client that is rejected once connects with its next credentials", async () => {
  const gate = new Gatekeeper();
  const tokens = ["stale", "first"];
  const t = new Reconnecting([serving(gate.server)], {
    credentials: () => tokens.shift() as string,
  });
  const reply = t.client.call("Test.who");
  await t.advance(100);
  assertEquals(await reply, { token: "first" });
  assertEquals(gate.shown, ["stale", "first"]);
  await t.over();
  await gate.server.close();
});

test("[W1] a reconnecting client that is rejected twice in a row ends, and its calls are not sent", async () => {
  const gate = new Gatekeeper();
  const t = new Reconnecting([serving(gate.server)], { credentials: "stale" });
  const handle = t.go();
  await t.advance(100);
  assertEquals((await t.client.closed)?.code, "unauthenticated");
  assertEquals(await handle.settled, "not_sent");
  const error = await handle.reply.then(() => {}, (reason) => reason);
  assertEquals((error as RpcError).code, "unauthenticated");
  assertEquals(gate.shown, ["stale", "stale"]);
  assertNothingIsLeft(t);
  await gate.server.close();
});

const FAILURES: [string, CredentialsSource][] = [
  ["throw", () => {
    throw new Error("no token today");
  }],
  ["reject", () => Promise.reject(new Error("no token today"))],
  ["are none", () => 7 as unknown as string],
];

for (const [what, credentials] of FAILURES) {
  test(`a credentials function that ${what} fails the dial, which is repeated`, async () => {
    const gate = new Gatekeeper();
    const sources = [credentials, () => gate.token];
    const t = new Reconnecting([serving(gate.server)], {
      credentials: (signal) => (sources.shift() as CredentialsSource)(signal),
    });
    const reply = t.client.call("Test.who");
    await t.advance(100);
    assertEquals(await reply, { token: "first" });
    assertEquals(gate.shown, ["first"]);
    await t.over();
    await gate.server.close();
  });
}

test("[W7] credentials that arrive after the client has ended are not used", async () => {
  const token = Promise.withResolvers<string>();
  const gate = new Gatekeeper();
  const signals: AbortSignal[] = [];
  const t = new Reconnecting([serving(gate.server)], {
    dialTimeout: 500,
    credentials: (signal) => {
      signals.push(signal);
      return token.promise;
    },
  });
  await t.advance(500);
  assert(signals[0].reason instanceof ConnectionError);
  assertEquals(signals[0].reason.code, "deadline_exceeded");
  // The second dial waits for the same token when the client ends.
  await t.advance(100);
  assertEquals(signals.length, 2);
  await t.over();
  token.resolve("first");
  await settle();
  assertEquals([t.dials.count, gate.shown], [0, []]);
  await gate.server.close();
});

test("a plain client's connection reports that the server rejected it", async () => {
  const gate = new Gatekeeper();
  const [near, far] = memoryPair();
  const connection = gate.server.accept(far);
  const client = new Client<Any>(near);
  const error = await client.call("Test.who").then(() => {}, (e) => e);
  assert(error instanceof RpcError);
  assertEquals([error.code, error.outcome], ["unauthenticated", "refused"]);
  await client.closed;
  await gate.server.close();
  assertNothingLeft(client.connection);
  assertNothingLeft(connection);
});
