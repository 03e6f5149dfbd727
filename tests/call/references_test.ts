// Calls that refer to the results of others, as their caller sends them.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  Client,
  clientMiddleware,
  type ClientOptions,
  memoryPair,
  ref,
  rich,
  RpcError,
  type Serializer,
} from "../../mod.ts";
import { type ScriptedPeer, scriptedPeer } from "../../testing.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";

/** An untyped client of a scripted peer, which has said HELLO. */
async function facing(options: ClientOptions = {}, keepsResults = true) {
  const [near, far] = memoryPair();
  const clock = new TestClock();
  const client = new Client(near, { clock, ...options });
  const { serializer } = options as { serializer?: Serializer };
  const peer = scriptedPeer(far, { serializer });
  await peer.greet({ keepsResults });
  await client.connection.opened;
  const end = async () => {
    await client.abort();
    assertNothingLeft(client.connection);
  };
  return { client, peer, clock, end };
}

/** The call that the peer receives next, without what is not compared. */
async function nextCall(peer: ScriptedPeer) {
  const { id, method, params, keep, references } = await peer.expect("request");
  return { id, method, params, keep, references };
}

test("both requests leave at once; the result is released when its reply has been read", async () => {
  const { client, peer, end } = await facing();
  const before = client.stats().chunksWritten;
  const user = client.go("Users.find", "ada");
  const posts = client.call("Posts.of", { author: ref(user).id, limit: 3 });
  assertEquals(await nextCall(peer), {
    id: 1,
    method: "Users.find",
    params: "ada",
    keep: true,
    references: undefined,
  });
  assertEquals(await nextCall(peer), {
    id: 2,
    method: "Posts.of",
    params: { author: null, limit: 3 },
    keep: undefined,
    references: [{ place: ["author"], id: 1, path: ["id"] }],
  });
  assertEquals(client.stats().chunksWritten, before + 1);
  await peer.reply(1, { id: 7 });
  assertEquals((await peer.expect("release")).id, 1);
  await peer.reply(2, ["a"]);
  assertEquals(await posts, ["a"]);
  await end();
});

test("a reference stands anywhere in the params, also as the whole of them", async () => {
  const { client, peer, end } = await facing();
  const it = ref(client.go("a"));
  client.go("b", it);
  client.go("b", [it, { deep: [0, it[3].x] }]);
  await peer.expect("request");
  assertEquals((await nextCall(peer)).references, [
    { place: [], id: 1, path: [] },
  ]);
  const { params, references } = await nextCall(peer);
  assertEquals(params, [null, { deep: [0, null] }]);
  assertEquals(references, [
    { place: ["0"], id: 1, path: [] },
    { place: ["1", "deep", "1"], id: 1, path: ["3", "x"] },
  ]);
  await end();
});

test("a call that has its reply is no reference any more: its value is sent", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const it = ref(first);
  const open = client.go("a");
  const other = ref(open);
  await peer.expect("request");
  await peer.expect("request");
  await peer.reply(1, { id: 7 });
  assertEquals(await first.reply, { id: 7 });
  client.go("b", { id: it.id, other });
  client.go("b", { id: it.id });
  // A reference to a call that was settled before.
  client.go("b", [ref(first).id]);
  assertEquals((await peer.expect("release")).id, 1);
  const mixed = await nextCall(peer);
  assertEquals(mixed.params, { id: 7, other: null });
  assertEquals(mixed.references, [{ place: ["other"], id: 2, path: [] }]);
  const plain = await nextCall(peer);
  assertEquals([plain.params, plain.references], [{ id: 7 }, undefined]);
  assertEquals((await nextCall(peer)).params, [7]);
  await end();
});

test("a call whose request has left without KEEP is awaited", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  await first.sent;
  const second = client.go("b", [ref(first).id, 1]);
  const later = client.go("c");
  assertEquals((await peer.expect("request")).keep, undefined);
  // It holds up no other call.
  assertEquals((await nextCall(peer)).method, "c");
  assertEquals(client.stats().queued, 1);
  assertEquals(second.outcome, "not_sent");
  await peer.reply(1, { id: 7 });
  const { id, params } = await nextCall(peer);
  assertEquals(params, [7, 1]);
  await peer.reply(id, "ok");
  assertEquals(await second.reply, "ok");
  later.abort();
  await end();
});

