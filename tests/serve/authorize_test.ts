// Authorization: which clients a server with `authorize` accepts, and what a client can do before the decision.

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "node:test";
import {
  type Authorize,
  type CallContext,
  Client,
  connect,
  type Connection,
  type ConnectOptions,
  listen,
  memoryPair,
  type Outcome,
  type Peer,
  type PeerHello,
  RpcError,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { settle } from "../support/clock.ts";
import type { Any } from "../support/dials.ts";
import {
  assertCloses,
  faceServer,
  type FacingServer,
} from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  frame,
  goaway,
  hello,
  KIND,
  type RawPeer,
  readCode,
  request,
} from "../support/raw_peer.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";
import { fromHex, ofType } from "../support/vectors.ts";

const SECRET = "open sesame";
const bySecret: Authorize = ({ credentials }) => credentials === SECRET;

/** A server whose `authorize` the test settles. */
class Gate {
  readonly facing: FacingServer;
  /** What `authorize` was asked, in order. */
  readonly asked: { hello: PeerHello; connection: Connection }[] = [];
  readonly decision = Promise.withResolvers<unknown>();
  /** Params of the calls that were started. */
  readonly started: unknown[] = [];
  readonly contexts: CallContext[] = [];

  constructor(options: ServerOptions = {}) {
    this.facing = faceServer({
      Test: {
        call: (params: unknown, ctx: CallContext) => {
          this.started.push(params);
          this.contexts.push(ctx);
          return params;
        },
      },
    }, {
      authorize: (hello, connection) => {
        this.asked.push({ hello, connection });
        return this.decision.promise;
      },
      ...options,
    });
  }

  get peer(): RawPeer {
    return this.facing.peer;
  }

  /** Sends as one chunk, and lets it be read. */
  async send(...parts: Uint8Array[]): Promise<void> {
    await this.peer.send(...parts);
    await settle();
  }

  /** Asserts that nothing at all has been written. */
  assertSilent(): void {
    const { chunksWritten, outgoingBytes } = this.facing.connection.stats();
    // Its HELLO is handed to the gate, and everything else waits in the send buffer.
    assertEquals(chunksWritten, 1);
    assert(outgoingBytes > 0);
    assertEquals(this.started, []);
  }

  /** Ends both ends, and asserts that nothing is left. */
  async over(): Promise<void> {
    const closed = this.facing.connection.close();
    await this.peer.rest();
    await this.peer.end();
    await closed;
    assertNothingLeft(this.facing.connection);
  }
}

function call(id: number): Uint8Array {
  return request(id, "Test.call", `call ${id}`);
}

// Rejected clients.

const DENIALS: [string, Authorize][] = [
  ["false", () => false],
  ["a promise of false", () => Promise.resolve(false)],
  ["nothing", () => {}],
  ["null", () => null],
  ["a comparison that fails", bySecret],
];

for (const [what, authorize] of DENIALS) {
  test(`[W1] ${what} rejects the client: it receives only GOAWAY, and no handler runs`, async () => {
    for (const credentials of [undefined, "open barley"]) {
      const gate = new Gate({ authorize });
      const extra = credentials === undefined
        ? []
        : [5, 0, 11, ...new TextEncoder().encode(credentials)];
      await gate.send(
        hello({ extra }),
        call(1),
        call(2),
        frame(KIND.CANCEL, 2),
        frame(KIND.PING, 7),
        request(3, "No.such"),
      );
      const closing = await assertCloses(gate.facing, "unauthenticated");
      assertEquals(closing.frames.length, 1);
      assertEquals(closing.lastId, undefined);
      assertEquals(gate.started, []);
    }
  });
}

const FAULTS: [string, Authorize][] = [
  ["throws", () => {
    throw new Error("the database says: no");
  }],
  ["rejects", () => Promise.reject(new Error("the database says: no"))],
  ["throws an RpcError", () => {
    throw new RpcError("unavailable", "the database says: no");
  }],
];

