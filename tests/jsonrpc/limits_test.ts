// Batches, limits and connection endings over JSON-RPC.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import { memoryPair, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceJsonClient, faceJsonServer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Held } from "../support/services.ts";

const call = (id: unknown, method: string, params?: unknown) => ({
  jsonrpc: "2.0",
  id,
  method,
  params,
});
const reply = (id: unknown, result: unknown) => ({
  jsonrpc: "2.0",
  id,
  result,
});

interface Remote {
  add(params: [number, number]): number;
  log(params: unknown[]): void;
}

/** A method that does not exist, with a name long enough that the error response has some size. */
const LONG = "nobody".repeat(20);

// Batches.

test("calls, notifications and cancels made in batch() are sent as one array", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ dialect: "lsp" });
  const handles = client.batch(() => {
    const made = [client.go("add", [1, 2]), client.go("add", [3, 4])];
    client.notify("log", ["x"]);
    client.batch(() => made.push(client.go("add", [5, 6])));
    made[2].abort();
    return made;
  });
  const array = await peer.next();
  const ids = handles.map(({ id }) => id);
  assertEquals(array, [
    { jsonrpc: "2.0", id: ids[0], method: "add", params: [1, 2] },
    { jsonrpc: "2.0", id: ids[1], method: "add", params: [3, 4] },
    { jsonrpc: "2.0", method: "log", params: ["x"] },
    { jsonrpc: "2.0", id: ids[2], method: "add", params: [5, 6] },
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: ids[2] } },
  ]);
  await peer.send([reply(ids[1], 7), reply(ids[2], 11), reply(ids[0], 3)]);
  assertEquals([await handles[0].reply, await handles[1].reply], [3, 7]);
  assertEquals(await handles[2].settled, "executed");
  assertEquals(await close(), []);
});

test("batch() sends one call without an array, nothing if empty, and what was called before an exception", async () => {
  const { peer, client, close } = faceJsonClient<Remote>();
  client.batch(() => {});
  const replies = [client.batch(() => client.call("add", [1, 2]))];
  const one = await peer.next();
  assertEquals(one.method, "add");
  const failed = () =>
    client.batch(() => {
      replies.push(client.call("add", [3, 4]));
      throw new Error("in between");
    });
  assertEquals(
    await new Promise((resolve) => resolve(failed()))
      .catch(({ message }) => message),
    "in between",
  );
  const two = await peer.next();
  await peer.send(reply(one.id, 3), reply(two.id, 7));
  assertEquals(await Promise.all(replies), [3, 7]);
  assertEquals(await close(), []);
});

test("a batch above maxMessage is sent as several", async () => {
  const services = { add: ([a, b]: [number, number]) => a + b };
  const [near, far] = memoryPair();
  const server = new JsonRpcServer(services, { maxMessage: 16 * 1024 });
  server.accept(far);
  const client = new JsonRpcClient<typeof services>(near, {
    maxMessage: 16 * 1024,
  });
  const replies = client.batch(() =>
    Array.from({ length: 3000 }, (_, i) => client.call("add", [i, 1]))
  );
  const wanted = Array.from({ length: 3000 }, (_, i) => i + 1);
  assertEquals(await Promise.all(replies), wanted);
  await client.close();
  await server.close();
});

test("a batch is answered as one array, after its last call", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(held.services);
  await peer.send([call(1, "Held.work"), call(2, "Held.echo", [2])]);
  await peer.send(call(3, "Held.echo", [3]));
  assertEquals(await peer.next(), reply(3, [3]));
  held.release("slow");
  assertEquals(await peer.next(), [reply(2, [2]), reply(1, "slow")]);
  assertEquals(await close(), []);
});

test("responses to a batch that exceed maxMessage are sent as several arrays, and none is lost", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(
    { ...held.services, big: () => "x".repeat(7000) },
    { maxMessage: 16 * 1024 },
  );
  await peer.send([
    call(0, "Held.work"),
    ...[1, 2, 3].map((id) => call(id, "big")),
  ]);
  const ids = (answers: { id: number }[]) => answers.map(({ id }) => id);
  assertEquals(ids(await peer.next()), [1, 2]);
  held.release("x");
  assertEquals(ids(await peer.next()), [3, 0]);
  assertEquals(await close(), []);
});