for (
  const [why, options, keeps] of [
    ["a peer that keeps no results", {}, false],
    ["middleware", { use: clientMiddleware((_, next) => next()) }, true],
  ] as const
) {
  test(`with ${why} a call waits for the result`, async () => {
    const { client, peer, end } = await facing(options, keeps);
    const first = client.go("a");
    const second = client.go("b", { id: ref(first).id });
    const { keep } = await nextCall(peer);
    assertEquals(keep, undefined);
    await peer.reply(1, { id: 7 });
    const { params, references } = await nextCall(peer);
    assertEquals([params, references], [{ id: 7 }, undefined]);
    await peer.reply(2, "ok");
    assertEquals(await second.reply, "ok");
    await end();
  });
}

test("middleware sees the params with references, and a call of its client can be referred to by another", async () => {
  const seen: unknown[] = [];
  const one = await facing();
  const other = await facing({
    use: clientMiddleware((call, next) => {
      seen.push(call.params);
      return next();
    }),
  });
  const first = one.client.go("a");
  const params = { id: ref(first).id };
  const second = other.client.call("b", params);
  assert(seen[0] === params);
  await one.peer.expect("request");
  await one.peer.reply(1, { id: 7 });
  const { id, params: sent } = await nextCall(other.peer);
  assertEquals(sent, { id: 7 });
  await other.peer.reply(id, "ok");
  assertEquals(await second, "ok");
  await one.end();
  await other.end();
});

test("a request that waits for the window gets KEEP and its references when it is written", async () => {
  const [near, far] = memoryPair();
  const client = new Client(near);
  const peer = scriptedPeer(far);
  await peer.greet({ windowCalls: 1 });
  await client.connection.opened;
  client.go("first");
  const user = client.go("a");
  const posts = client.go("b", [ref(user)]);
  const { id } = await peer.expect("request");
  assertEquals(client.stats().queued, 2);
  await peer.reply(id);
  const kept = await nextCall(peer);
  assertEquals([kept.method, kept.keep], ["a", true]);
  // Its reply has come, but a call that needs its result still waits.
  await peer.reply(kept.id, 7);
  const { references } = await nextCall(peer);
  assertEquals(references, [{ place: ["0"], id: kept.id, path: [] }]);
  assertEquals((await peer.expect("release")).id, kept.id);
  posts.abort();
  await client.abort();
});

test("the failure of the first is the cause of the second's", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const second = client.go("b", [ref(first)]);
  await peer.expect("request");
  await peer.expect("request");
  await peer.fail(1, "out_of_stock", "", { started: true });
  await peer.fail(2, "dependency_failed", "");
  const error = await assertRejects(() => second.reply, RpcError);
  assertEquals([error.code, error.outcome], ["dependency_failed", "refused"]);
  assertEquals((error.cause as RpcError).code, "out_of_stock");
  assertEquals(error.method, "b");
  assertEquals(second.outcome, "refused");
  // Known before it is sent.
  const third = client.go("b", [ref(first)]);
  const late = await assertRejects(() => third.reply, RpcError);
  assertEquals([late.code, late.outcome], ["dependency_failed", "not_sent"]);
  assertEquals((late.cause as RpcError).code, "out_of_stock");
  await end();
});

test("to abort the first fails the second; to abort the second leaves the first alone", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const second = client.go("b", [ref(first)]);
  const third = client.go("c", [ref(first)]);
  for (let i = 0; i < 3; i++) await peer.expect("request");
  second.abort("enough");
  assertEquals((await peer.expect("cancel")).id, 2);
  assertEquals(await second.reply.catch((reason) => reason), "enough");
  assertEquals(first.outcome, "unknown");
  first.abort("no more");
  assertEquals((await peer.expect("cancel")).id, 1);
  await peer.fail(1, "cancelled");
  await peer.fail(2, "cancelled");
  await peer.fail(3, "dependency_failed");
  const error = await assertRejects(() => third.reply, RpcError);
  assertEquals([error.code, error.cause], ["dependency_failed", "no more"]);
  await end();
});

test("a first call that is taken back fails those that refer to it", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const second = client.go("b", [ref(first)]);
  first.abort("no more");
  const { id } = await nextCall(peer);
  await peer.fail(id, "dependency_gone");
  const error = await assertRejects(() => second.reply, RpcError);
  assertEquals([error.code, error.outcome], ["dependency_failed", "refused"]);
  assertEquals(error.cause, "no more");
  await end();
});

