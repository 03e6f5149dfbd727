/** Calls whose connection is lost or closed: which of them are sent again, in which order, and with which params. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  type CallContext,
  type CallHandle,
  ConnectionError,
  type Frame,
  memoryPair,
  type Outcome,
  ReconnectingClient,
  RpcError,
  type Serializer,
  Server,
} from "../../../mod.ts";
import { settle } from "../../support/clock.ts";
import {
  type Any,
  assertNothingIsLeft,
  failing,
  hanging,
  Reconnecting,
  sendGoaway,
  serving,
} from "../../support/dials.ts";
import {
  failure,
  hello,
  KIND,
  type RawPeer,
  reply,
} from "../../support/raw_peer.ts";
import { Held } from "../../support/services.ts";

/** The payload of a REQUEST for method "m" without deadline and metadata, as text, its kind first. */
function payload({ body }: Required<Frame>): string {
  return `${body[3]}:${new TextDecoder().decode(body.subarray(4))}`;
}

/** The payloads of the next requests. */
async function requests(peer: RawPeer, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) got.push(payload(await peer.nextOf(KIND.REQUEST)));
  return got;
}

async function errorOf(handle: CallHandle): Promise<RpcError> {
  return await assertRejects(() => handle.reply, RpcError);
}

test("[L12] calls that a GOAWAY refuses are sent again in their order, before newer calls", async () => {
  const t = new Reconnecting(["peer"]);
  let peer = await t.ready({ calls: 4 });
  // Two get replies, two are refused, and two wait for the window.
  const handles = [0, 1, 2, 3, 4, 5].map((i) => t.go(`${i}`));
  await settle();
  await sendGoaway(peer, 2);
  const newer = [6, 7].map((i) => t.go(`${i}`));
  await t.advance(50);
  peer = await t.ready();
  const again = await requests(peer, 6);
  assertEquals(again, ["3:2", "3:3", "3:4", "3:5", "3:6", "3:7"]);
  await peer.send(...[1, 2, 3, 4, 5, 6].map((id) => reply(id, `r${id}`)));
  const replies = [...handles.slice(2), ...newer].map(({ reply }) => reply);
  assertEquals(await Promise.all(replies), [
    "r1",
    "r2",
    "r3",
    "r4",
    "r5",
    "r6",
  ]);
  // The old connection still finishes its calls.
  assertEquals(t.client.stats().connections, 2);
  await t.peers[0].send(reply(2, "two"), reply(1, "one"));
  assertEquals(await handles[0].reply, "one");
  assertEquals(await handles[1].reply, "two");
  assertEquals(t.client.stats().resent, 4);
  await t.peers[0].end();
  await settle();
  assertEquals(t.client.stats().connections, 1);
  await t.over();
});

test("[L12] when a connection is lost, a call in flight rejects as unknown, and a call that waited for the window is sent again", async () => {
  const t = new Reconnecting(["peer"]);
  let peer = await t.ready({ calls: 1 });
  const sent = t.go("sent");
  const queued = t.go("queued");
  await settle();
  await peer.reset();
  const error = await errorOf(sent);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  assertEquals(await sent.settled, "unknown");
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 1), ["3:queued"]);
  await peer.send(reply(1, "ok"));
  assertEquals(await queued.reply, "ok");
  assertEquals(await queued.settled, "executed");
  await t.over();
});

test("[L12] a call that may have run is sent again if its method or the call is idempotent, and the call's option has priority", async () => {
  const t = new Reconnecting(["peer"], { idempotent: ["m"] });
  let peer = await t.ready();
  const byMethod = t.go("method");
  const not = t.go("not", { idempotent: false });
  const other = t.client.go("n", "other");
  const byCall = t.client.go("n", "call", { idempotent: true });
  await settle();
  await peer.reset();
  await settle();
  assertEquals([byMethod.outcome, byCall.outcome], ["unknown", "unknown"]);
  assertEquals((await errorOf(not)).outcome, "unknown");
  assertEquals((await errorOf(other)).outcome, "unknown");
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 2), ["3:method", "3:call"]);
  await peer.send(reply(1, "a"), reply(2, "b"));
  assertEquals([await byMethod.reply, await byCall.reply], ["a", "b"]);
  await t.over();
});

test("[L12] a call that may have run once stays unknown, even if a later peer refuses it", async () => {
  const t = new Reconnecting(["peer"], { retry: { attempts: 2 } });
  let peer = await t.ready();
  const handle = t.go("x", { idempotent: true });
  await settle();
  await peer.reset();
  await t.advance(50);
  peer = await t.ready();
  assertEquals(handle.outcome, "unknown");
  await peer.send(failure(1, "resource_exhausted", "busy", false));
  const error = await errorOf(handle);
  assertEquals([error.code, error.outcome], ["resource_exhausted", "unknown"]);
  assertEquals(await handle.settled, "unknown");
  await t.over();
});

