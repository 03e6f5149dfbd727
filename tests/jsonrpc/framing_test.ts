// The two framings: chunks of every size, limits, broken headers, hostile JSON.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { faceJsonServer, JsonPeer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";

const services = { echo: (params: unknown) => params };
const LIMIT = 16 * 1024;

const call = (id: number, params: unknown) => ({
  jsonrpc: "2.0",
  id,
  method: "echo",
  params,
});

const reply = (id: number, result: unknown) => ({ jsonrpc: "2.0", id, result });

for (const framing of ["lines", "contentLength"] as const) {
  test(`[B1] messages in chunks of every size arrive whole and in order (${framing})`, async () => {
    const shape = new JsonPeer(framing);
    const calls = [call(1, ["ä€😀"]), call(2, { a: [{}] }), call(3, ["x"])];
    const text = calls.map((each) => shape.frame(each)).join("");
    const bytes = new TextEncoder().encode(text);
    for (const step of [1, 2, 3, 7, 20, bytes.length]) {
      const { peer, close } = faceJsonServer(services, { framing });
      for (let at = 0; at < bytes.length; at += step) {
        await peer.raw(bytes.slice(at, at + step));
      }
      assertEquals(await peer.next(), reply(1, ["ä€😀"]));
      assertEquals(await peer.next(), reply(2, { a: [{}] }));
      assertEquals(await peer.next(), reply(3, ["x"]));
      assertEquals(await close(), []);
    }
  });

  test(`a message at maxMessage is served; one above gets an error response and closes (${framing})`, async () => {
    const options = { framing, maxMessage: LIMIT };
    const { peer, connection } = faceJsonServer(services, options);
    const empty = JSON.stringify(call(1, [""])).length;
    await peer.send(call(1, ["x".repeat(LIMIT - empty)]));
    assertEquals((await peer.next()).id, 1);
    await peer.send(call(2, ["x".repeat(LIMIT - empty + 10)]));
    const [complaint, ...more] = await peer.rest();
    assertEquals(more, []);
    const { id, error } = complaint as {
      id: unknown;
      error: { code: number; message: string };
    };
    assertEquals([id, error.code], [null, -32600]);
    assertStringIncludes(error.message, `${LIMIT}`);
    await peer.end();
    assertEquals((await connection.closed)?.code, "frame_too_large");
    assertNothingLeft(connection);
  });
}