test("responses that wait in many batches are bounded: no more handlers start for a peer that does not read", async () => {
  const held = new Held();
  let made = 0;
  const big = () => {
    made++;
    return "x".repeat(1 << 20);
  };
  const services = { ...held.services, big };
  const { peer, connection } = faceJsonServer(services, {}, 0);
  for (let i = 0; i < 100; i++) {
    await peer.send([call(0, "Held.work"), call(1, "big")]);
  }
  // 4 MiB in the batches, 1 MiB in the send buffer, and what exceeded them.
  assert(made >= 4 && made <= 8, `${made}`);
  await connection.abort();
  held.release();
  await settle();
  assertNothingLeft(connection);
});

test("a batch of more than 1,024 messages gets a single error response", async () => {
  const { peer, close } = faceJsonServer({});
  await peer.send(new Array(1025).fill(1));
  const { id, error } = await peer.next();
  assertEquals([id, error.code], [null, -32600]);
  await peer.send(new Array(1024).fill(1));
  assertEquals((await peer.next()).length, 1024);
  assertEquals(await close(), []);
});

// Limits.

test("[F3] calls above the window are answered with an error, the others are served, and reading continues", async () => {
  const held = new Held();
  const { peer, connection, close } = faceJsonServer(held.services, {
    windowCalls: 100,
  });
  // One chunk with more messages than are read in one turn.
  const calls = Array.from({ length: 5000 }, (_, i) => call(i, "Held.work"));
  await peer.send(...calls);
  for (let id = 100; id < 5000; id++) {
    const answer = await peer.next();
    assertEquals([answer.id, answer.error.code], [id, -32080]);
  }
  assertEquals(connection.stats().running, 100);
  held.release("x");
  for (let id = 0; id < 100; id++) {
    assertEquals(await peer.next(), reply(id, "x"));
  }
  await peer.send(call("again", "Held.echo", [1]));
  assertEquals(await peer.next(), reply("again", [1]));
  assertEquals(await close(), []);
});

test("calls above the window's bytes are answered with an error", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(held.services, { windowBytes: 1000 });
  const params = ["x".repeat(600)];
  await peer.send(call(1, "Held.work", params), call(2, "Held.work", params));
  assertEquals((await peer.next()).error.code, -32080);
  held.release("x");
  assertEquals(await peer.next(), reply(1, "x"));
  assertEquals(await close(), []);
});

test("notifications above the window end the connection instead of being dropped", async () => {
  const held = new Held();
  const { peer, connection } = faceJsonServer(held.services, {
    windowCalls: 2,
  });
  const note = { jsonrpc: "2.0", method: "Held.work" };
  await peer.send(note, note, note);
  await peer.rest();
  await peer.end();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  held.release();
  await settle();
  assertNothingLeft(connection);
});

test("[X16] [F4] the server closes a peer that never reads once maxSendBuffer is exceeded, by default 16 MiB", async () => {
  for (const maxSendBuffer of [100_000, undefined]) {
    const { peer, connection } = faceJsonServer(
      { big: () => "x".repeat(1 << 20) },
      { maxSendBuffer: maxSendBuffer },
      0,
    );
    let most = 0;
    let made = 0;
    while (connection.stats().state === "open" && made < 1_000_000) {
      const calls = Array.from({ length: 500 }, () => call(++made, "nobody"));
      await peer.send(call(++made, "big"), ...calls).catch(() => {});
      most = Math.max(most, connection.stats().outgoingBytes);
    }
    assert(most <= (maxSendBuffer ?? 16 << 20) + 8192, `${most}`);
    assert(most > (maxSendBuffer ?? 16 << 20) / 2, `${most}`);
    await connection.abort();
    assertEquals((await connection.closed)?.code, "resource_exhausted");
    assertNothingLeft(connection);
  }
});

test("a client sends no more calls than its window allows", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ window: 3 });
  const replies = Array.from({ length: 10 }, () => client.call("add", [1, 1]));
  await settle();
  assertEquals([client.stats().inFlight, client.stats().queued], [3, 7]);
  for (let i = 0; i < 10; i++) {
    const { id } = await peer.next();
    await peer.send(reply(id, i));
  }
  assertEquals(await Promise.all(replies), [...Array(10).keys()]);
  assertEquals(await close(), []);
});