test("[L12] an error from the peer settles the call, whatever its code: only a lost or closed connection makes the client send it again", async () => {
  const t = new Reconnecting(["peer"]);
  const peer = await t.ready();
  const codes = ["unavailable", "resource_exhausted", "unauthenticated"];
  const handles = codes.map((code) => t.go(code));
  await settle();
  await peer.send(...codes.map((code, i) => failure(i + 1, code, "no", false)));
  for (const [i, handle] of handles.entries()) {
    const error = await errorOf(handle);
    assertEquals([error.code, error.outcome], [codes[i], "refused"]);
  }
  assertEquals(t.client.stats().resent, 0);
  await t.over();
});

test("[L12] a nested call is not sent again if the connection of its outer call is lost", async () => {
  const t = new Reconnecting(["peer"]);
  const outer = new AbortController();
  await t.ready({ calls: 1 });
  t.go("fills the window");
  const ctx = { signal: outer.signal, remaining: Infinity };
  const handle = t.go("x", { ctx });
  await settle();
  // The reason that a handler's signal has then: an RpcError with a ConnectionError as its cause.
  const cause = new ConnectionError("unavailable", "the caller is gone");
  const reason = new RpcError("unavailable", "gone", { cause });
  outer.abort(reason);
  assertEquals(await errorOf(handle), reason);
  assertEquals(t.client.stats().resent, 0);
  await t.over();
});

test("later changes to params and metadata have no effect, neither on a call that waits nor on one that is sent again", async () => {
  const t = new Reconnecting(["peer"]);
  const params = { n: 1, at: new Date(0) };
  const bytes = new Uint8Array(20_000).fill(97);
  const metadata = { name: "before" };
  t.go(params, { metadata });
  t.go(bytes);
  t.go(bytes, { transfer: true });
  params.n = 2;
  metadata.name = "after";
  const text = () => `2:${"a".repeat(20_000)}`;
  for (const delay of [50, 100]) {
    const peer = await t.ready();
    const first = await peer.nextOf(KIND.REQUEST);
    const body = new TextDecoder().decode(first.body);
    assert(body.includes('{"n":1,"at":"1970-01-01T00:00:00.000Z"}'));
    assert(body.includes("before"));
    assertEquals(await requests(peer, 2), [text(), text()]);
    bytes.fill(97);
    await sendGoaway(peer);
    await peer.end();
    await t.advance(delay);
  }
  await t.over();
});

test("a custom serializer encodes once, when the call is made", async () => {
  let encoded = 0;
  const serializer: Serializer = {
    name: "counting",
    encode: (value) => {
      encoded++;
      return new TextEncoder().encode(JSON.stringify(value));
    },
    decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  };
  const server = new Server<object>({ m: (value: unknown) => value }, {
    serializer: { ...serializer, encode: (v) => serializer.encode(v) },
  });
  const client = new ReconnectingClient<Any>(serving(server), { serializer });
  const call = client.call("m", { a: 1 });
  assertEquals(encoded, 1);
  assertEquals(await call, { a: 1 });
  assertEquals(encoded, 2);
  await client.close();
  await server.close();
});

test("params that cannot be serialized reject at once as not_sent, with and without a connection", async () => {
  const t = new Reconnecting(["peer"]);
  for (const connected of [false, true]) {
    if (connected) await t.ready();
    for (const value of [1n, () => 1, Symbol("s")]) {
      const error = await errorOf(t.go(value));
      const { code, outcome } = error;
      assertEquals([code, outcome], ["invalid_argument", "not_sent"]);
    }
    await assertRejects(
      () => t.go("x", { metadata: { a: 1 as unknown as string } }).reply,
      TypeError,
    );
    await assertRejects(() => t.go("x", { timeout: NaN }).reply, TypeError);
  }
  await t.over();
});

test("[F8] the calls that wait for a connection are bounded, in number and in bytes", async () => {
  const calls = new Reconnecting([hanging()], { maxQueuedCalls: 2 });
  const bytes = new Reconnecting([hanging()], { maxQueuedBytes: 1000 });
  const handles = [
    ...[1, 2, 3].map((i) => calls.go(i)),
    bytes.go(new Uint8Array(500)),
    bytes.go("a"),
    bytes.go("x".repeat(500)),
  ];
  for (const i of [2, 5]) {
    const error = await errorOf(handles[i]);
    const { code, outcome } = error;
    assertEquals([code, outcome], ["resource_exhausted", "not_sent"]);
  }
  assertEquals(calls.client.stats().waiting, 2);
  assertEquals(bytes.client.stats().waiting, 2);
  // A call that leaves the queue makes room for another one.
  handles[0].abort();
  const freed = calls.go("y");
  await settle();
  assertEquals(calls.client.stats().waiting, 2);
  // So it does for its bytes.
  handles[3].abort();
  bytes.go(new Uint8Array(500));
  assertEquals(bytes.client.stats().waiting, 2);
  await Promise.all([calls.over(), bytes.over()]);
  assertEquals(await freed.settled, "not_sent");
});

