// Errors over JSON-RPC: the mapping of codes and numbers, data, and what a number
// tells about the outcome.

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  type DialectName,
  JsonRpcClient,
  JsonRpcServer,
} from "../../jsonrpc.ts";
import { memoryPair, method, type Outcome, RpcError } from "../../mod.ts";
import { faceJsonClient, faceJsonServer } from "../support/json_peer.ts";

const call = (id: unknown, method: string, params?: unknown) => ({
  jsonrpc: "2.0",
  id,
  method,
  params,
});

/** The error that a server sends if its handler throws `error`. */
async function thrown(error: unknown, dialect: DialectName = "none") {
  const codes = { out_of_stock: 1001 };
  const services = {
    fail: () => {
      throw error;
    },
  };
  const { peer, close } = faceJsonServer(services, { dialect, codes });
  await peer.send(call(1, "fail"));
  const { error: answer } = await peer.next();
  assertEquals(await close(), []);
  return answer;
}

test("a handler's error is sent with the number of its code, its message and its data", async () => {
  const data = { cups: [0] };
  for (
    const [code, number] of [
      ["out_of_stock", 1001],
      ["1234", 1234],
      ["-32050", -32050],
      ["0", 0],
      ["007", -32000],
      ["1.5", -32000],
      ["something", -32000],
      ["invalid_argument", -32602],
      ["internal", -32603],
      ["cancelled", -32800],
      ["deadline_exceeded", -32085],
      ["constructor", -32000],
    ] as const
  ) {
    const answer = await thrown(new RpcError(code, "why", { data }));
    assertEquals(answer, { code: number, message: "why", data }, code);
  }
});

test("an error thrown by a handler always has the outcome executed", async () => {
  for (const code of ["not_found", "resource_exhausted", "unavailable"]) {
    const { code: number } = await thrown(new RpcError(code, "why"));
    const { peer, client, close } = faceJsonClient<{ f(): void }>();
    const handle = client.go("f");
    const { id } = await peer.next();
    await peer.send({
      jsonrpc: "2.0",
      id,
      error: { code: number, message: "" },
    });
    const error = await assertRejects(() => handle.reply, RpcError);
    assertEquals([error.code, handle.outcome], [code, "executed"]);
    await close();
  }
});

test("the codes of language servers exist in the dialect lsp only", async () => {
  const error = new RpcError("content_modified", "why");
  assertEquals((await thrown(error, "lsp")).code, -32801);
  assertEquals((await thrown(error, "mcp")).code, -32000);
});

test("an exception that is not an RpcError is sent as internal, without details", async () => {
  const answer = await thrown(new Error("secret"));
  assertEquals(answer, { code: -32603, message: "the handler failed" });
});

test("[H8] a huge error message is cut, and data that is huge or that JSON cannot carry is left out", async () => {
  const long = "x".repeat(100_000);
  const { message } = await thrown(new RpcError("a", long));
  assertEquals(message.length, 4096);
  const huge = { data: "x".repeat(5 << 20) };
  assertEquals((await thrown(new RpcError("a", "b", huge))).data, undefined);
  const big = { data: 1n };
  assertEquals((await thrown(new RpcError("a", "b", big))).data, undefined);
});

test("a number becomes its code or its digits, and the outcome claims no more than the number proves", async () => {
  const table: [unknown, string, Outcome][] = [
    [-32700, "protocol_error", "refused"],
    [-32600, "protocol_error", "refused"],
    [-32601, "not_found", "refused"],
    [-32602, "invalid_argument", "unknown"],
    [-32603, "internal", "unknown"],
    [-32800, "cancelled", "unknown"],
    [-32803, "request_failed", "executed"],
    [-32080, "resource_exhausted", "refused"],
    [-32081, "unavailable", "refused"],
    [-32000, "-32000", "unknown"],
    [1001, "out_of_stock", "executed"],
    [42, "42", "executed"],
    ["42", "internal", "unknown"],
    [1.5, "internal", "unknown"],
    [undefined, "internal", "unknown"],
  ];
  const codes = { out_of_stock: 1001 };
  const { peer, client, close } = faceJsonClient<{ f(): void }>({
    dialect: "lsp",
    codes,
  });
  for (const [number, code, outcome] of table) {
    const handle = client.go("f");
    const { id } = await peer.next();
    const error = { code: number, message: "why", data: { a: 1 } };
    await peer.send({ jsonrpc: "2.0", id, error });
    const got = await assertRejects(() => handle.reply, RpcError, "why");
    assertEquals([got.code, got.outcome], [code, outcome], String(number));
    assertEquals(handle.outcome, outcome);
    assertEquals(got.data, { a: 1 });
  }
  assertEquals(await close(), []);
});

test("an error member of any form fails its own call only", async () => {
  const { peer, client, close } = faceJsonClient<{ f(): void }>();
  for (const error of ["text", 7, [], {}, true, { message: 5, code: {} }]) {
    const reply = client.call("f");
    const { id } = await peer.next();
    await peer.send({ jsonrpc: "2.0", id, error });
    assertEquals((await assertRejects(() => reply, RpcError)).code, "internal");
  }
  assertEquals(await close(), []);
});

test("params that a schema rejects get -32602 with the schema's issues, and the handler does not start", async () => {
  let started = 0;
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: (value: unknown) =>
        Array.isArray(value) ? { value } : { issues: [{ message: "no list" }] },
    },
  };
  const services = { f: method(schema, () => void started++) };
  const [near, far] = memoryPair();
  const server = new JsonRpcServer(services as object);
  server.accept(far);
  const client = new JsonRpcClient<{ f(p: unknown): void }>(near);
  const failed = client.call("f", { a: 1 });
  const error = await assertRejects(() => failed, RpcError, "no list");
  assertEquals(error.code, "invalid_argument");
  assertEquals(error.data, [{ message: "no list" }]);
  await client.call("f", []);
  assertEquals(started, 1);
  await client.close();
  await server.close();
});

test("a response with neither result nor error fails its call, and the connection stays open", async () => {
  const { peer, client, close } = faceJsonClient<{ f(): string }>();
  const handle = client.go("f");
  const { id } = await peer.next();
  await peer.send({ jsonrpc: "2.0", id });
  const error = await assertRejects(() => handle.reply, RpcError, "no result");
  assertEquals([error.code, error.outcome], ["invalid_reply", "unknown"]);
  const next = client.call("f");
  await peer.send({ jsonrpc: "2.0", id: (await peer.next()).id, result: "x" });
  assertEquals(await next, "x");
  // For an id that was never sent it is not a response but an invalid request.
  await peer.send({ jsonrpc: "2.0", id: 77 });
  assertEquals((await peer.next()).error.code, -32600);
  assertEquals(await close(), []);
});
