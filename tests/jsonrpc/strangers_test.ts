// Peers that do not speak JSON-RPC: web pages above all, which can send an HTTP
// request with any body to any port of loopback; and what a child process
// prints between its messages.

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

/** What may come first on a connection, and what the error calls it. */
const OPENINGS: readonly [string, string | Uint8Array, string][] = [
  ["POST", "POST / HTTP/1.1\r\nHost: x\r\n", "an HTTP request"],
  [
    "a preflight",
    "OPTIONS / HTTP/1.1\r\nOrigin: http://x\r\n",
    "an HTTP request",
  ],
  [
    "an absolute form, which has a colon",
    "POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n",
    "an HTTP request",
  ],
  ["CONNECT", "CONNECT 127.0.0.1:1 HTTP/1.1\r\n", "an HTTP request"],
  ["a method in lower case", "post / HTTP/1.1\r\n", "an HTTP request"],
  ["lower case that begins like a header", "connect / HTTP/1.1\r\n", ""],
  ["lower case that begins like JSON", "trace / HTTP/1.1\r\n", ""],
  ["a method of its own", "NOTIFY * HTTP/1.1\r\n", ""],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"],
  ["blank lines before a request", "\r\n\nPOST / HTTP/1.1\r\n", ""],
  ["a request whose lines end in CR alone", "POST / HTTP/1.1\rHost: x\r", ""],
  ["a TLS hello", Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3), "TLS"],
  ["SSH", "SSH-2.0-OpenSSH_9.9\r\n", "SSH"],
  ["an answer of HTTP", "HTTP/1.1 400 Bad Request\r\n", "an HTTP response"],
];

/** What only the header block of the other framing must not hold. */
const HEADERS: readonly [string, string][] = [
  ["a header of HTTP", "Host: x\r\n"],
  ["any other header", "X-Other: 1\r\n"],
  ["a header behind the length", "Content-Length: 2\r\nHost: x\r\n"],
  ["a folded line", "Content-Type: x;\r\n charset=utf-8\r\n"],
  ["a folded line at the start", " Content-Length: 2\r\n"],
  ["a space before the colon", "Content-Length : 2\r\n"],
  ["a name that is no token", "Content Length: 2\r\n"],
  ["a name that is longer", "Content-Length-X: 2\r\n"],
  ["a length that ends in CR alone", "Content-Length: 2\rHost: x\r\n"],
];

const named = (text: string, what: string): void => {
  if (what !== "") assertStringIncludes(text, what);
};

for (const framing of ["lines", "contentLength"] as const) {
  for (const [what, opening, name] of OPENINGS) {
    for (const step of [1, Infinity]) {
      const cut = step === 1 ? "byte by byte" : "in one piece";
      test(`[X5] ${what} closes before a method runs (${framing}, ${cut})`, async () => {
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
    test(`[X5] ${what} in a header block closes at its line (step ${step})`, async () => {
      let runs = 0;
      const { peer, connection } = faceJsonServer(
        { run: () => void runs++ },
        { framing: "contentLength" },
      );
      // The block does not end, so only its lines can have closed it.
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
  test(`[X30] a header that ends in ${JSON.stringify(end)} is refused at once`, async () => {
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
  test(`[X5] a POST by fetch to a server on TCP runs nothing (${framing})`, async () => {
    let runs = 0;
    const server = new JsonRpcServer({ run: () => void runs++ }, { framing });
    const listener = await listen({ port: 0 });
    server.serve(listener);
    const { port } = listener.address as { port: number };
    for (const body of [`\n${CALL}\n`, BODY]) {
      // What is answered is no HTTP.
      const failed = await fetch(`http://127.0.0.1:${port}/`, {
        method: "POST",
        body,
      }).then(() => false, () => true);
      assert(failed);
    }
    // The server lives, and serves those who speak its wire.
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

test("[X5] an HTTP request to a server of Go's JSON wire runs nothing", async () => {
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

/** What a child may print that is no message. */
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

/** Those of them that are told: blank lines are none. */
const TOLD = STRAY.filter((line) => line.trim() !== "");

/** A peer by hand whose output is a child's. */
function childPeer(): { peer: JsonPeer; duplex: Duplex & DuplexInfo } {
  const peer = new JsonPeer();
  const { readable, writable } = peer.duplex;
  return { peer, duplex: { readable, writable, childOutput: true } };
}

for (const step of [1, Infinity]) {
  test(`[X29] what a child prints between messages is dropped and told (step ${step})`, async () => {
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
    // Nothing was said to the child of any of them.
    await peer.end();
    await client.close();
    assertEquals(await peer.rest(), []);
    assertEquals(errors.length, TOLD.length);
    for (const [i, error] of errors.entries()) {
      assert(error instanceof ConnectionError);
      assertEquals(error.code, "protocol_error");
      assert(error.message.length < 400);
      const shown = JSON.stringify(TOLD[i].slice(0, 100)).slice(1, -1);
      assertStringIncludes(error.message, shown.replaceAll("\\", "\\"));
    }
    assertNothingLeft(client.connection);
  });
}

test("[X29] the same for a plain client with that wire, and an onError that throws ends nothing", async () => {
  const { peer, duplex } = childPeer();
  let told = 0;
  const client = new Client<{ run: () => number }>(duplex, {
    protocol: jsonRpc({ dialect: "mcp" }),
    services: callable({}, {
      onError: () => {
        told++;
        throw new Error("from onError");
      },
    }),
  });
  const answer = client.call("run");
  await peer.next();
  await peer.raw('hello\n{"jsonrpc":"2.0","id":1,"result":7}\n');
  assertEquals(await answer, 7);
  assertEquals(told, 1);
  await peer.end();
  await client.close();
});

test("[X29] what is no answer but names a call of ours still fails it, and a request without a method is answered", async () => {
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

test("[X29] nodeDuplex over a child's streams says so, over a socket it does not", async () => {
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
    // Closed already, it is not read.
    await peer.raw(bytes.slice(at, at + step)).catch(() => {});
  }
}