test("with whenOffline reject a new call rejects at once, and a call that a connection gave back is sent again", async () => {
  const t = new Reconnecting(["peer"], { whenOffline: "reject" });
  const early = await errorOf(t.go("early"));
  assertEquals([early.code, early.outcome], ["unavailable", "not_sent"]);
  let peer = await t.ready();
  const handle = t.go("x");
  await settle();
  await sendGoaway(peer);
  assertEquals((await errorOf(t.go("away"))).outcome, "not_sent");
  await t.advance(50);
  peer = await t.ready();
  await peer.send(reply(1, "ok"));
  assertEquals(await handle.reply, "ok");
  await t.over();
});

test("[A8] a call's deadline counts while it waits, and the server gets the time that is left", async () => {
  const t = new Reconnecting([failing(), "peer"]);
  const late = t.go("late", { timeout: 40 });
  const timed = t.go("timed", { timeout: 1000 });
  const until = t.go("until", { deadline: t.clock.date() + 2000 });
  await t.advance(50);
  const error = await errorOf(late);
  const { code, outcome } = error;
  assertEquals([code, outcome], ["deadline_exceeded", "not_sent"]);
  let peer = await t.ready();
  const left = async () => {
    const { body } = await peer.nextOf(KIND.REQUEST);
    return new DataView(body.buffer, body.byteOffset).getUint32(0);
  };
  assertEquals([await left(), await left()], [950, 1950]);
  await t.clock.advance(100);
  await sendGoaway(peer);
  await t.advance(100);
  // A change of the wall clock has no effect on a call that was made.
  t.clock.jump(-3_600_000);
  peer = await t.ready();
  assertEquals([await left(), await left()], [750, 1750]);
  await t.clock.advance(750);
  assertEquals((await errorOf(timed)).code, "deadline_exceeded");
  assertEquals(until.outcome, "unknown");
  await t.over();
});

test("a handle has the id, outcome, sent and settled of its call over all connections", async () => {
  const t = new Reconnecting(["peer"]);
  const handle = t.go("x");
  let sent: boolean | undefined;
  handle.sent.then((value) => sent = value);
  assertEquals([handle.id, handle.outcome], [undefined, "not_sent"]);
  let peer = await t.ready();
  assertEquals([handle.id, handle.outcome, sent], [1, "unknown", true]);
  await sendGoaway(peer);
  assertEquals([handle.id, handle.outcome], [undefined, "refused"]);
  await t.advance(50);
  peer = await t.ready();
  assertEquals([handle.id, handle.outcome], [1, "unknown"]);
  await peer.send(reply(1, "ok"));
  assertEquals(await handle.settled, "executed");
  assertEquals(await handle.reply, "ok");
  const never = t.go("y");
  never.abort();
  assertEquals(await never.sent, false);
  await t.over();
});

test("[L17] late replies of an old connection are dropped and counted, before and after it ends", async () => {
  const t = new Reconnecting(["peer"]);
  const old = await t.ready();
  const aborted = t.go("aborted");
  const other = t.go("other");
  await settle();
  await sendGoaway(old, 2);
  await t.advance(50);
  const peer = await t.ready();
  const reason = new Error("changed my mind");
  aborted.abort(reason);
  await assertRejects(() => aborted.reply, Error, "changed my mind");
  // The same id on another connection belongs to another call.
  const next = t.go("next");
  await settle();
  await old.send(reply(1, "late"), reply(2, "in time"));
  assertEquals(await other.reply, "in time");
  assertEquals(await aborted.settled, "executed");
  await peer.send(reply(1, "next"));
  assertEquals(await next.reply, "next");
  assertEquals(t.client.stats().lateReplies, 1);
  await old.end();
  await settle();
  assertEquals(t.client.stats().lateReplies, 1);
  assertEquals(t.client.stats().connections, 1);
  await t.over();
});

test("after a GOAWAY the client closes the connection once all its calls have replies", async () => {
  const t = new Reconnecting(["peer"]);
  const peer = await t.ready();
  const handle = t.go();
  await settle();
  await sendGoaway(peer, 1);
  await peer.send(reply(1, "ok"));
  assertEquals(await handle.reply, "ok");
  // The peer sends no FIN, but the client does.
  const kinds = (await peer.rest()).map(({ kind }) => kind);
  assertEquals(kinds, [KIND.HELLO, KIND.REQUEST, KIND.GOAWAY]);
  await t.advance(1000);
  assertEquals(t.client.stats().connections, 0);
  await t.over();
});