test("a call above maxMessage is not sent", async () => {
  const { client, close } = faceJsonClient<Remote>({ maxMessage: 16 * 1024 });
  const large = client.call("log", ["x".repeat(20_000)]);
  const { code, outcome } = await assertRejects(() => large, RpcError);
  assertEquals([code, outcome], ["resource_exhausted", "not_sent"]);
  assertEquals(await close(), []);
});

test("a call above the server's window rejects with the outcome refused", async () => {
  const held = new Held();
  const [near, far] = memoryPair();
  const server = new JsonRpcServer(held.services, { windowCalls: 1 });
  server.accept(far);
  const client = new JsonRpcClient<typeof held.services>(near);
  const first = client.call("Held.work");
  const second = client.call("Held.work");
  const { code, outcome } = await assertRejects(() => second, RpcError);
  assertEquals([code, outcome], ["resource_exhausted", "refused"]);
  held.release("x");
  assertEquals(await first, "x");
  await client.close();
  await server.close();
});

test("a client without services answers calls with not_found", async () => {
  const { peer, close } = faceJsonClient<Remote>();
  await peer.send(call(1, "f"), call(2, "g"), { jsonrpc: "2.0", method: "h" });
  assertEquals((await peer.next()).error.code, -32601);
  assertEquals((await peer.next()).error.code, -32601);
  assertEquals(await close(), []);
});

test("[F4] a client closes a peer that calls it and never reads once 16 MiB are exceeded", async () => {
  const { peer, client } = faceJsonClient<Remote>();
  let sent = 0;
  // More than enough calls to fill 16 MiB with responses of 200 bytes.
  while (client.stats().state === "open" && sent < 200_000) {
    const calls = Array.from({ length: 500 }, () => call(++sent, LONG));
    await peer.send(...calls).catch(() => {});
  }
  assert(sent < 200_000, `${sent}`);
  await client.abort();
  assertEquals((await client.connection.closed)?.code, "resource_exhausted");
  assertNothingLeft(client.connection);
});

// Connection endings.

test("[L3] close waits for running calls and refuses new ones", async () => {
  const held = new Held();
  const { peer, connection } = faceJsonServer(held.services);
  await peer.send(call(1, "Held.work"));
  await settle();
  const closing = connection.close();
  const note = { jsonrpc: "2.0", method: "Held.echo" };
  await peer.send(call(2, "Held.echo"), note);
  const { id, error } = await peer.next();
  assertEquals([id, error.code], [2, -32081]);
  held.release("done");
  assertEquals(await peer.rest(), [reply(1, "done")]);
  await peer.end();
  await closing;
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
});

test("[L2] after the peer's half-close replies are still delivered, and no signal fires", async () => {
  const held = new Held();
  const { peer, connection } = faceJsonServer(held.services);
  await peer.send(call(1, "Held.work"));
  await peer.end();
  await settle();
  assert(!held.calls[0].ctx.signal.aborted);
  held.release("done");
  assertEquals(await peer.rest(), [reply(1, "done")]);
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
});

test("[L1] when the peer closes, every call settles: sent ones as unknown, waiting ones as not_sent", async () => {
  const { peer, client } = faceJsonClient<Remote>({ window: 1 });
  const handles = [client.go("add", [1, 1]), client.go("add", [2, 2])];
  await peer.next();
  await peer.end();
  assertEquals(await handles[0].settled, "unknown");
  assertEquals(await handles[1].settled, "not_sent");
  await peer.rest();
  await client.connection.closed;
  assertNothingLeft(client.connection);
});

// Messages above the local limit, which JSON-RPC does not announce to the peer.

const SMALL = 16_384;
const large = "x".repeat(5 * SMALL);

/** Responses above the limit to the call with id 1, and the outcome that the caller gets. */
const LARGE_ANSWERS: readonly [string, string, string][] = [
  ["a result", `{"jsonrpc":"2.0","id":1,"result":"${large}"}`, "executed"],
  [
    "a result whose id is first",
    `{ "id" : 1, "jsonrpc" : "2.0", "result" : ["${large}"] }`,
    "executed",
  ],
  [
    "an error",
    `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":"${large}"}}`,
    "unknown",
  ],
  [
    "a result in the form of JSON-RPC 1.0",
    `{"id":1,"result":"${large}"}`,
    "executed",
  ],
];

