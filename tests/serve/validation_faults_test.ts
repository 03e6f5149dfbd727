/** Schemas that misbehave, and calls that end during their validation. */

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

/** A schema whose validations the test settles. */
class Held {
  readonly validations: PromiseWithResolvers<SchemaResult<unknown>>[] = [];
  readonly schema = schema(() => {
    const validation = Promise.withResolvers<SchemaResult<unknown>>();
    this.validations.push(validation);
    return validation.promise;
  });
}

/** Returns how a call ends that a schema refuses, while another one runs; asserts that its handler has not run. */
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
  const sent = data as { message: string; path: string[] }[];
  assertEquals([code, message], ["invalid_argument", "issue 0"]);
  assertEquals(sent[1], {
    message: "issue 1",
    path: ["list", "1", "name", "Symbol(s)"],
  });
  assert(sent.length < 100);
});

test("issues without a path, and an empty list of issues, refuse the call", async () => {
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

/** What no schema may return by the standard. */
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
  test(`a schema that returns ${name} fails its call alone, which has not started`, async () => {
    const error = await refusal(() => make() as SchemaResult<unknown>);
    assertEquals(error.code, "internal");
    assert(!error.message.includes("secret"));
  });

  test(`a schema that resolves with ${name} fails its call alone, which has not started`, async () => {
    const validation = () => Promise.resolve(make() as SchemaResult<unknown>);
    const error = await refusal(validation);
    assertEquals(error.code, "internal");
    assert(!error.message.includes("secret"));
  });
}

test("an exception of a validated handler is reported as that of any handler", async () => {
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

test("a validated handler receives the schema's value and a context, as a method of its object", async () => {
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
  // It was answered at once, but its validation still occupies the only slot.
  assertEquals(second.outcome, "unknown");
  held.validations[0].resolve({ value: 1 });
  assertEquals(await second.reply, "g");
  await close();
});

test("a call whose deadline passes during its validation is answered then, and has not started", async () => {
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
  held.validations[0].reject(new Error("late"));
  await settle();
  assertEquals([started, connection.stats().running], [0, 0]);
  await close();
});

test("[W7] when a connection ends during a validation, the handler does not start", async () => {
  const held = new Held();
  let started = 0;
  const { client, server, connection } = pair({
    S: { f: method(held.schema, () => ++started) },
  });
  const handle = client.go("S.f", 1);
  await settle();
  await client.abort();
  assertEquals(await handle.settled, "unknown");
  held.validations[0].resolve({ value: 1 });
  await settle();
  assertEquals([started, connection.stats().running], [0, 0]);
  await server.close();
});