test("a drain whose last connection is lost dials again for idempotent calls", async () => {
  const t = new Reconnecting(["peer", failing(), "peer"]);
  let peer = await t.ready();
  const handle = t.go("x", { idempotent: true });
  await settle();
  await sendGoaway(peer, 1);
  let closed = false;
  const closing = t.client.close({ timeout: 5000 }).then(() => closed = true);
  await settle();
  assertEquals(t.client.state, "draining");
  await peer.reset();
  await settle();
  assert(!closed, "close must wait for the call that is sent again");
  await t.advance(1000);
  peer = await t.ready();
  await peer.send(reply(1, "again"));
  assertEquals(await handle.reply, "again");
  await settle();
  await peer.end();
  await closing;
  assertNothingIsLeft(t);
});

test("a call taken back from a batch counts as not sent until another connection sends it", async () => {
  const t = new Reconnecting(["peer"]);
  await t.ready();
  const handle = t.go("x");
  let sent: boolean | undefined;
  handle.sent.then((value) => sent = value);
  t.lose();
  await settle();
  assertEquals([handle.outcome, sent], ["not_sent", undefined]);
  await t.advance(50);
  await t.ready();
  assertEquals([handle.outcome, sent], ["unknown", true]);
  await t.over();
});

test("a call that may have run stays unknown in the batch of the next connection", async () => {
  const t = new Reconnecting(["peer"], { idempotent: ["m"] });
  await t.ready();
  const handle = t.go("x");
  await settle();
  // The next peer reads nothing, so that the batch stays unsent.
  const [near, far] = memoryPair({ highWaterMark: 0 });
  t.dials.then(() => near);
  t.lose();
  await t.advance(50);
  await far.writable.getWriter().write(hello());
  await settle();
  assertEquals(t.client.state, "ready");
  assertEquals([handle.outcome, handle.id], ["unknown", 1]);
  const reason = new Error("changed my mind");
  handle.abort(reason);
  assertEquals(await handle.reply.catch((e) => e), reason);
  assertEquals(await handle.settled, "unknown");
  await t.over();
});

test("close finishes calls that wait for a connection; new ones reject", async () => {
  const t = new Reconnecting([failing(), "peer"]);
  const handle = t.go("x");
  const closing = t.client.close({ timeout: 1000 });
  const refused = await errorOf(t.go("y"));
  assertEquals([refused.code, refused.outcome], ["unavailable", "not_sent"]);
  await t.advance(50);
  let peer = await t.ready();
  // Sent, refused, and sent again, all while draining.
  await sendGoaway(peer);
  await t.advance(100);
  peer = await t.ready();
  assertEquals(t.client.state, "draining");
  await peer.send(reply(1, "ok"));
  assertEquals(await handle.reply, "ok");
  await settle();
  await peer.end();
  await t.peers[0].end();
  await closing;
  assertEquals(await t.client.closed, undefined);
  assertNothingIsLeft(t);
});

test("a call made in the callback of a reply works, and one whose params close the client while they are encoded rejects", async () => {
  const held = new Held();
  const server = new Server<object>(held.services);
  const client = new ReconnectingClient<Any>(serving(server));
  const first = client.call("Held.echo", 1).then(() =>
    client.call("Held.echo", 2)
  );
  assertEquals(await first, 2);
  const closes = { toJSON: () => String(client.close()) };
  const error = await assertRejects(
    () => client.call("Held.echo", closes),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  await client.closed;
  await server.close();
});

test("servers that are replaced while calls run reply to each call once", async () => {
  let ran = 0;
  const services = {
    m: async (n: number, { signal }: CallContext) => {
      ran++;
      await settle(1);
      assert(!signal.aborted);
      return n;
    },
  };
  let server = new Server<object>(services);
  const client = new ReconnectingClient<Any>((s) => serving(server)(s));
  const settled: Outcome[] = [];
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < 500; i++) {
    const handle = client.go("m", i);
    handle.settled.then((outcome) => settled.push(outcome));
    calls.push(handle.reply);
    if (i % 50 !== 25) continue;
    const old = server;
    server = new Server<object>(services);
    await settle(1);
    old.close();
  }
  const replies = await Promise.all(calls);
  assertEquals(replies, Array.from({ length: 500 }, (_, i) => i));
  await client.close();
  assertEquals(ran, 500);
  assertEquals(new Set(settled), new Set(["executed"]));
  await server.close();
});

test("each call rejects with an error of its own, and they share the cause", async () => {
  const t = new Reconnecting([failing()], { retry: { attempts: 1 } });
  const [a, b] = [t.go(), t.go()];
  const [x, y] = [await errorOf(a), await errorOf(b)];
  assert(x !== y);
  assertEquals(x.cause, y.cause);
  assertInstanceOf(x.cause, Error);
});
