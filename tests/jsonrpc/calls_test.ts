// Calls, notifications and progress over JSON-RPC, in both directions.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  jsonRpc,
  JsonRpcClient,
  type JsonRpcOptions,
  JsonRpcServer,
  notify,
  Progress,
} from "../../jsonrpc.ts";
import {
  type CallContext,
  clientMiddleware,
  type Duplex,
  memoryPair,
  type Middleware,
  RpcError,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceJsonClient, faceJsonServer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Held } from "../support/services.ts";

interface Remote {
  add(params: [number, number]): number;
  "text/upper"(params: { text: string }): string;
  Deep: { er: { name(): string } };
  log(params: { text: string }): void;
}

const call = (id: unknown, method: string, params?: unknown) => ({
  jsonrpc: "2.0",
  id,
  method,
  params,
});

for (const framing of ["lines", "contentLength"] as const) {
  test(`client and server call each other on one connection, by flat and by nested names (${framing})`, async () => {
    const services = {
      add: ([a, b]: [number, number]) => a + b,
      "text/upper": ({ text }: { text: string }) => text.toUpperCase(),
      Deep: { er: { name: () => "deeper" } },
      ask: async (_: undefined, { connection }: CallContext) =>
        `you said ${await connection.call("who/are", { polite: true })}`,
    };
    const [near, far] = memoryPair();
    const server = new JsonRpcServer(services, { framing });
    const theirs = server.accept(far);
    const client = new JsonRpcClient<typeof services>(near, {
      framing,
      services: {
        "who/are": ({ polite }: { polite: boolean }) => polite ? "I" : "me",
      },
    });
    const answers = await Promise.all([
      client.call("add", [1, 2]),
      client.call("text/upper", { text: "äbc" }),
      client.call("Deep.er.name"),
      client.service("Deep").er.name(),
      client.call("ask"),
    ]);
    assertEquals(answers, [3, "ÄBC", "deeper", "deeper", "you said I"]);
    await Promise.all([client.close(), server.close()]);
    assertNothingLeft(client.connection);
    assertNothingLeft(theirs);
  });
}

test("ten thousand calls made in one turn each get their own result", async () => {
  const [near, far] = memoryPair();
  const services = { same: ([n]: [number]) => n };
  const server = new JsonRpcServer(services);
  server.accept(far);
  const client = new JsonRpcClient<typeof services>(near);
  const wanted = Array.from({ length: 10_000 }, (_, n) => n);
  const got = await Promise.all(wanted.map((n) => client.call("same", [n])));
  assertEquals(got, wanted);
  await client.close();
  await server.close();
});

test("a response carries the peer's id unchanged, string or number, in any order", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(held.services);
  await peer.send(
    call(7, "Held.work"),
    call("7", "Held.work"),
    call("a\n€", "Held.work"),
    call(-1.5, "Held.work"),
  );
  await settle();
  const ids = [7, "7", "a\n€", -1.5];
  for (const i of [2, 0, 3, 1]) {
    held.calls[i].resolve(i);
    assertEquals(await peer.next(), { jsonrpc: "2.0", id: ids[i], result: i });
  }
  assertEquals(await close(), []);
});

test("two calls with the same id are both answered", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(held.services);
  await peer.send(call(1, "Held.work"), call(1, "Held.work"));
  await settle();
  held.calls[0].resolve("a");
  held.calls[1].resolve("b");
  assertEquals((await peer.next()).result, "a");
  assertEquals((await peer.next()).result, "b");
  assertEquals(await close(), []);
});