for (const [what, authorize] of FAULTS) {
  test(`[W2] an authorize that ${what} rejects the client, and only onError receives the cause`, async () => {
    const gate = new Gate({ authorize });
    await gate.send(hello(), call(1));
    const { text, reason } = await assertCloses(gate.facing, "unauthenticated");
    assert(!text.includes("database"), text);
    assert((reason.cause as Error).message.includes("database"));
    const [{ error, info }] = gate.facing.errors;
    assertEquals(error, reason);
    assertEquals(info.connection, gate.facing.connection);
    assertEquals(gate.facing.errors.length, 1);
    assertEquals(gate.started, []);
  });
}

test("[W2] an authorize that never settles rejects the client after handshakeTimeout", async () => {
  const gate = new Gate({ handshakeTimeout: 500 });
  await gate.facing.clock.advance(300);
  await gate.send(hello(), call(1));
  await gate.facing.clock.advance(199);
  gate.assertSilent();
  await gate.facing.clock.advance(1);
  const { lastId, frames } = await assertCloses(
    gate.facing,
    "deadline_exceeded",
  );
  assertEquals([lastId, frames.length], [undefined, 1]);
  // A decision that comes later changes nothing.
  gate.decision.resolve("admin");
  await settle();
  assertEquals(gate.started, []);
  assertEquals(gate.facing.connection.auth, undefined);
});

test("[W1] a rejected client receives the reason, and all of its calls are refused", async () => {
  for (const credentials of [undefined, "wrong", ""]) {
    let ran = 0;
    const t = pair({ Test: { call: () => void ran++ } }, {
      client: { credentials },
      server: { authorize: bySecret },
    });
    // Some are in flight before the decision, the others wait for the window.
    const handles = Array.from({ length: 100 }, () => t.client.go("Test.call"));
    const outcomes: Outcome[] = await Promise.all(
      handles.map((handle) => handle.settled),
    );
    assertEquals(outcomes.slice(0, 64), new Array(64).fill("refused"));
    assertEquals(outcomes.slice(64), new Array(36).fill("not_sent"));
    for (const handle of handles) {
      const error = await handle.reply.then(() => {}, (reason) => reason);
      assertInstanceOf(error, RpcError);
      assertEquals(error.code, "unauthenticated");
    }
    assertEquals((await t.client.closed)?.code, "unauthenticated");
    assertEquals(ran, 0);
    await t.close();
  }
});

test("[W1] a rejected client that is still writing receives the GOAWAY", async () => {
  const gate = new Gate();
  await gate.send(hello(), call(1));
  gate.decision.resolve(false);
  await settle();
  // It writes another mebibyte while the connection ends.
  for (let i = 0; i < 16; i++) await gate.peer.send(new Uint8Array(65_536));
  const { lastId } = await assertCloses(gate.facing, "unauthenticated");
  assertEquals(lastId, undefined);
});

// Accepted clients.

test("[W1] the server sends HELLO, and replies to earlier calls, only after the decision", async () => {
  const gate = new Gate();
  await gate.send(
    hello(),
    call(1),
    call(2),
    frame(KIND.CANCEL, 2),
    frame(KIND.PING, 7),
    request(3, "No.such"),
    call(4),
  );
  gate.assertSilent();
  assertEquals(gate.facing.connection.stats().waiting, 2);
  gate.decision.resolve("admin");
  assertEquals((await gate.peer.next())?.kind, KIND.HELLO);
  const pong = await gate.peer.next();
  assertEquals([pong?.kind, pong?.id], [KIND.PONG, 7]);
  const answers = new Map<number, [number, string | undefined]>();
  for (let i = 0; i < 4; i++) {
    const got = await gate.peer.next() as Awaited<
      ReturnType<RawPeer["nextOf"]>
    >;
    const code = got.kind === KIND.ERROR ? readCode(got).code : undefined;
    answers.set(got.id, [got.kind, code]);
  }
  assertEquals(answers.get(1), [KIND.REPLY, undefined]);
  assertEquals(answers.get(2), [KIND.ERROR, "cancelled"]);
  assertEquals(answers.get(3), [KIND.ERROR, "not_found"]);
  assertEquals(answers.get(4), [KIND.REPLY, undefined]);
  assertEquals(gate.started, ["call 1", "call 4"]);
  assertEquals(gate.contexts.map((ctx) => ctx.auth), ["admin", "admin"]);
  await gate.over();
});

