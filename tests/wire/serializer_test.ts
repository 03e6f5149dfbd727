/** Custom serializers: which values they encode, and what their failures affect. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { RpcError, type Serializer } from "../../mod.ts";
import { pair, type PairOptions } from "../support/pair.ts";

const services = {
  S: { echo: (value: unknown) => value, f: () => "f" },
};

/** How one call ends among others that succeed. */
async function failure(options: PairOptions): Promise<RpcError> {
  const { client, close } = pair(services, options);
  assertEquals(await client.call("S.f"), "f");
  const handle = client.go("S.echo", {});
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals(await handle.settled, error.outcome);
  assertEquals(await client.call("S.f"), "f");
  await close();
  return error;
}

function text(s: string): Uint8Array {
  return new TextEncoder().encode(s);
}

/** JSON backwards: no other serializer can read it. */
const backwards: Serializer = {
  name: "backwards",
  encode: (value) => text(JSON.stringify(value)).reverse(),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes.reverse())),
};

test("a custom serializer encodes objects; strings, bytes and undefined bypass it", async () => {
  const seen: unknown[] = [];
  const serializer: Serializer = {
    ...backwards,
    encode: (value) => {
      seen.push(value);
      return backwards.encode(value);
    },
  };
  const ends = { client: { serializer }, server: { serializer } };
  const { client, close } = pair(services, ends);
  const values = [{ a: [1] }, null, 3, "text", new Uint8Array([1]), undefined];
  for (const value of values) {
    assertEquals(await client.call("S.echo", value), value);
  }
  const long = { long: "x".repeat(100_000) };
  assertEquals(await client.call("S.echo", long), long);
  // Once for the params and once for the result.
  assertEquals(seen, [...[{ a: [1] }, null, 3, long].flatMap((v) => [v, v])]);
  await close();
});

test("the serializer encodes error data and calls that had to wait, too", async () => {
  const ends: PairOptions = {
    client: { serializer: backwards },
    server: { serializer: backwards, windowCalls: 1 },
  };
  const { client, close } = pair({
    S: {
      fail: (data: unknown) => {
        throw new RpcError("own", "text", { data });
      },
    },
  }, ends);
  const calls = [1, 2, 3].map((n) => client.go("S.fail", { n }));
  for (const [i, call] of calls.entries()) {
    const error = await assertRejects(() => call.reply, RpcError);
    assertEquals(error.data, { n: i + 1 });
  }
  await close();
});

/** Two sides with serializers of the same name. */
function ends(client: Partial<Serializer>, server: Partial<Serializer>) {
  return {
    client: { serializer: { ...backwards, ...client } },
    server: { serializer: { ...backwards, ...server } },
  };
}

const throws = () => {
  throw new Error("secret");
};
const noBytes = () => "text" as unknown as Uint8Array;

for (const [name, encode] of Object.entries({ throws, noBytes })) {
  test(`a serializer whose encode ${name} fails a call alone, not sent`, async () => {
    const error = await failure(ends({ encode }, {}));
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
    assertInstanceOf(error.cause, Error);
  });

  test(`[H3] a serializer whose encode ${name} fails a reply alone`, async () => {
    const error = await failure(ends({}, { encode }));
    assertEquals([error.code, error.outcome], ["internal", "executed"]);
    assert(!error.message.includes("secret"));
  });
}

test("[H4] a serializer whose decode throws refuses a call alone", async () => {
  const error = await failure(ends({}, { decode: throws }));
  assertEquals([error.code, error.outcome], ["invalid_argument", "refused"]);
  assert(!error.message.includes("secret"));
});

test("[H4] a serializer whose decode throws fails a reply alone", async () => {
  const error = await failure(ends({ decode: throws }, {}));
  assertEquals([error.code, error.outcome], ["invalid_reply", "executed"]);
});

test("a serializer may keep the bytes that it decodes", async () => {
  const kept: Uint8Array[] = [];
  const decode = (bytes: Uint8Array) => {
    kept.push(bytes);
    return bytes.length;
  };
  const { client, close } = pair(services, ends({}, { decode }));
  await Promise.all([1, 2].map((n) => client.call("S.echo", { n })));
  assertEquals(kept.map((bytes) => bytes.buffer.byteLength), [7, 7]);
  const texts = kept.map((bytes) => new TextDecoder().decode(bytes.reverse()));
  assertEquals(texts, ['{"n":1}', '{"n":2}']);
  await close();
});

test("a connection between two serializers closes", async () => {
  const { client, server, errors } = pair(services, {
    server: { serializer: backwards },
  });
  const error = await assertRejects(() => client.call("S.f"), RpcError);
  assertEquals(error.code, "unavailable");
  assertEquals((await client.closed)?.code, "serializer_mismatch");
  await server.close();
  assertEquals(errors.length, 1);
});
