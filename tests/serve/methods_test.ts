/** Names of methods that do not exist, and the proxy that turns properties into names. */

import { inspect } from "node:util";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { RpcError, Server } from "../../mod.ts";
import { pair } from "../support/pair.ts";
import {
  hello,
  KIND,
  RawPeer,
  readCode,
  request,
} from "../support/raw_peer.ts";

const services = {
  S: { f: () => "f", echo: (value: unknown) => value },
};

/** Calls a method by a name that its types do not have. */
async function failure(method: string): Promise<RpcError> {
  const { client, close } = pair(services);
  const { connection } = client;
  // Long names fit the window only after the server's HELLO.
  await client.call("S.f");
  const error = await assertRejects(() => connection.call(method), RpcError);
  assertEquals(await client.call("S.f"), "f");
  await close();
  return error;
}

for (
  const name of [
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "",
    ".",
    "S",
    "S.",
    ".S.f",
    "S.f.",
    "S.F",
    "S.f.call",
    "S.__proto__",
    "S.constructor",
    "S.toString",
    "S.f.constructor",
  ]
) {
  test(`[H5] ${JSON.stringify(name)} is not found, and no handler starts`, async () => {
    const error = await failure(name);
    assertEquals([error.code, error.outcome], ["not_found", "refused"]);
    assert(error.message.includes(JSON.stringify(name)), error.message);
  });
}

test("[H5] a name with NUL, newline and escapes appears escaped in the error", async () => {
  const error = await failure("a\0b\nc\u001b[31m\u2028d\u202e");
  assertEquals([error.code, error.outcome], ["not_found", "refused"]);
  assert(/^[\x20-\x7e]*$/.test(error.message), JSON.stringify(error.message));
  assert(error.message.includes("a\\u0000b\\nc"), error.message);
});

test("[H5] a name of 65,535 bytes is not found, and is cut in the error", async () => {
  const error = await failure("é".repeat(32_767) + "x");
  assertEquals([error.code, error.outcome], ["not_found", "refused"]);
  assert(error.message.length < 600, String(error.message.length));
});

for (const length of [65_536, 65_537, 200_000]) {
  test(`[H5] a call with a name of ${length} bytes fails alone and is not sent`, async () => {
    const error = await failure("x".repeat(length));
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
    assert(error.message.length < 600, String(error.message.length));
  });
}

test("[H5] the reply to a long name with control characters is short and printable", async () => {
  const peer = new RawPeer();
  const server = new Server(services);
  server.accept(peer.duplex);
  await peer.send(hello(), request(1, "\n\0".repeat(30_000)));
  const { code, text } = readCode(await peer.nextOf(KIND.ERROR));
  assertEquals(code, "not_found");
  assert(text.length < 600 && /^[\x20-\x7e]*$/.test(text), text);
  await peer.end();
  await server.close();
});

test("a proxy's properties are methods", async () => {
  const { client, close } = pair(services);
  const s = client.service("S");
  const { echo } = s;
  assertEquals(await echo({ a: 1 }), { a: 1 });
  assertEquals(await s.f(), "f");
  await close();
});

test("a proxy is not a promise, and has no toJSON and no symbols", async () => {
  const { client, close } = pair(services);
  const s: object = client.service("S");
  for (const key of ["then", "toJSON", Symbol.iterator, Symbol.toStringTag]) {
    assertEquals(Reflect.get(s, key), undefined);
  }
  for (const key of ["then", "toJSON", Symbol.asyncIterator]) {
    assertEquals(Reflect.get(Reflect.get(s, "f"), key), undefined);
  }
  assertEquals(await s, s);
  assertEquals(JSON.stringify({ s }), "{}");
  await close();
});

test("a proxy can be printed", async () => {
  const { client, close } = pair(services);
  const s = client.service("S");
  assertEquals(typeof inspect(s), "string");
  assertEquals(typeof inspect({ s, f: s.f }, { depth: 5 }), "string");
  await close();
});

test("printing a proxy or converting it to text makes no call", async () => {
  const { client, close } = pair(services);
  const before = client.go("S.f");
  await before.reply;
  const s = client.service("S");
  inspect({ s, f: s.f });
  for (const proxy of [s, s.f]) {
    try {
      assertEquals(typeof `${proxy}`, "string");
    } catch (error) {
      assertInstanceOf(error, TypeError);
    }
  }
  const after = client.go("S.f");
  await after.reply;
  assertEquals((after.id ?? 0) - (before.id ?? 0), 1);
  await close();
});

test("an unknown method of a proxy fails as a call does", async () => {
  const { client, close } = pair(services);
  const s: object = client.service("S");
  const lose: () => Promise<unknown> = Reflect.get(s, "lose");
  const error = await assertRejects(() => lose(), RpcError);
  assertEquals([error.code, error.outcome], ["not_found", "refused"]);
  await close();
});