test("authorize is called once, with the client's HELLO, and its result is ctx.auth", async () => {
  const vector = ofType("hello").find(({ message }) => message.credentials);
  const gate = new Gate();
  await gate.send(fromHex(vector!.bytes));
  const user = { name: "ali" };
  gate.decision.resolve(user);
  await settle();
  await gate.send(call(1));
  const [{ hello, connection }, ...more] = gate.asked;
  assertEquals(more, []);
  assertEquals(hello.credentials, new TextEncoder().encode(SECRET));
  assertEquals(hello.maxMessage, 4 << 20);
  assert(connection === gate.facing.connection);
  assert(connection.auth === user);
  assert(gate.contexts[0].auth === user);
  await gate.over();
});

test("without authorize, ctx.auth is undefined and credentials are ignored", async () => {
  const t = pair(
    { Test: { call: (_: undefined, ctx: CallContext) => `${ctx.auth}` } },
    { client: { credentials: new Uint8Array(15_360) } },
  );
  assertEquals(await t.client.call("Test.call"), "undefined");
  await t.close();
});

test("an accepted client sends its calls at once, within its window", async () => {
  const t = pair({ Test: { echo: (n: number) => n } }, {
    client: { credentials: SECRET },
    server: { authorize: bySecret },
  });
  const numbers = Array.from({ length: 1000 }, (_, i) => i);
  const replies = numbers.map((n) => t.client.call("Test.echo", n));
  assertEquals(await Promise.all(replies), numbers);
  await t.close();
});

test("a call's deadline also counts the time before the decision", async () => {
  const gate = new Gate();
  await gate.send(hello(), request(1, "Test.call", "late", 100), call(2));
  await gate.facing.clock.advance(100);
  gate.assertSilent();
  gate.decision.resolve(true);
  const late = await gate.peer.nextOf(KIND.ERROR);
  assertEquals([late.id, readCode(late).code], [1, "deadline_exceeded"]);
  await settle();
  assertEquals(gate.started, ["call 2"]);
  await gate.over();
});

// Bounds before the decision.

test("[W1] before the decision the early window applies", async () => {
  const gate = new Gate();
  const calls = Array.from({ length: 64 }, (_, i) => call(i + 1));
  await gate.send(hello(), ...calls);
  gate.assertSilent();
  assertEquals(gate.facing.connection.stats().waiting, 64);
  await gate.send(call(65));
  const { lastId } = await assertCloses(gate.facing, "resource_exhausted");
  assertEquals([lastId, gate.started], [undefined, []]);

  const accepted = new Gate();
  await accepted.send(hello(), ...calls);
  accepted.decision.resolve(true);
  await settle();
  const more = Array.from({ length: 100 }, (_, i) => call(65 + i));
  await accepted.send(...more);
  assertEquals(accepted.started.length, 164);
  await accepted.over();
});

test("[W1] before the decision the early limit of a message applies", async () => {
  const gate = new Gate();
  await gate.send(hello(), frame(KIND.PAD, 0, new Uint8Array(65_536)));
  gate.assertSilent();
  await gate.send(frame(KIND.PAD, 0, new Uint8Array(65_537)));
  await assertCloses(gate.facing, "frame_too_large");

  const accepted = new Gate();
  await accepted.send(hello());
  accepted.decision.resolve(true);
  await settle();
  await accepted.send(frame(KIND.PAD, 0, new Uint8Array(65_537)), call(1));
  assertEquals(accepted.started, ["call 1"]);
  await accepted.over();
});

