// vscode-jsonrpc, the library under most editors and language servers, as our
// server and as our client: over TCP, as it is used between processes.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as dial, createServer, type Socket } from "node:net";
import { test } from "node:test";
import {
  JsonRpcClient,
  JsonRpcServer,
  notify,
  Progress,
} from "../../jsonrpc.ts";
import { type CallContext, connect, listen, RpcError } from "../../mod.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { load } from "./packages.ts";

const rpc = load("vscode-jsonrpc/node");

/** What the peer's handlers get beside the params. */
interface Token {
  readonly isCancellationRequested: boolean;
  onCancellationRequested(listener: () => void): void;
}

/** Its connection, as far as it is used here. */
interface Theirs {
  onRequest(
    method: string,
    // deno-lint-ignore no-explicit-any
    handler: (...args: any[]) => unknown,
  ): void;
  // deno-lint-ignore no-explicit-any
  onNotification(method: string, handler: (...args: any[]) => void): void;
  // deno-lint-ignore no-explicit-any
  sendRequest(method: string, ...args: unknown[]): Promise<any>;
  sendNotification(method: string, ...args: unknown[]): Promise<void>;
  onProgress(
    type: unknown,
    token: string | number,
    handler: (value: unknown) => void,
  ): void;
  sendProgress(
    type: unknown,
    token: string | number,
    value: unknown,
  ): Promise<void>;
  onClose(listener: () => void): void;
  listen(): void;
  end(): void;
  dispose(): void;
}

function overSocket(socket: Socket): Theirs {
  return rpc.createMessageConnection(
    new rpc.StreamMessageReader(socket),
    new rpc.StreamMessageWriter(socket),
  );
}

interface Services {
  add(params: [number, number]): number;
  named(params: { text: string }): string;
  nothing(): null;
  fail(): void;
  slow(): string;
  callBack(params: { n: number }): string;
  progress(params: { token: number }): string;
  seen(): string[];
  log(params: { text: string }): void;
}

const type = new rpc.ProgressType();

/** The services, as that library has them. */
function theirServices(theirs: Theirs, cancelled: () => void): void {
  const seen: string[] = [];
  theirs.onRequest("add", (a: number, b: number) => a + b);
  theirs.onRequest("named", ({ text }: { text: string }) => `<${text}>`);
  theirs.onRequest("nothing", () => null);
  theirs.onRequest("fail", () => {
    return new rpc.ResponseError(1001, "no cups left", { cups: 0 });
  });
  theirs.onRequest("slow", (token: Token) =>
    new Promise((resolve) => {
      token.onCancellationRequested(() => {
        cancelled();
        resolve(new rpc.ResponseError(-32800, "stopped"));
      });
    }));
  theirs.onRequest("callBack", async ({ n }: { n: number }) => {
    return `got ${await theirs.sendRequest("double", n)}`;
  });
  theirs.onRequest("progress", async ({ token }: { token: number }) => {
    for (const part of ["a", "b"]) await theirs.sendProgress(type, token, part);
    return "done";
  });
  theirs.onNotification("log", ({ text }: { text: string }) => seen.push(text));
  theirs.onRequest("seen", () => [...seen]);
}

/** Its server, and our client to it. */
async function ourClient() {
  const progress = new Progress("lsp");
  const cancelled = Promise.withResolvers<void>();
  const connections: Theirs[] = [];
  const listener = createServer((socket) => {
    const theirs = overSocket(socket);
    theirServices(theirs, cancelled.resolve);
    theirs.listen();
    connections.push(theirs);
  });
  await new Promise<void>((resolve) =>
    listener.listen(0, "127.0.0.1", resolve)
  );
  const { port } = listener.address() as { port: number };
  const client = new JsonRpcClient<Services>(await connect({ port }), {
    dialect: "lsp",
    codes: { out_of_stock: 1001 },
    services: {
      ...progress.services,
      double: ([n]: [number]) => 2 * n,
    },
  });
  const close = async () => {
    await client.close();
    for (const theirs of connections) theirs.dispose();
    await new Promise((resolve) => listener.close(resolve));
    assertNothingLeft(client.connection);
  };
  return { client, progress, cancelled: cancelled.promise, close };
}

test("our client calls a vscode-jsonrpc server, by position, by name, many at once", async () => {
  const { client, close } = await ourClient();
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(await client.call("named", { text: "ä€😀" }), "<ä€😀>");
  assertEquals(await client.call("nothing"), null);
  const sums = Array.from(
    { length: 2000 },
    (_, n) => client.call("add", [n, n]),
  );
  assertEquals(await Promise.all(sums), sums.map((_, n) => 2 * n));
  const large = "x".repeat(1_000_000);
  assertEquals(await client.call("named", { text: large }), `<${large}>`);
  await close();
});

test("our client gets a vscode-jsonrpc server's errors", async () => {
  const { client, close } = await ourClient();
  const own = await assertRejects(() => client.call("fail"), RpcError);
  assertEquals(
    [own.code, own.message, own.data, own.outcome],
    ["out_of_stock", "no cups left", { cups: 0 }, "executed"],
  );
  const none = client.call("nobody" as "fail");
  const unknown = await assertRejects(() => none, RpcError);
  assertEquals([unknown.code, unknown.outcome], ["not_found", "refused"]);
  await close();
});