test("a call whose result is gone is sent again with the value in place, and its caller does not notice", async () => {
  const { client, peer, clock, end } = await facing();
  const first = client.go("a");
  const second = client.go("b", { id: ref(first).id }, { timeout: 100 });
  await peer.expect("request");
  await peer.expect("request");
  await peer.reply(1, { id: 7 });
  assertEquals((await peer.expect("release")).id, 1);
  await clock.advance(40);
  await peer.fail(2, "dependency_gone");
  const { id, params, references, timeout } = await peer.expect("request");
  assertEquals([id, params, references, timeout], [
    3,
    { id: 7 },
    undefined,
    60,
  ]);
  assertEquals([second.id, second.outcome], [3, "unknown"]);
  await peer.reply(3, "ok");
  assertEquals(await second.reply, "ok");
  assertEquals(client.stats().settled.executed, 2);
  await end();
});

test("a call that is refused for its result and then aborted was refused", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const second = client.go("b", [ref(first)]);
  await peer.expect("request");
  await peer.expect("request");
  // The first has no reply yet: the peer breaks no rule.
  await peer.fail(2, "dependency_gone");
  await settle();
  assertEquals(client.stats().queued, 1);
  second.abort();
  assertEquals(await second.settled, "refused");
  await end();
});

test("a call that is held has a deadline, and ends with its connection", async () => {
  const { client, peer, clock } = await facing({}, false);
  const first = client.go("a");
  const late = client.go("b", [ref(first)], { timeout: 100 });
  const lost = client.go("c", [ref(first)]);
  await peer.expect("request");
  assertEquals(client.calls().map(({ state }) => state), [
    "sent",
    "queued",
    "queued",
  ]);
  await clock.advance(100);
  const error = await assertRejects(() => late.reply, RpcError);
  assertEquals([error.code, error.outcome], ["deadline_exceeded", "not_sent"]);
  await peer.reset();
  const gone = await assertRejects(() => lost.reply, RpcError);
  assertEquals([gone.code, gone.outcome], ["unavailable", "not_sent"]);
  await client.closed;
  assertNothingLeft(client.connection);
});

test("calls that are held count in the queue's limits, and a drain waits for them", async () => {
  const { client, peer } = await facing({ maxQueuedCalls: 1 }, false);
  const first = client.go("a");
  const held = client.go("b", [ref(first)]);
  const error = await assertRejects(
    () => client.call("c", [ref(first)]),
    RpcError,
  );
  assertEquals(error.code, "resource_exhausted");
  const closed = client.close();
  await peer.expect("request");
  await peer.expect("goaway");
  await peer.reply(1, 7);
  assertEquals((await nextCall(peer)).params, [7]);
  await peer.reply(2, "ok");
  assertEquals(await held.reply, "ok");
  await peer.expectEnd();
  await peer.end();
  await closed;
});

test("a path that leads nowhere, and a stream, are invalid", async () => {
  const { client, peer, end } = await facing({}, false);
  const first = client.go("a");
  const it = ref(first);
  const paths = [it.nobody, it.list[2], it.list.length, it.text.length];
  const calls = paths.map((path) => client.go("b", [path]));
  assertEquals(it["__proto__"] as unknown, undefined);
  await peer.expect("request");
  await peer.reply(1, { list: [1, 2], text: "x" });
  const texts = ["nobody", "list.2", "list.length", "text.length"];
  for (const [i, { reply }] of calls.entries()) {
    const error = await assertRejects(() => reply, RpcError, `"${texts[i]}"`);
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  }
  await end();
});

test("a reference is no value: it cannot be awaited, called, computed with or cloned, and can be printed", async () => {
  const { client, end } = await facing();
  const it = ref(client.go("a"));
  assert(await it === it);
  assertEquals(it.then as unknown, undefined);
  assertThrows(() => (it as unknown as () => void)(), TypeError);
  assertThrows(() => `${it.x as unknown as string}`, TypeError, "no value");
  assertThrows(() => Number(it), TypeError, "no value");
  assertThrows(() => structuredClone(it));
  assertThrows(() => (it as unknown as { x: number }).x = 1, TypeError);
  assertEquals(typeof inspect(it), "string");
  assertEquals(Object.keys(it), []);
  assertEquals(JSON.stringify({ it }), '{"it":null}');
  // What was encoded elsewhere changes no call.
  const plain = client.go("b", { x: 1 });
  assertEquals(plain.outcome, "not_sent");
  assertThrows(() => ref({} as never), TypeError, "Cannot refer");
  await end();
});