test("responses to unknown ids are dropped, and counted if the id has the form of a local one", async () => {
  const { peer, client, close } = faceJsonClient<Remote>();
  const reply = client.call("add", [1, 2]);
  const { id } = await peer.next();
  for (const stray of [id + 1, id + 64, String(id), null, -1, 1.5, 2 ** 40]) {
    await peer.send({ jsonrpc: "2.0", id: stray, result: 0 });
    await peer.send({ jsonrpc: "2.0", id: stray, error: { code: 1 } });
  }
  await peer.send({ jsonrpc: "2.0", id, result: 3 });
  await peer.send({ jsonrpc: "2.0", id, result: 4 });
  assertEquals(await reply, 3);
  await settle();
  assertEquals(client.stats().lateReplies, 5);
  assertEquals(await close(), []);
});

test("responses in the form of JSON-RPC 1.0 are understood", async () => {
  const { peer, client, close } = faceJsonClient<Remote>();
  const replies = [client.call("add", [1, 2]), client.call("add", [2, 2])];
  const ids = [(await peer.next()).id, (await peer.next()).id];
  await peer.send({ id: ids[0], result: 3, error: null });
  await peer.send({ id: ids[1], result: null, error: "out of numbers" });
  assertEquals(await replies[0], 3);
  const error = await assertRejects(() => replies[1], RpcError);
  assertEquals([error.message, error.code], ["out of numbers", "internal"]);
  assertEquals(await close(), []);
});

test("a result of undefined is sent as null, and params may be left out", async () => {
  const seen: unknown[] = [];
  const { peer, close } = faceJsonServer({
    f: (p: unknown) => void seen.push(p),
  });
  await peer.send(call(1, "f"), call(2, "f", null), call(3, "f", []));
  for (const id of [1, 2, 3]) {
    assertEquals(await peer.next(), { jsonrpc: "2.0", id, result: null });
  }
  assertEquals(seen, [undefined, undefined, []]);
  assertEquals(await close(), []);
});

test("params and metadata that JSON-RPC cannot carry are rejected before they are sent", async () => {
  const { peer, client, close } = faceJsonClient<
    Record<string, (params: unknown) => void>
  >();
  for (const params of ["x", 1, null, true, 1n, new Uint8Array(3), () => {}]) {
    const error = await assertRejects(() => client.call("f", params), RpcError);
    assertEquals(error.code, "invalid_argument");
    assertEquals(error.outcome, "not_sent");
  }
  const named = client.call("f", [], { metadata: { a: "b" } });
  const error = await assertRejects(() => named, RpcError);
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  assertEquals(await close(), []);
  assertEquals(await peer.next(), undefined);
});

test("a result that JSON cannot carry fails its own call only", async () => {
  const { peer, errors, close } = faceJsonServer({
    bytes: () => new Uint8Array(3),
    big: () => 1n as unknown as number,
    fine: () => "fine",
  });
  await peer.send(call(1, "bytes"), call(2, "big"), call(3, "fine"));
  assertEquals((await peer.next()).error.code, -32603);
  assertEquals((await peer.next()).error.code, -32603);
  assertEquals((await peer.next()).result, "fine");
  assertEquals(errors.length, 2);
  assertEquals(await close(), []);
});

test("a call that waits for a free handler gets the same params as one that does not", async () => {
  const seen: unknown[] = [];
  const held = new Held();
  const services = { ...held.services, see: (p: unknown) => void seen.push(p) };
  const { peer, close } = faceJsonServer(services, { maxRunning: 1 });
  await peer.send(call(1, "Held.work"));
  const text =
    '{"jsonrpc":"2.0","id":2,"method":"see","params":[-0,1e400,"ä"]}';
  await peer.raw(`${text}\n[${text} , ${text.replaceAll("2,", "3,")}]\n`);
  await settle();
  held.release();
  for (let i = 0; i < 3; i++) await peer.next();
  assertEquals(seen, [[-0, Infinity, "ä"], [-0, Infinity, "ä"], [
    -0,
    Infinity,
    "ä",
  ]]);
  assertEquals(await close(), []);
});