test("[W1] PINGs and CANCELs before the decision take no memory", async () => {
  const gate = new Gate();
  await gate.send(hello(), call(1), frame(KIND.PING, 1));
  const before = gate.facing.connection.stats().outgoingBytes;
  const flood = Array.from(
    { length: 1000 },
    (_, i) => [frame(KIND.PING, i), frame(KIND.CANCEL, 1)],
  );
  await gate.send(...flood.flat());
  const { outgoingBytes, waiting } = gate.facing.connection.stats();
  assert(outgoingBytes - before < 100, `${outgoingBytes - before} bytes`);
  assertEquals(waiting, 0);
  gate.assertSilent();
  gate.decision.resolve(false);
  await assertCloses(gate.facing, "unauthenticated");
});

// Connections that end before the decision.

const EXITS: [string, (gate: Gate) => Promise<unknown>][] = [
  ["ends without a word", ({ peer }) => peer.end()],
  ["resets", ({ peer }) => peer.reset()],
  ["breaks the rules", ({ peer }) => peer.send(hello())],
];

for (const [how, leave] of EXITS) {
  test(`[W7] a peer that ${how} while authorize runs: no handler starts, and the decision has no effect`, async () => {
    for (const late of [(g: Gate) => g.decision.resolve("admin"), reject]) {
      const gate = new Gate();
      const { connection, clock } = gate.facing;
      await gate.send(hello(), call(1), call(2));
      await leave(gate);
      await settle();
      gate.peer.end().catch(() => {});
      assert((await connection.closed) !== undefined);
      late(gate);
      await settle();
      assertEquals(gate.started, []);
      assertEquals(connection.auth, undefined);
      assertNothingLeft(connection);
      assertEquals(clock.timers, 0);
      assertEquals(gate.facing.errors.length, 1);
    }
  });
}

function reject(gate: Gate): void {
  gate.decision.reject(new Error("too late"));
}

test("[W7] authorize is not called if a fault follows HELLO in the same chunk", async () => {
  const gate = new Gate();
  await gate.send(hello(), call(1), call(1));
  const { lastId } = await assertCloses(gate.facing, "protocol_error");
  assertEquals([lastId, gate.asked, gate.started], [undefined, [], []]);
});

test("[W7] a connection that is closed while authorize runs sends GOAWAY and serves no call", async () => {
  const gate = new Gate();
  await gate.send(hello(), call(1));
  const closed = gate.facing.connection.close();
  assertEquals(gate.facing.connection.close(), closed);
  const [farewell, ...more] = await gate.peer.rest();
  assertEquals(more, []);
  assertEquals([farewell.kind, farewell.flags], [KIND.GOAWAY, 1]);
  assertEquals(readCode(farewell).code, "");
  await gate.peer.end();
  await closed;
  gate.decision.resolve(true);
  await settle();
  assertEquals(gate.started, []);
  assertEquals(await gate.facing.connection.closed, undefined);
  assertNothingLeft(gate.facing.connection);
});

test("[W7] when a server is closed while authorize runs, its clients' calls are refused and can be made elsewhere", async () => {
  const t = pair({ Test: { call: () => 1 } }, {
    server: { authorize: () => new Promise(() => {}) },
  });
  const handle = t.client.go("Test.call");
  await settle();
  await t.server.close();
  assertEquals(await handle.settled, "refused");
  const error = await handle.reply.then(() => {}, (reason) => reason);
  assertEquals((error as RpcError).code, "unavailable");
  assertEquals(t.errors, []);
  await t.close();
});

test("[W7] a connection that is aborted while authorize runs ends at once", async () => {
  const gate = new Gate();
  await gate.send(hello(), call(1));
  await gate.facing.connection.abort();
  gate.decision.resolve(true);
  await settle();
  assertEquals(gate.started, []);
  assertNothingLeft(gate.facing.connection);
});

