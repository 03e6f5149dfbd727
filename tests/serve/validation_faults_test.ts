/** Schemas that misbehave, and calls that end while theirs still thinks. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CallContext,
  method,
  RpcError,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { pair } from "../support/pair.ts";

/** A schema that says what `validate` does. */
function schema(
  validate: StandardSchema["~standard"]["validate"],
): StandardSchema {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

/** A schema whose verdicts the test gives. */
class Held {
  readonly verdicts: PromiseWithResolvers<SchemaResult<unknown>>[] = [];
  readonly schema = schema(() => {
    const verdict = Promise.withResolvers<SchemaResult<unknown>>();
    this.verdicts.push(verdict);
    return verdict.promise;
  });
}

/** How a call ends that a schema refuses, another one going on; its handler has not run. */
async function refusal(
  validate: StandardSchema["~standard"]["validate"],
): Promise<RpcError> {
  let started = 0;
  const { client, connection, close } = pair({
    S: { f: method(schema(validate), () => ++started), g: () => "g" },
  });
  const handle = client.go("S.f", 1);
  assertEquals(await client.call("S.g"), "g");
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([await handle.settled, error.outcome], ["refused", "refused"]);
  await settle();
  assertEquals([started, connection.stats().running], [0, 0]);
  await close();
  return error;
}

test("issues travel as text and keys, bounded in number", async () => {
  const issues: SchemaIssue[] = Array.from({ length: 1000 }, (_, i) => ({
    message: `issue ${i}`,
    path: ["list", i, { key: "name" }, Symbol("s")],
  }));
  const { data, message, code } = await refusal(() => ({ issues }));
  const told = data as { message: string; path: string[] }[];
  assertEquals([code, message], ["invalid_argument", "issue 0"]);
  assertEquals(told[1], {
    message: "issue 1",
    path: ["list", "1", "name", "Symbol(s)"],
  });
  assert(told.length < 100);
});

test("issues without a path, and none at all, refuse too", async () => {
  const one = await refusal(() => ({ issues: [{ message: "no" }] }));
  assertEquals([one.message, one.data], ["no", [{ message: "no" }]]);
  const none = await refusal(() => Promise.resolve({ issues: [] }));
  assertEquals([none.code, none.data], ["invalid_argument", []]);
});

test("a schema may refuse with an RpcError of its own", async () => {
  const denied = new RpcError("permission_denied", "not yours", { data: 1 });
  const thrown = await refusal(() => {
    throw denied;
  });
  const rejected = await refusal(() => Promise.reject(denied));
  for (const { code, message, data } of [thrown, rejected]) {
    assertEquals([code, message, data], ["permission_denied", "not yours", 1]);
  }
});

/** What no schema may return, as one that breaks the standard does. */
const BROKEN: Record<string, () => unknown> = {
  "no result": () => undefined,
  "null for a result": () => null,
  "a result whose issues throw": () => ({
    get issues() {
      throw new Error("secret");
    },
  }),
  "issues that are no list": () => ({ issues: 3 }),
  "an issue that is none": () => ({ issues: [null] }),
  "an issue whose message throws": () => ({
    issues: [{
      get message() {
        throw new Error("secret");
      },
    }],
  }),
  "an issue whose message is a symbol": () => ({
    issues: [{ message: Symbol("secret") }],
  }),
  "an issue whose path holds an object without a text": () => ({
    issues: [{ message: "m", path: [{ key: Object.create(null) }] }],
  }),
};

for (const [name, make] of Object.entries(BROKEN)) {
  test(`a schema that returns ${name} fails its call alone, not started`, async () => {
    const error = await refusal(() => make() as SchemaResult<unknown>);
    assertEquals(error.code, "internal");
    assert(!error.message.includes("secret"));
  });

  test(`a schema that resolves with ${name} fails its call alone, not started`, async () => {
    const verdict = () => Promise.resolve(make() as SchemaResult<unknown>);
    const error = await refusal(verdict);
    assertEquals(error.code, "internal");
    assert(!error.message.includes("secret"));
  });
}

test("what a validated handler throws is told as any handler's error", async () => {
  const { client, errors, connection, close } = pair({
    S: {
      sync: method(schema((value) => ({ value })), () => {
        throw new Error("secret");
      }),
      async: method(schema((value) => Promise.resolve({ value })), () => {
        throw new Error("secret");
      }),
    },
  });
  for (const name of ["S.sync", "S.async"] as const) {
    const error = await assertRejects(() => client.call(name, 1), RpcError);
    assertEquals([error.code, error.outcome], ["internal", "executed"]);
  }
  assertEquals([errors.length, connection.stats().running], [2, 0]);
  await close();
});

test("a validated handler gets the schema's value, on its object, with a context", async () => {
  const { client, close } = pair({
    S: {
      f: method(
        schema(() => Promise.resolve({ value: "made" })),
        (value: unknown, ctx: CallContext) => [value, ctx.method],
      ),
    },
  });
  assertEquals(await client.call("S.f", "sent"), ["made", "S.f"]);
  await close();
});

test("validations count as running, and calls behind them wait", async () => {
  const held = new Held();
  const { client, connection, close } = pair({
    S: { f: method(held.schema, () => "f"), g: () => "g" },
  }, { server: { maxRunning: 1 } });
  const first = client.go("S.f", 1);
  const second = client.go("S.g");
  await settle();
  assertEquals(connection.stats().running, 1);
  assertEquals(connection.stats().waiting, 1);
  first.abort();
  assertEquals(await first.settled, "refused");
  await settle();
  // Told at once; yet its validation still holds the only place.
  assertEquals(second.outcome, "unknown");
  held.verdicts[0].resolve({ value: 1 });
  assertEquals(await second.reply, "g");
  await close();
});

test("a deadline that passes during a validation is answered then, not started", async () => {
  const clock = new TestClock();
  const held = new Held();
  let started = 0;
  const { client, connection, close } = pair({
    S: { f: method(held.schema, () => ++started) },
  }, { client: { clock }, server: { clock } });
  const handle = client.go("S.f", 1, { timeout: 100 });
  await settle();
  const late = assertRejects(() => handle.reply, RpcError);
  await clock.advance(100);
  assertEquals((await late).code, "deadline_exceeded");
  assertEquals(await handle.settled, "refused");
  assertEquals(connection.stats().running, 1);
  held.verdicts[0].reject(new Error("late"));
  await settle();
  assertEquals([started, connection.stats().running], [0, 0]);
  await close();
});

test("[W7] a connection that ends during a validation starts nothing", async () => {
  const held = new Held();
  let started = 0;
  const { client, server, connection } = pair({
    S: { f: method(held.schema, () => ++started) },
  });
  const handle = client.go("S.f", 1);
  await settle();
  await client.abort();
  assertEquals(await handle.settled, "unknown");
  held.verdicts[0].resolve({ value: 1 });
  await settle();
  assertEquals([started, connection.stats().running], [0, 0]);
  await server.close();
});