test("notifications keep their order among calls, also while they wait for the window", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ window: 2 });
  const calls = [client.call("add", [1, 1]), client.call("add", [2, 2])];
  const resolved: string[] = [];
  const sent = client.notify("log", { text: "a" }).then(() =>
    resolved.push("a")
  );
  calls.push(client.call("add", [3, 3]));
  client.notify("log", { text: "b" }).then(() => resolved.push("b"));
  const first = [await peer.next(), await peer.next()];
  await settle();
  assertEquals([resolved, client.stats().queued], [[], 3]);
  for (const { id, params } of first) {
    await peer.send({ jsonrpc: "2.0", id, result: params[0] + params[1] });
  }
  assertEquals(await peer.next(), {
    jsonrpc: "2.0",
    method: "log",
    params: { text: "a" },
  });
  const third = await peer.next();
  assertEquals(third.params, [3, 3]);
  assertEquals((await peer.next()).params, { text: "b" });
  await sent;
  await settle();
  assertEquals([resolved, client.stats().inFlight], [["a", "b"], 1]);
  await peer.send({ jsonrpc: "2.0", id: third.id, result: 6 });
  assertEquals(await Promise.all(calls), [2, 4, 6]);
  assertEquals(await close(), []);
});

test("a waiting notification can be aborted or fail with its connection, and its promise may be ignored", async () => {
  const { peer, client } = faceJsonClient<Remote>({ window: 1 });
  client.call("add", [1, 1]).catch(() => {});
  await peer.next();
  const aborter = new AbortController();
  const options = { signal: aborter.signal };
  const aborted = client.notify("log", { text: "a" }, options);
  client.notify("log", { text: "b" });
  aborter.abort("enough");
  assertEquals(await aborted.catch((reason) => reason), "enough");
  await client.abort();
  const late = await assertRejects(() => client.notify("log", { text: "c" }));
  assertEquals((late as RpcError).outcome, "not_sent");
  assertNothingLeft(client.connection);
});

test("an error in a notification's handler is reported to onError only", async () => {
  const { peer, errors, close } = faceJsonServer({
    bad: () => {
      throw new Error("bad");
    },
    worse: () => Promise.reject(new RpcError("x", "y")),
  });
  await peer.send({ jsonrpc: "2.0", method: "bad" });
  await peer.send({ jsonrpc: "2.0", method: "worse" });
  await peer.send({ jsonrpc: "2.0", method: "nobody" });
  await settle();
  assertEquals(errors.map(({ info }) => info.method), ["bad"]);
  assertEquals(await close(), []);
});

for (
  const [dialect, method, params] of [
    ["lsp", "$/progress", (token: number) => ({ token, value: "half" })],
    [
      "mcp",
      "notifications/progress",
      (progressToken: number) => ({ progressToken, progress: 1 }),
    ],
  ] as const
) {
  test(`progress reaches the listener of its token while the token is open (${dialect})`, async () => {
    const services = {
      work: async ([token]: [number], { connection }: CallContext) => {
        await notify(connection, method, params(token));
        await notify(connection, method, params(token + 1));
        await notify(connection, method, []);
        return "done";
      },
    };
    const [near, far] = memoryPair();
    const server = new JsonRpcServer(services, { dialect });
    server.accept(far);
    const progress = new Progress(dialect);
    const client = new JsonRpcClient<typeof services>(near, {
      dialect,
      services: progress.services,
    });
    const seen: unknown[] = [];
    const token = progress.open((value) => seen.push(value));
    assertEquals(await client.call("work", [token]), "done");
    progress.close(token);
    assertEquals(await client.call("work", [token]), "done");
    assertEquals(seen, dialect === "lsp" ? ["half"] : [params(token)]);
    await client.close();
    await server.close();
  });
}

