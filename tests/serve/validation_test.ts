/** `method(schema, handler)`: params that a Standard Schema refuses never reach their handler. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as v from "valibot";
import { z } from "zod";
import { method, RpcError, type StandardSchema } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { pair } from "../support/pair.ts";

const SCHEMAS = {
  Zod: z.object({ name: z.string(), age: z.number() }),
  Valibot: v.object({ name: v.string(), age: v.number() }),
} as const;

for (const [name, schema] of Object.entries(SCHEMAS)) {
  test(`${name}: valid params reach the handler`, async () => {
    const checked = schema as StandardSchema<{ name: string; age: number }>;
    const { client, close } = pair({
      P: { greet: method(checked, (p) => `${p.name} is ${p.age}`) },
    });
    const reply = await client.call("P.greet", { name: "Ada", age: 36 });
    assertEquals(reply, "Ada is 36");
    await close();
  });

  test(`${name}: other params are refused with the schema's issues, and the handler does not start`, async () => {
    let started = 0;
    const checked = schema as StandardSchema<{ name: string; age: number }>;
    const { client, close } = pair({
      P: { greet: method(checked, () => ++started) },
    });
    const bad = { name: 7, age: "x" } as unknown as {
      name: string;
      age: number;
    };
    const error = await assertRejects(
      () => client.call("P.greet", bad),
      RpcError,
    );
    assertEquals([error.code, error.outcome], ["invalid_argument", "refused"]);
    const issues = error.data as { message: string; path: string[] }[];
    assertEquals(issues.map((issue) => issue.path), [["name"], ["age"]]);
    assert(issues[0].message.length > 0);
    assertEquals(started, 0);
    await close();
  });
}

test("a handler receives the output of a transforming schema", async () => {
  const { client, close } = pair({
    T: {
      zod: method(z.string().transform((s) => s.length), (n) => n + 1),
      valibot: method(
        v.pipe(v.string(), v.transform((s) => s.length)),
        (n) => n + 1,
      ),
    },
  });
  assertEquals(await client.call("T.zod", "four"), 5);
  assertEquals(await client.call("T.valibot", "four"), 5);
  await close();
});

test("a handler starts when its asynchronous schema has settled", async () => {
  const even = z.number().refine((n) => Promise.resolve(n % 2 === 0));
  const { client, close } = pair({ A: { half: method(even, (n) => n / 2) } });
  assertEquals(await client.call("A.half", 4), 2);
  const error = await assertRejects(() => client.call("A.half", 3), RpcError);
  assertEquals(error.outcome, "refused");
  await close();
});

/** A schema whose validation the test settles. */
function held(): {
  schema: StandardSchema;
  validation: PromiseWithResolvers<void>;
} {
  const validation = Promise.withResolvers<void>();
  const validate = async (value: unknown) => {
    await validation.promise;
    return { value };
  };
  const schema = { "~standard": { version: 1, vendor: "test", validate } };
  return { schema: schema as StandardSchema, validation };
}

test("a call that is cancelled during its validation is refused at once, and occupies its slot until the validation settles", async () => {
  const { schema, validation } = held();
  let started = 0;
  const { client, connection, close } = pair({
    H: { run: method(schema, () => ++started) },
  });
  const handle = client.go("H.run", 1);
  await settle();
  assertEquals(connection.stats().running, 1);
  handle.abort();
  assertEquals(await handle.settled, "refused");
  assertEquals(connection.stats().running, 1);
  validation.resolve();
  await settle();
  assertEquals(connection.stats().running, 0);
  assertEquals(started, 0);
  await close();
});

test("a schema that throws or rejects fails its call with internal, and the handler does not start", async () => {
  const throwing = (validate: () => never | Promise<never>) => ({
    "~standard": { version: 1 as const, vendor: "test", validate },
  });
  const { client, errors, close } = pair({
    S: {
      throws: method(
        throwing(() => {
          throw new Error("secret");
        }),
        () => 1,
      ),
      rejects: method(
        throwing(() => Promise.reject(new Error("secret"))),
        () => 1,
      ),
    },
  });
  for (const name of ["S.throws", "S.rejects"] as const) {
    const error = await assertRejects(() => client.call(name, 1), RpcError);
    assertEquals([error.code, error.outcome], ["internal", "refused"]);
    assert(!error.message.includes("secret"));
  }
  assertEquals(errors.length, 2);
  await close();
});

test("method throws a TypeError for what is not a Standard Schema", () => {
  assertThrows(() => method({} as StandardSchema, () => 1), TypeError);
});