const BROKEN: readonly [string, string, string][] = [
  [
    "a length that is absurd",
    "Content-Length: 99999999999999\r\n\r\n",
    "frame_too_large",
  ],
  [
    "a length of 400 digits",
    `Content-Length: ${"9".repeat(400)}\r\n\r\n`,
    "frame_too_large",
  ],
  ["a negative length", "Content-Length: -1\r\n\r\n", "protocol_error"],
  ["a length in hexadecimal", "Content-Length: 0x10\r\n\r\n", "protocol_error"],
  ["a length with a fraction", "Content-Length: 1e3\r\n\r\n", "protocol_error"],
  ["no length", "Content-Length: \r\n\r\n", "protocol_error"],
  [
    "two lengths",
    "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "protocol_error",
  ],
  ["no Content-Length", "Content-Type: x\r\n\r\n", "protocol_error"],
  ["no header at all", "\r\n\r\n", "protocol_error"],
  ["an HTTP request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "protocol_error"],
  ["a header without end", `X: ${"x".repeat(5000)}`, "protocol_error"],
  ["many header lines", "X: y\r\n".repeat(1000), "protocol_error"],
];

for (const [what, text, code] of BROKEN) {
  test(`[B6] ${what} in a header closes with a typed error, and nothing behind it is read`, async () => {
    const { peer, connection } = faceJsonServer(services, {
      framing: "contentLength",
    });
    await peer.raw(text + peer.frame(call(1, [])));
    const messages = await peer.rest();
    assertEquals(messages.length, 1);
    await peer.end();
    const reason = await connection.closed;
    assertEquals(reason?.code, code, reason?.message);
    assertNothingLeft(connection);
  });
}

test("the error names HTTP", async () => {
  const { peer, connection } = faceJsonServer(services, { dialect: "lsp" });
  await peer.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await peer.end();
  await peer.rest();
  assertStringIncludes(
    (await connection.closed)?.message ?? "",
    "(HTTP)",
  );
});

test("header names are case-insensitive, and utf8 means utf-8", async () => {
  const { peer, close } = faceJsonServer(services, { dialect: "lsp" });
  const text = JSON.stringify(call(1, [1]));
  for (const charset of ["utf-8", "utf8", '"UTF-8"']) {
    await peer.raw(
      `content-LENGTH:${text.length}\r\n` +
        `Content-Type: application/vscode-jsonrpc; charset=${charset}\r\n\r\n${text}`,
    );
    assertEquals(await peer.next(), reply(1, [1]));
  }
  assertEquals(await close(), []);
});

test("a message in another charset gets a parse error, and the next one is served", async () => {
  const { peer, close } = faceJsonServer(services, { dialect: "lsp" });
  const text = JSON.stringify(call(1, [1]));
  await peer.raw(
    `Content-Length: ${text.length}\r\nContent-Type: x; charset=utf-16\r\n\r\n${text}`,
  );
  assertEquals((await peer.next()).error.code, -32700);
  await peer.send(call(2, [2]));
  assertEquals(await peer.next(), reply(2, [2]));
  assertEquals(await close(), []);
});

test("an empty message and invalid UTF-8 get a parse error, and the next message is served", async () => {
  const { peer, close } = faceJsonServer(services, { dialect: "lsp" });
  await peer.raw("Content-Length: 0\r\n\r\n");
  assertEquals((await peer.next()).error.code, -32700);
  await peer.raw("Content-Length: 4\r\n\r\n");
  await peer.raw(Uint8Array.of(0x22, 0xff, 0xfe, 0x22));
  assertEquals((await peer.next()).error.code, -32700);
  await peer.send(call(3, [3]));
  assertEquals(await peer.next(), reply(3, [3]));
  assertEquals(await close(), []);
});

test("lines may end in CR LF, empty lines are skipped, and the last line needs no LF", async () => {
  const { peer, close } = faceJsonServer(services);
  await peer.raw("\n\r\n" + JSON.stringify(call(1, [1])) + "\r\n\n");
  assertEquals(await peer.next(), reply(1, [1]));
  await peer.raw(JSON.stringify(call(2, [2])));
  await peer.end();
  assertEquals(await peer.next(), reply(2, [2]));
  assertEquals(await close(), []);
});

for (
  const [what, text] of [
    ["header", "Content-Len"],
    ["message", "Content-Length: 10\r\n\r\n{}"],
  ]
) {
  test(`[B5] a stream that ends inside a ${what} closes with a typed error`, async () => {
    const { peer, connection } = faceJsonServer(services, { dialect: "lsp" });
    await peer.raw(text);
    await peer.end();
    await peer.rest();
    assertEquals((await connection.closed)?.code, "truncated");
    assertNothingLeft(connection);
  });
}

test("[H4] JSON nested 100,000 deep is answered, and the next message is served", async () => {
  const { peer, close } = faceJsonServer(services);
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  await peer.raw(deep + "\n");
  const { error } = [await peer.next()].flat()[0];
  assert([-32700, -32600].includes(error.code));
  await peer.send(call(1, [1]));
  assertEquals(await peer.next(), reply(1, [1]));
  assertEquals(await close(), []);
});

test("[H4] __proto__ in a message changes no prototype", async () => {
  const { peer, close } = faceJsonServer(services);
  await peer.raw(
    '{"__proto__":{"method":"echo","id":1},"jsonrpc":"2.0"}\n' +
      '{"jsonrpc":"2.0","id":2,"method":"echo","params":{"__proto__":{"x":1}}}\n',
  );
  assertEquals((await peer.next()).error.code, -32600);
  const got = await peer.next();
  assertEquals(JSON.stringify(got.result), '{"__proto__":{"x":1}}');
  assertEquals(({} as Record<string, unknown>).x, undefined);
  const prototype = Object.prototype as Record<string, unknown>;
  prototype.method = "echo";
  try {
    await peer.raw('{"jsonrpc":"2.0","id":3}\n');
    assertEquals((await peer.next()).error.code, -32600);
  } finally {
    delete prototype.method;
  }
  for (const method of ["__proto__", "constructor", "toString", ""]) {
    await peer.send({ jsonrpc: "2.0", id: 3, method });
    assertEquals((await peer.next()).error.code, -32601);
  }
  assertEquals(await close(), []);
});