test("[W7] a call that the server makes waits for the decision, and is not sent if the client is rejected", async () => {
  for (const decision of [true, false]) {
    const gate = new Gate();
    const early = gate.facing.connection.go("their.method");
    await gate.send(hello());
    const late = gate.facing.connection.go("their.method");
    gate.assertSilent();
    gate.decision.resolve(decision);
    if (decision) {
      const kinds = [await gate.peer.next(), await gate.peer.next()];
      assertEquals(kinds.map((f) => f?.kind), [KIND.HELLO, KIND.REQUEST]);
      await gate.facing.connection.abort();
      assertEquals(await early.settled, "unknown");
      assertEquals(await late.settled, "unknown");
    } else {
      await assertCloses(gate.facing, "unauthenticated");
      assertEquals(await early.settled, "not_sent");
      assertEquals(await late.settled, "not_sent");
    }
    assertNothingLeft(gate.facing.connection);
  }
});

test("[W7] a peer that half-closed in order before the decision still receives its replies", async () => {
  const gate = new Gate({ handshakeTimeout: 500 });
  await gate.send(hello(), call(1), goaway(undefined));
  await gate.peer.end();
  await settle();
  gate.assertSilent();
  gate.decision.resolve(true);
  const kinds = (await gate.peer.rest()).map(({ kind }) => kind);
  assertEquals(kinds, [KIND.HELLO, KIND.REPLY]);
  assertEquals(await gate.facing.connection.closed, undefined);
  assertNothingLeft(gate.facing.connection);
});

// Certificates.

test("[W1] over mutual TLS, ctx.peer and authorize have the client's certificate", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no sockets");
  if ("Deno" in globalThis) return t.skip("Deno asks for no certificates");
  const { fixture } = await import("../support/fixture.ts");
  const identity = (name: string) => ({
    cert: fixture(`${name}.pem`),
    key: fixture(`${name}-key.pem`),
    ca: fixture("ca.pem"),
  });
  const nameOf = ({ certificate }: Peer) => `${certificate?.subject.CN}`;
  for (const wanted of ["Sluice test client", "nobody"]) {
    const server = new Server({
      Test: {
        call: (_: undefined, { auth, peer }: CallContext) =>
          `${auth} ${peer.certificate?.raw.length} ${peer.remote}`,
      },
    }, { authorize: (_, { peer }) => nameOf(peer) === wanted && nameOf(peer) });
    const listener = await listen({
      port: 0,
      tls: { ...identity("server"), requestCert: true },
    });
    server.serve(listener);
    const duplex = await connect({
      ...listener.address,
      tls: { ...identity("client"), servername: "localhost" },
    } as ConnectOptions);
    const client = new Client<Any>(duplex);
    const pem = fixture("client.pem").match(/N CERT[^-]*-----([^-]*)/)![1];
    const der = atob(pem.replace(/\s/g, ""));
    const answer = client.call("Test.call").catch(({ code }) => code);
    assertEquals(
      await answer,
      wanted !== "nobody"
        ? `${wanted} ${der.length} ${duplex.local}`
        : "unauthenticated",
    );
    assertEquals(`${duplex.certificate?.altNames}`.includes("localhost"), true);
    await Promise.all([client.close(), server.close()]);
  }
});

test("without TLS there is no certificate", async () => {
  const t = pair({
    Test: {
      call: (_: undefined, { peer }: CallContext) => `${peer.certificate}`,
    },
  });
  assertEquals(await t.client.call("Test.call"), "undefined");
  await t.close();
});

// Other protocols.

test("on a protocol without HELLO, authorize decides by the connection alone", async () => {
  for (const admit of [true, false]) {
    const [near, far] = memoryPair();
    const server = new Server({ Test: { call: (n: number) => n } }, {
      protocol: netrpc({ encoding: "json" }),
      authorize: ({ credentials }) => credentials === undefined && admit,
    });
    const connection = server.accept(far);
    const client = new Client<Any>(near, {
      protocol: netrpc({ encoding: "json" }),
    });
    const handle = client.go("Test.call", 7);
    if (admit) assertEquals(await handle.reply, 7);
    else assertEquals(await handle.settled, "unknown");
    await Promise.all([client.close(), server.close()]);
    assertNothingLeft(client.connection);
    assertNothingLeft(connection);
  }
});
