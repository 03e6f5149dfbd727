// Peers that do not speak JSON-RPC. Any web page can send an HTTP request with any
// body to any port of this machine. And a child process may print lines that are
// not messages.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { jsonRpc, JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import {
  callable,
  Client,
  connect,
  ConnectionError,
  type Duplex,
  type DuplexInfo,
  listen,
  nodeDuplex,
  Server,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { faceJsonServer, JsonPeer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";

const CALL = '{"jsonrpc":"2.0","id":1,"method":"run","params":[1]}';
const BODY = `Content-Length: ${CALL.length}\r\n\r\n${CALL}\n${CALL}\n`;

/** The first bytes that a stranger may send, and what the error calls them. */
const OPENINGS: readonly [string, string | Uint8Array, string][] = [
  ["POST", "POST / HTTP/1.1\r\nHost: x\r\n", "(HTTP)"],
  [
    "a preflight",
    "OPTIONS / HTTP/1.1\r\nOrigin: http://x\r\n",
    "(HTTP)",
  ],
  [
    "a request target in absolute form, which has a colon",
    "POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n",
    "(HTTP)",
  ],
  ["CONNECT", "CONNECT 127.0.0.1:1 HTTP/1.1\r\n", "(HTTP)"],
  ["a method in lower case", "post / HTTP/1.1\r\n", "(HTTP)"],
  ["lower case that begins like a header", "connect / HTTP/1.1\r\n", ""],
  ["lower case that begins like JSON", "trace / HTTP/1.1\r\n", ""],
  ["an unknown method", "NOTIFY * HTTP/1.1\r\n", ""],
  ["an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "(HTTP)"],
  ["blank lines before a request", "\r\n\nPOST / HTTP/1.1\r\n", ""],
  ["a request whose lines end in CR only", "POST / HTTP/1.1\rHost: x\r", ""],
  ["a TLS hello", Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3), "(TLS)"],
  ["SSH", "SSH-2.0-OpenSSH_9.9\r\n", "(SSH)"],
  ["an HTTP response", "HTTP/1.1 400 Bad Request\r\n", "(HTTP)"],
];

/** Lines that a `Content-Length` header block must not contain. */
const HEADERS: readonly [string, string][] = [
  ["an HTTP header", "Host: x\r\n"],
  ["any other header", "X-Other: 1\r\n"],
  ["another header after the length", "Content-Length: 2\r\nHost: x\r\n"],
  ["a folded line", "Content-Type: x;\r\n charset=utf-8\r\n"],
  ["a folded line at the start", " Content-Length: 2\r\n"],
  ["a space before the colon", "Content-Length : 2\r\n"],
  ["a name with a space", "Content Length: 2\r\n"],
  ["a longer name", "Content-Length-X: 2\r\n"],
  ["a length line that ends in CR only", "Content-Length: 2\rHost: x\r\n"],
];

const named = (text: string, what: string): void => {
  if (what !== "") assertStringIncludes(text, what);
};

for (const framing of ["lines", "contentLength"] as const) {
  for (const [what, opening, name] of OPENINGS) {
    for (const step of [1, Infinity]) {
      const cut = step === 1 ? "byte by byte" : "in one piece";
      test(`[X5] ${what} closes the connection before a method runs (${framing}, ${cut})`, async () => {
        let runs = 0;
        const { peer, connection } = faceJsonServer(
          { run: () => void runs++ },
          { framing },
        );
        await feed(peer, opening, step);
        await peer.raw(BODY).catch(() => {});
        await peer.end().catch(() => {});
        await peer.rest();
        const reason = await connection.closed;
        assertEquals([reason?.code, runs], ["protocol_error", 0]);
        if (step > 1) named(reason?.message ?? "", name);
        assertNothingLeft(connection);
      });
    }
  }
}

for (const [what, header] of HEADERS) {
  for (const step of [1, Infinity]) {
    test(`[X5] ${what} in a header block closes at that line (step ${step})`, async () => {
      let runs = 0;
      const { peer, connection } = faceJsonServer(
        { run: () => void runs++ },
        { framing: "contentLength" },
      );
      // The block never ends, so one of its lines has closed the connection.
      await feed(peer, header, step);
      await peer.rest();
      await peer.end().catch(() => {});
      assertEquals((await connection.closed)?.code, "protocol_error");
      assertEquals(runs, 0);
      assertNothingLeft(connection);
    });
  }
}

for (const end of ["\n\n", "\n", "\r\n\n"]) {
  test(`[X30] a header that ends in ${JSON.stringify(end)} is rejected at once`, async () => {
    const { peer, connection } = faceJsonServer({}, { dialect: "lsp" });
    await peer.raw(`Content-Length: ${CALL.length}${end}`);
    await peer.rest();
    await peer.end().catch(() => {});
    const reason = await connection.closed;
    assertEquals(reason?.code, "protocol_error");
    assertStringIncludes(reason?.message ?? "", "carriage return");
    assertNothingLeft(connection);
  });
}

for (
  const line of ['{"jsonrpc":"2.0",', "{]", "[1", '"', "nul", "1x", "\xff"]
) {
  test(`[X5] a line that is not JSON is answered -32700 and closes: ${JSON.stringify(line)}`, async () => {
    let runs = 0;
    const { peer, connection } = faceJsonServer({ run: () => void runs++ });
    await peer.raw(`${line}\n${CALL}\n`);
    const rest = await peer.rest() as {
      id: unknown;
      error: { code: number };
    }[];
    assertEquals(rest.map(({ id, error }) => [id, error.code]), [[
      null,
      -32700,
    ]]);
    await peer.end().catch(() => {});
    assertEquals((await connection.closed)?.code, "protocol_error");
    assertEquals(runs, 0);
    assertNothingLeft(connection);
  });
}

for (const framing of ["lines", "contentLength"] as const) {
  test(`[X5] a POST by fetch to a server on TCP runs no method (${framing})`, async () => {
    let runs = 0;
    const server = new JsonRpcServer({ run: () => void runs++ }, { framing });
    const listener = await listen({ port: 0 });
    server.serve(listener);
    const { port } = listener.address as { port: number };
    for (const body of [`\n${CALL}\n`, BODY]) {
      // The server's answer is not HTTP.
      const failed = await fetch(`http://127.0.0.1:${port}/`, {
        method: "POST",
        body,
      }).then(() => false, () => true);
      assert(failed);
    }
    // The server still serves JSON-RPC clients.
    const client = new JsonRpcClient<{ run: () => void }>(
      await connect(listener.address),
      { framing },
    );
    await client.call("run");
    assertEquals(runs, 1);
    await client.close();
    await server.close();
  });
}

test("[X5] an HTTP request to a server of net/rpc/jsonrpc runs no method", async () => {
  const body = '{"method":"A.run","params":[1],"id":0}\n';
  for (
    const opening of [
      "POST / HTTP/1.1\r\nHost: x\r\n\r\n\n",
      "\r\nPOST / HTTP/1.1\r\n\r\n",
      "post http://x:1/ HTTP/1.1\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
  ) {
    let runs = 0;
    const server = new Server(
      { A: { run: () => void runs++ } },
      { protocol: netrpc({ encoding: "json" }) },
    );
    const peer = new JsonPeer();
    const connection = server.accept(peer.duplex);
    await peer.raw(opening + body);
    await peer.end().catch(() => {});
    assertEquals((await connection.closed)?.code, "protocol_error");
    assertEquals(runs, 0);
    assertNothingLeft(connection);
    await server.close();
  }
});

/** Lines that a child process may print and that are not messages. */
const STRAY = [
  "Server started on stdio",
  "(node:1) Warning: x",
  "",
  "   ",
  "{ not json",
  '{"level":30,"msg":"a logger that writes JSON"}',
  "42",
  '"text"',
  "null",
  "[]",
  "\u001b[31mred\u001b[0m",
  "x".repeat(10_000),
];

/** The lines that are reported: all but blank ones. */
const REPORTED = STRAY.filter((line) => line.trim() !== "");

/** A handmade peer whose output is that of a child process. */
function childPeer(): { peer: JsonPeer; duplex: Duplex & DuplexInfo } {
  const peer = new JsonPeer();
  const { readable, writable } = peer.duplex;
  return { peer, duplex: { readable, writable, childOutput: true } };
}

for (const step of [1, Infinity]) {
  test(`[X29] what a child process prints between messages is dropped and reported to onError (step ${step})`, async () => {
    const { peer, duplex } = childPeer();
    const errors: unknown[] = [];
    const client = new JsonRpcClient<{ run: () => number }>(duplex, {
      dialect: "mcp",
      onError: (error) => errors.push(error),
    });
    const answer = client.call("run");
    assertEquals((await peer.next()).method, "run");
    await feed(peer, STRAY.join("\n") + "\n", step);
    await peer.raw('{"jsonrpc":"2.0","id":1,"result":7}\n');
    assertEquals(await answer, 7);
    // None of the lines was answered.
    await peer.end();
    await client.close();
    assertEquals(await peer.rest(), []);
    assertEquals(errors.length, REPORTED.length);
    for (const [i, error] of errors.entries()) {
      assert(error instanceof ConnectionError);
      assertEquals(error.code, "protocol_error");
      assert(error.message.length < 400);
      const shown = JSON.stringify(REPORTED[i].slice(0, 100)).slice(1, -1);
      assertStringIncludes(error.message, shown.replaceAll("\\", "\\"));
    }
    assertNothingLeft(client.connection);
  });
}

test("[X29] a plain Client with this protocol does the same, also if onError throws", async () => {
  const { peer, duplex } = childPeer();
  let reported = 0;
  const client = new Client<{ run: () => number }>(duplex, {
    protocol: jsonRpc({ dialect: "mcp" }),
    services: callable({}, {
      onError: () => {
        reported++;
        throw new Error("from onError");
      },
    }),
  });
  const answer = client.call("run");
  await peer.next();
  await peer.raw('hello\n{"jsonrpc":"2.0","id":1,"result":7}\n');
  assertEquals(await answer, 7);
  assertEquals(reported, 1);
  await peer.end();
  await client.close();
});

test("[X29] an invalid response of a child process fails its call, and an invalid request is answered", async () => {
  const { peer, duplex } = childPeer();
  const client = new JsonRpcClient<{ run: () => number }>(duplex);
  const failed = client.call("run").catch((error) => error.code);
  await peer.next();
  await peer.raw(
    '{"jsonrpc":"2.0","id":1}\n{"jsonrpc":"2.0","id":"x","method":1}\n',
  );
  assertEquals(await failed, "invalid_reply");
  const { id, error } = await peer.next();
  assertEquals([id, error.code], ["x", -32600]);
  await peer.end();
  await client.close();
});

test("[X29] nodeDuplex sets childOutput for a child's streams, and not for a socket", async () => {
  const script =
    'console.log("hello"); process.stdin.once("data", () => { console.log(JSON.stringify({ jsonrpc: "2.0", id: 1, result: 7 })); process.exit(); });';
  const child = spawn(process.execPath, [
    ..."Deno" in globalThis ? ["eval"] : ["-e"],
    "Deno" in globalThis
      ? `import process from "node:process"; ${script}`
      : script,
  ], { stdio: ["pipe", "pipe", "inherit"] });
  const errors: unknown[] = [];
  const client = new JsonRpcClient<{ run: () => number }>(
    nodeDuplex(child.stdout, child.stdin),
    { dialect: "mcp", onError: (error) => errors.push(error) },
  );
  assertEquals(await client.call("run"), 7);
  assertEquals(errors.length, 1);
  await client.close();

  const both = new PassThrough();
  assertEquals(nodeDuplex(both, both).childOutput, false);
  both.destroy();
});

async function feed(
  peer: JsonPeer,
  what: string | Uint8Array,
  step: number,
): Promise<void> {
  const bytes = typeof what === "string"
    ? new TextEncoder().encode(what)
    : what;
  for (let at = 0; at < bytes.length; at += step) {
    // A connection that has closed does not read.
    await peer.raw(bytes.slice(at, at + step)).catch(() => {});
  }
}