for (const framing of ["lines", "contentLength"] as const) {
  for (const [what, text, outcome] of LARGE_ANSWERS) {
    for (const step of [7, Infinity]) {
      test(`[X27] ${what} above maxMessage fails its own call only (${framing}, step ${step})`, async () => {
        const options = { framing, maxMessage: SMALL };
        const { peer, client, connection, close } = faceJsonClient<
          { a(): string; b(): string }
        >(options);
        const failed = client.go("a");
        const other = client.call("b");
        assertEquals([(await peer.next()).id, (await peer.next()).id], [1, 2]);
        const framed = framing === "lines"
          ? `${text}\n`
          : `Content-Length: ${text.length}\r\n\r\n${text}`;
        const all = framed +
          peer.frame({ jsonrpc: "2.0", id: 2, result: "small" });
        let held = 0;
        for (let at = 0; at < all.length; at += step) {
          await peer.raw(all.slice(at, at + step));
          held = Math.max(held, connection.stats().bufferedBytes);
        }
        const error = await assertRejects(() => failed.reply, RpcError);
        assertEquals([error.code, error.outcome], ["frame_too_large", outcome]);
        assertStringIncludes(
          error.message,
          `exceeds the receiver's maxMessage of ${SMALL} bytes`,
        );
        assertEquals(await other, "small");
        assert(held <= 2 * SMALL, `${held} bytes held`);
        assertEquals(await close(), []);
      });
    }
  }

  for (
    const [what, text] of [
      ["a call", `{"jsonrpc":"2.0","id":9,"method":"a","params":["${large}"]}`],
      [
        "a notification",
        `{"jsonrpc":"2.0","method":"a","params":["${large}"]}`,
      ],
      [
        "a response without a call",
        `{"jsonrpc":"2.0","id":9,"result":"${large}"}`,
      ],
      [
        "a response with its id behind its result",
        `{"jsonrpc":"2.0","result":"${large}","id":1}`,
      ],
      ["a batch", `[{"jsonrpc":"2.0","id":1,"result":"${large}"}]`],
    ]
  ) {
    test(`[X27] ${what} above maxMessage closes, and the error names the receiver's limit (${framing})`, async () => {
      const options = { framing, maxMessage: SMALL };
      const { peer, client, connection } = faceJsonClient<
        { a(): string }
      >(options);
      const failed = assertRejects(() => client.call("a"), RpcError);
      await peer.next();
      await peer.raw(
        framing === "lines"
          ? `${text}\n`
          : `Content-Length: ${text.length}\r\n\r\n${text}`,
      );
      await peer.end();
      await peer.rest();
      const reason = await connection.closed;
      assertEquals(reason?.code, "frame_too_large");
      assertStringIncludes(
        reason?.message ?? "",
        `exceeds the receiver's maxMessage of ${SMALL} bytes`,
      );
      await failed;
      assertNothingLeft(connection);
    });
  }
}

test("[X27] the error for a call above a local limit names maxMessage or windowBytes", async () => {
  for (
    const [limits, text] of [
      [
        { maxMessage: SMALL },
        `exceeds the local maxMessage, ${SMALL} bytes`,
      ],
      [
        { windowBytes: 4 * SMALL },
        `exceeds the local windowBytes, ${4 * SMALL} bytes`,
      ],
    ] as const
  ) {
    const { client, close } = faceJsonClient<{ a(p: unknown[]): void }>(limits);
    const error = await assertRejects(
      () => client.call("a", [large]),
      RpcError,
      text,
    );
    assertEquals([error.code, error.outcome], [
      "resource_exhausted",
      "not_sent",
    ]);
    assert(!error.message.includes("peer"));
    assertEquals(await close(), []);
  }
});

test("[X27] a result above the server's maxMessage fails its call, and the error names the limit", async () => {
  const { peer, close } = faceJsonServer({ a: () => large }, {
    maxMessage: SMALL,
  });
  await peer.send({ jsonrpc: "2.0", id: 1, method: "a" });
  const { error } = await peer.next();
  assertStringIncludes(error.message, `the server's maxMessage is ${SMALL}`);
  assertEquals(await close(), []);
});