test("a reference where it cannot be replaced is refused", async () => {
  const { client, end } = await facing();
  const it = ref(client.go("a"));
  const hidden = { toJSON: () => ({ it }) };
  const error = await assertRejects(() => client.call("b", hidden), RpcError);
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await end();
  const map = await facing({ serializer: rich() });
  const inMap = new Map([["x", ref(map.client.go("a"))]]);
  await assertRejects(
    () => map.client.call("b", { inMap }),
    RpcError,
    "where it cannot be replaced",
  );
  await map.end();
});

/** A serializer that knows nothing of references. */
const unknowing: Serializer = {
  name: "test",
  encode: (value) =>
    new TextEncoder().encode(
      JSON.stringify(value, (_, v) => v === undefined ? null : v),
    ),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
};

for (const serializer of [rich(), unknowing]) {
  test(`references pass through the serializer ${serializer.name}`, async () => {
    const { client, peer, end } = await facing({ serializer });
    const user = client.go("a");
    const at = new Date(0);
    const posts = client.call("b", { author: ref(user).id, at });
    await peer.expect("request");
    const { params, references } = await nextCall(peer);
    assertEquals((params as { author: unknown }).author, null);
    assertEquals(references, [{ place: ["author"], id: 1, path: ["id"] }]);
    await peer.reply(1, { id: 7 });
    await peer.expect("release");
    await peer.fail(2, "dependency_gone");
    const again = await nextCall(peer);
    assertEquals((again.params as { author: unknown }).author, 7);
    await peer.reply(again.id, "ok");
    assertEquals(await posts, "ok");
    await end();
  });
}

test("what the caller changes once the call is made has no effect", async () => {
  const { client, peer, end } = await facing({}, false);
  const first = client.go("a");
  const params = { id: ref(first), name: "ada" };
  client.go("b", params);
  params.name = "eve";
  await peer.expect("request");
  await peer.reply(1, 7);
  assertEquals((await nextCall(peer)).params, { id: 7, name: "ada" });
  await end();
});

test("more references than the wire carries are awaited", async () => {
  const { client, peer, end } = await facing();
  const first = client.go("a");
  const params = Array.from({ length: 65 }, () => ref(first));
  const second = client.go("b", params);
  await peer.expect("request");
  await peer.reply(1, 7);
  await peer.expect("release");
  const { id, params: sent } = await nextCall(peer);
  assertEquals(sent, Array(65).fill(7));
  await peer.reply(id, "ok");
  assertEquals(await second.reply, "ok");
  await end();
});

test("before the peer's HELLO a call is awaited", async () => {
  const [near, far] = memoryPair();
  const client = new Client(near);
  const peer = scriptedPeer(far);
  const first = client.go("a");
  const second = client.go("b", [ref(first)]);
  await peer.greet();
  assertEquals((await nextCall(peer)).keep, undefined);
  await peer.reply(1, 7);
  assertEquals((await nextCall(peer)).params, [7]);
  await peer.reply(2, "ok");
  assertEquals(await second.reply, "ok");
  await client.abort();
});

test("an urgent call does not overtake the call whose result it refers to", async () => {
  const [near, far] = memoryPair();
  const client = new Client(near);
  const peer = scriptedPeer(far);
  await peer.greet({ windowCalls: 1 });
  await client.connection.opened;
  client.go("a");
  const first = client.go("b");
  assertEquals(client.stats().queued, 1);
  const urgent = client.go("c", ref(first).id, { priority: "urgent" });
  assertEquals((await nextCall(peer)).method, "a");
  await peer.reply(1, null);
  assertEquals((await nextCall(peer)).method, "b");
  await peer.reply(2, { id: 7 });
  await peer.expect("release");
  const last = await nextCall(peer);
  assertEquals([last.method, last.params], ["c", 7]);
  await peer.reply(last.id, "ok");
  assertEquals(await urgent.reply, "ok");
  await client.abort();
  assertNothingLeft(client.connection);
});

test("what a getter throws fails its call, whenever a value with a reference is read", async () => {
  const { client, end } = await facing();
  for (let good = 0; good < 5; good++) {
    let reads = 0;
    const params = {
      get some(): number {
        if (++reads > good) throw new Error("mine");
        return 1;
      },
      other: ref(client.go("a")),
    };
    const error = await assertRejects(() => client.call("b", params), RpcError);
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  }
  await end();
});
