/** What a handler learns from its context, and what a client adds to every call. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { type CallContext, type CallOptions, RpcError } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import { Held } from "../support/services.ts";

/** Services that record the context of each call. */
function keeper() {
  const seen: CallContext[] = [];
  const services = {
    S: {
      keep: (_: unknown, ctx: CallContext) => {
        seen.push(ctx);
      },
    },
  };
  return { seen, services };
}

/** Returns the metadata as the handler receives them. */
async function arrives(
  metadata: CallOptions["metadata"],
  always?: CallOptions["metadata"],
): Promise<Record<string, string>> {
  const { seen, services } = keeper();
  const { client, close } = pair(services, { client: { metadata: always } });
  await client.call("S.keep", undefined, { metadata });
  await close();
  return Object.fromEntries(seen[0].metadata);
}

test("a handler knows its method, its call's id and its connection", async () => {
  const { seen, services } = keeper();
  const { client, connection, close } = pair(services, {
    client: { firstId: 41 },
  });
  await client.call("S.keep");
  const handle = client.go("S.keep");
  await handle.reply;
  assertEquals(seen.map((ctx) => ctx.method), ["S.keep", "S.keep"]);
  assertEquals(seen.map((ctx) => ctx.id), [41, 42]);
  assertEquals(handle.id, 42);
  assertStrictEquals(seen[0].connection, connection);
  await close();
});

test("without a deadline, remaining is Infinity and the signal does not fire", async () => {
  const { seen, services } = keeper();
  const { client, close } = pair(services);
  await client.call("S.keep");
  const [{ deadline, remaining, signal, metadata }] = seen;
  assertEquals([deadline, remaining], [undefined, Infinity]);
  assertEquals([signal.aborted, metadata.size], [false, 0]);
  assertStrictEquals(seen[0].signal, signal);
  await close();
});

test("a handler sees the deadline as remaining time and as wall time", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { client, close } = pair(held.services, {
    client: { clock },
    server: { clock },
  });
  clock.jump(7_000_000);
  const reply = client.call("Held.work", undefined, { timeout: 5000 });
  await settle();
  const { ctx } = held.calls[0];
  assertEquals([ctx.remaining, ctx.deadline], [5000, clock.date() + 5000]);
  await clock.advance(1500);
  assertEquals([ctx.remaining, ctx.deadline], [3500, clock.date() + 3500]);
  held.release("done");
  assertEquals(await reply, "done");
  await close();
});

test("a signal that is first read after the call was cancelled has fired", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work");
  await settle();
  handle.abort();
  await settle();
  const { signal } = held.calls[0].ctx;
  assert(signal.aborted && signal.reason instanceof RpcError);
  assertEquals(signal.reason.code, "cancelled");
  held.release();
  assertEquals(await handle.settled, "executed");
  await close();
});

test("a nested call with ctx has the signal and the deadline of the outer one", async () => {
  const clock = new TestClock();
  const held = new Held();
  const inner = pair(held.services, {
    client: { clock },
    server: { clock },
  });
  const outer = pair({
    S: {
      relay: (_: unknown, ctx: CallContext) =>
        inner.client.call("Held.work", undefined, { ctx }),
    },
  }, { client: { clock }, server: { clock } });
  const handle = outer.client.go("S.relay", undefined, { timeout: 1000 });
  await settle();
  assertEquals(held.calls[0].ctx.remaining, 1000);
  handle.abort();
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  await handle.settled;
  await outer.close();
  await inner.close();
});

test("the timeout option of a client applies to calls without one", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { client, close } = pair(held.services, {
    client: { clock, timeout: 1000 },
    server: { clock },
  });
  const calls = [
    client.go("Held.work"),
    client.go("Held.work", undefined, { metadata: { a: "b" } }),
    client.go("Held.work", undefined, { timeout: 200 }),
    client.go("Held.work", undefined, { timeout: Infinity }),
    client.go("Held.work", undefined, { deadline: clock.date() + 300 }),
  ];
  await settle();
  const remaining = held.calls.map(({ ctx }) => ctx.remaining);
  assertEquals(remaining, [1000, 1000, 200, Infinity, 300]);
  const late = assertRejects(() => calls[0].reply, RpcError);
  await clock.advance(1000);
  assertEquals((await late).code, "deadline_exceeded");
  held.release();
  await Promise.all(calls.map((call) => call.settled));
  await close();
});

test("the metadata option of a client travels with every call, and a call's own metadata override it", async () => {
  const always = { from: "client", who: "me" };
  assertEquals(await arrives(undefined, always), always);
  assertEquals(await arrives({ who: "you", trace: "1" }, always), {
    from: "client",
    who: "you",
    trace: "1",
  });
});

test("metadata arrive unchanged, also empty, unusual and non-ASCII ones", async () => {
  const odd = {
    "": "",
    "a\0b": "c\nd",
    "ключ": "値\u{1f600}",
    ["__proto__"]: "p",
    constructor: "c",
  };
  assertEquals(Object.entries(await arrives(odd)), Object.entries(odd));
  assertEquals(await arrives({}), {});
});

test("metadata names of 255 bytes and 65,535 bytes of metadata in total travel", async () => {
  const name = "é".repeat(127) + "x";
  // An entry has one byte and its name, two bytes and its value.
  const value = "v".repeat(65_535 - 3 - 255);
  assertEquals(await arrives({ [name]: value }), { [name]: value });
});

for (
  const [why, metadata] of Object.entries({
    "a name of 256 bytes": { ["é".repeat(128)]: "" },
    "65,536 bytes": { a: "v".repeat(65_536 - 4) },
    "65,536 bytes of UTF-8": { a: "é".repeat(32_766) },
  })
) {
  test(`a call whose metadata have ${why} fails and is not sent`, async () => {
    const { seen, services } = keeper();
    const { client, close } = pair(services);
    const handle = client.go("S.keep", undefined, { metadata });
    await assertRejects(() => handle.reply, RangeError, "metadata");
    assertEquals(handle.outcome, "not_sent");
    await client.call("S.keep");
    assertEquals(seen.length, 1);
    await close();
  });
}

test("a call whose metadata are not strings fails and is not sent", async () => {
  const { services } = keeper();
  const { client, close } = pair(services);
  for (const odd of [1, null, undefined, {}, Symbol("s")]) {
    const metadata = { odd } as unknown as Record<string, string>;
    const handle = client.go("S.keep", undefined, { metadata });
    const error = await assertRejects(() => handle.reply, TypeError, "odd");
    assert(error.message.includes("metadata"), error.message);
    assertEquals(await handle.settled, "not_sent");
  }
  await close();
});

test("a call whose timeout is not a number fails and is not sent", async () => {
  const { services } = keeper();
  const { client, close } = pair(services);
  const wrong: CallOptions[] = [
    { timeout: NaN },
    { deadline: NaN },
    { deadline: new Date(NaN) },
    { timeout: "1" as unknown as number },
  ];
  for (const options of wrong) {
    const handle = client.go("S.keep", undefined, options);
    await assertRejects(() => handle.reply, TypeError, "not a time");
    assertEquals(handle.outcome, "not_sent");
  }
  await close();
});

test("a nested call that is cancelled with its outer call is not reported as executed", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work");
  await settle();
  handle.abort();
  await settle();
  const { ctx } = held.calls[0];
  // It rejects with the reason of the signal, which says nothing of this call.
  const error = await assertRejects(
    () => ctx.connection.call("any", 1, { ctx }),
    RpcError,
  );
  assertStrictEquals(error, ctx.signal.reason);
  assertEquals(error.outcome, "unknown");
  held.release();
  await close();
});