for (
  const [dialect, method, params] of [
    ["lsp", "$/progress", (token: unknown) => ({ token, value: "half" })],
    [
      "mcp",
      "notifications/progress",
      (progressToken: unknown) => ({ progressToken, progress: 1 }),
    ],
  ] as const
) {
  test(`[X30] progress of tokens that the peer has created is delivered (${dialect})`, async () => {
    const others: unknown[] = [];
    const progress = new Progress(
      dialect,
      (value, token) => others.push([token, value]),
    );
    const { peer, close } = faceJsonServer(progress.services, { dialect });
    const ours: unknown[] = [];
    const theirs: unknown[] = [];
    const token = progress.open((value) => ours.push(value));
    assertEquals(
      progress.open((value) => theirs.push(value), "opened"),
      "opened",
    );
    assertThrows(() => progress.open(() => {}, "opened"), RangeError);
    if (dialect === "lsp") {
      await peer.send({
        jsonrpc: "2.0",
        id: 1,
        method: "window/workDoneProgress/create",
        params: { token: 1 },
      });
      assertEquals((await peer.next()).result, null);
    }
    for (const each of [1, "uuid", token, "opened", null, {}, undefined]) {
      await peer.send({ jsonrpc: "2.0", method, params: params(each) });
    }
    progress.close("opened");
    await settle();
    await peer.send({ jsonrpc: "2.0", method, params: params("opened") });
    await settle();
    const valueOf = (each: unknown) =>
      dialect === "lsp" ? "half" : params(each);
    assertEquals([ours, theirs], [[valueOf(token)], [valueOf("opened")]]);
    const expected = [1, "uuid", "opened"].map((each) => [each, valueOf(each)]);
    assertEquals(others, expected);
    assertEquals(await close(), []);
  });
}

test("invalid options are rejected before a stream is locked", () => {
  const wrong: [JsonRpcOptions, new () => Error][] = [
    [{ dialect: "dap" as "lsp" }, TypeError],
    [{ dialect: "constructor" as "lsp" }, TypeError],
    [{ framing: "xml" as "lines" }, TypeError],
    [{ codes: { a: 1.5 } }, TypeError],
    [{ window: 0 }, RangeError],
    [{ window: NaN }, RangeError],
  ];
  for (const [options, kind] of wrong) {
    const [near] = memoryPair();
    assertThrows(() => new JsonRpcClient(near, options), kind);
    assert(!near.readable.locked && !near.writable.locked);
    assertThrows(() => new JsonRpcServer({}, options), kind);
  }
});

test("the types of the options leave out the protocol, which is fixed", () => {
  // Never called: only the compiler looks at them.
  const _client = (near: Duplex) =>
    // @ts-expect-error JsonRpcClient has no option `protocol`.
    new JsonRpcClient(near, { protocol: jsonRpc() });
  const _server = () =>
    // @ts-expect-error JsonRpcServer has no option `protocol`.
    new JsonRpcServer({}, { protocol: jsonRpc() });
});

test("middleware runs around notifications and around the handlers of the client's own services", async () => {
  const seen: string[] = [];
  const note = (where: string): Middleware => (call, next) => {
    seen.push(`${where} ${call.method} ${JSON.stringify(call.params)}`);
    return next();
  };
  const services = {
    log: async (params: { text: string }, { connection }: CallContext) => {
      await connection.call("seen", params);
    },
  };
  const [near, far] = memoryPair();
  const server = new JsonRpcServer(services, { use: [note("server")] });
  const theirs = server.accept(far);
  const client = new JsonRpcClient<typeof services>(near, {
    use: clientMiddleware(
      note("client"),
      (_call, next) => next({ params: { text: "changed" } }),
    ),
    incoming: [note("incoming")],
    services: { seen: () => true },
  });
  await client.notify("log", { text: "x" });
  await settle();
  assertEquals(seen, [
    'client log {"text":"x"}',
    'server log {"text":"changed"}',
    'incoming seen {"text":"changed"}',
  ]);
  // It is still a notification after the middleware: no response is awaited.
  assertEquals(client.stats().inFlight, 0);
  await Promise.all([client.close(), server.close()]);
  assertNothingLeft(theirs);
});