test("our abort reaches a vscode-jsonrpc server's token, and its answer settles the call", async () => {
  const { client, cancelled, close } = await ourClient();
  const aborter = new AbortController();
  const handle = client.go("slow", undefined, { signal: aborter.signal });
  await handle.sent;
  await client.call("add", [1, 1]);
  aborter.abort("enough");
  assertEquals(await handle.reply.catch((reason) => reason), "enough");
  await cancelled;
  assertEquals(await handle.settled, "unknown");
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("a vscode-jsonrpc server calls our client back, and reports progress", async () => {
  const { client, progress, close } = await ourClient();
  assertEquals(await client.call("callBack", { n: 21 }), "got 42");
  const parts: unknown[] = [];
  const token = progress.open((value) => parts.push(value));
  assertEquals(await client.call("progress", { token }), "done");
  assertEquals(parts, ["a", "b"]);
  await close();
});

test("our notifications reach a vscode-jsonrpc server, in order with the calls", async () => {
  const { client, close } = await ourClient();
  client.notify("log", { text: "1" });
  client.notify("log", { text: "2" });
  const seen = client.call("seen");
  client.notify("log", { text: "3" });
  assertEquals(await seen, ["1", "2"]);
  assertEquals(await client.call("seen"), ["1", "2", "3"]);
  await close();
});

/** Our server, and its client to it. */
async function theirClient() {
  const aborted = Promise.withResolvers<unknown>();
  const seen: string[] = [];
  const services = {
    add: ([a, b]: [number, number]) => a + b,
    named: ({ text }: { text: string }) => `<${text}>`,
    nothing: () => {},
    fail: () => {
      const data = { cups: 0 };
      throw new RpcError("out_of_stock", "no cups left", { data });
    },
    slow: (_: undefined, { signal }: CallContext) =>
      new Promise<string>((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          reject(signal.reason);
        });
      }),
    callBack: async ([n]: [number], { connection }: CallContext) =>
      `got ${await connection.call("double", [n])}`,
    progress: async ([token]: [string], { connection }: CallContext) => {
      await notify(connection, "$/progress", { token, value: "a" });
      await notify(connection, "$/progress", { token, value: "b" });
      return "done";
    },
    log: ({ text }: { text: string }) => void seen.push(text),
    seen: () => seen,
  };
  const server = new JsonRpcServer(services, {
    dialect: "lsp",
    codes: { out_of_stock: 1001 },
  });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  const { port } = listener.address as { port: number };
  const socket = dial(port, "127.0.0.1");
  await new Promise<void>((resolve) => socket.on("connect", () => resolve()));
  const theirs = overSocket(socket);
  const close = async () => {
    const connections = [...server.connections];
    const gone = new Promise<void>((resolve) =>
      socket.on("close", () => resolve())
    );
    theirs.end();
    await Promise.all(connections.map(({ closed }) => closed));
    await server.close();
    for (const connection of connections) assertNothingLeft(connection);
    await gone;
    theirs.dispose();
  };
  return { theirs, aborted: aborted.promise, close };
}

test("a vscode-jsonrpc client calls our server, by position, by name, many at once", async () => {
  const { theirs, close } = await theirClient();
  theirs.listen();
  assertEquals(await theirs.sendRequest("add", 1, 2), 3);
  const text = "ä€😀";
  assertEquals(await theirs.sendRequest("named", { text }), "<ä€😀>");
  assertEquals(await theirs.sendRequest("nothing"), null);
  const sums = Array.from(
    { length: 2000 },
    (_, n) => theirs.sendRequest("add", n, n),
  );
  assertEquals(await Promise.all(sums), sums.map((_, n) => 2 * n));
  await close();
});

test("a vscode-jsonrpc client gets our server's errors", async () => {
  const { theirs, close } = await theirClient();
  theirs.listen();
  const own = await theirs.sendRequest("fail").catch((error) => error);
  assert(own instanceof rpc.ResponseError);
  assertEquals(
    [own.code, own.message, own.data],
    [1001, "no cups left", { cups: 0 }],
  );
  const none = await theirs.sendRequest("nobody").catch((error) => error);
  assertEquals(none.code, rpc.ErrorCodes.MethodNotFound);
  await close();
});

test("a vscode-jsonrpc client's cancel fires our handler's signal, and is answered", async () => {
  const { theirs, aborted, close } = await theirClient();
  theirs.listen();
  const source = new rpc.CancellationTokenSource();
  const slow = theirs.sendRequest("slow", source.token);
  const failed = slow.catch((error) => error);
  await theirs.sendRequest("add", 1, 1);
  source.cancel();
  assertEquals((await aborted as RpcError).code, "cancelled");
  assertEquals((await failed).code, -32800);
  await close();
});

test("our server calls a vscode-jsonrpc client back, reports progress, and receives its notifications", async () => {
  const { theirs, close } = await theirClient();
  theirs.onRequest("double", (n: number) => 2 * n);
  const parts: unknown[] = [];
  // That library may hand a notification on behind the answer that follows it.
  const all = Promise.withResolvers<void>();
  theirs.onProgress(type, "t", (value) => {
    if (parts.push(value) === 2) all.resolve();
  });
  theirs.listen();
  assertEquals(await theirs.sendRequest("callBack", 21), "got 42");
  assertEquals(await theirs.sendRequest("progress", "t"), "done");
  await all.promise;
  assertEquals(parts, ["a", "b"]);
  theirs.sendNotification("log", { text: "1" });
  theirs.sendNotification("log", { text: "2" });
  assertEquals(await theirs.sendRequest("seen"), ["1", "2"]);
  await close();
});
