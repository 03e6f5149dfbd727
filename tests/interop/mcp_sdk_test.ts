// The MCP TypeScript SDK as our client and as our server: over TCP, where both
// ends can be watched, and over standard input and output, as it is used.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as dial, createServer, type Socket } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  JsonRpcClient,
  JsonRpcServer,
  notify,
  Progress,
} from "../../jsonrpc.ts";
import { type CallContext, connect, listen, RpcError } from "../../mod.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { load } from "./packages.ts";

const sdk = {
  ...load("@modelcontextprotocol/sdk/client/index.js"),
  ...load("@modelcontextprotocol/sdk/client/stdio.js"),
  ...load("@modelcontextprotocol/sdk/server/index.js"),
  ...load("@modelcontextprotocol/sdk/server/stdio.js"),
  ...load("@modelcontextprotocol/sdk/types.js"),
};

interface CallTool {
  name: string;
  arguments?: Record<string, unknown>;
  _meta?: { progressToken?: string | number };
}

const tools = ["echo", "fail", "slow", "count", "roots"].map((name) => ({
  name,
  inputSchema: { type: "object" as const },
}));

const text = (text: string) => ({ content: [{ type: "text", text }] });

// Its client, our server.

/** Our server, and an SDK client to it. */
async function theirClient() {
  const aborted = Promise.withResolvers<unknown>();
  const call = async (params: CallTool, ctx: CallContext) => {
    const { connection, signal } = ctx;
    switch (params.name) {
      case "echo":
        return text(String(params.arguments?.text));
      case "fail":
        throw new RpcError("-32050", "no cups left", { data: { cups: 0 } });
      case "slow":
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            aborted.resolve(signal.reason);
            reject(signal.reason);
          });
        });
        return text("never");
      case "count":
        for (const progress of [1, 2]) {
          const progressToken = params._meta?.progressToken;
          const said = { progressToken, progress, total: 2 };
          await notify(connection, "notifications/progress", said);
        }
        // The SDK forgets a call's listener with its answer, before it hands on
        // progress that came in the same chunk: so the answer waits.
        await connection.call("roots/list");
        return text("counted");
      default: {
        const { roots } = await connection.call("roots/list") as {
          roots: { uri: string }[];
        };
        return text(roots[0].uri);
      }
    }
  };
  const initialized = Promise.withResolvers<void>();
  const server = new JsonRpcServer({
    initialize: ({ protocolVersion }: { protocolVersion: string }) => ({
      protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "ours", version: "1" },
    }),
    "notifications/initialized": () => initialized.resolve(),
    ping: () => ({}),
    "tools/list": () => ({ tools }),
    "tools/call": call,
  }, { dialect: "mcp" });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  const { port } = listener.address as { port: number };
  const socket = dial(port, "127.0.0.1");
  await new Promise<void>((resolve) => socket.on("connect", () => resolve()));
  const client = new sdk.Client(
    { name: "theirs", version: "1" },
    { capabilities: { roots: {} } },
  );
  client.setRequestHandler(sdk.ListRootsRequestSchema, () => ({
    roots: [{ uri: "file:///root" }],
  }));
  await client.connect(new sdk.StdioServerTransport(socket, socket));
  await initialized.promise;
  const close = async () => {
    const connections = [...server.connections];
    await client.close();
    socket.end();
    await Promise.all(connections.map(({ closed }) => closed));
    await server.close();
    for (const connection of connections) assertNothingLeft(connection);
    socket.destroy();
  };
  return {
    client,
    aborted: aborted.promise,
    connection: [...server.connections][0],
    close,
  };
}

test("an MCP client lists and calls our server's tools, many at once", async () => {
  const { client, close } = await theirClient();
  const listed = await client.listTools();
  assertEquals(listed.tools.length, tools.length);
  const echoes = Array.from(
    { length: 200 },
    (_, n) => client.callTool({ name: "echo", arguments: { text: `ä${n}` } }),
  );
  const answers = await Promise.all(echoes);
  assertEquals(
    answers.map(({ content }) => content[0].text),
    echoes.map((_, n) => `ä${n}`),
  );
  await client.ping();
  await close();
});

test("an MCP client gets our server's errors", async () => {
  const { client, close } = await theirClient();
  const own = await client.callTool({ name: "fail" }).catch((e: unknown) => e);
  assert(own instanceof sdk.McpError);
  assertEquals([own.code, own.data], [-32050, { cups: 0 }]);
  const none = await client.listPrompts().catch((e: unknown) => e);
  assert(none instanceof Error);
  await close();
});

test("an MCP client's cancel fires our handler's signal, and no answer follows", async () => {
  const { client, aborted, connection, close } = await theirClient();
  const aborter = new AbortController();
  const { signal } = aborter;
  const slow = client.callTool({ name: "slow" }, undefined, { signal });
  const failed = slow.catch((error: unknown) => error);
  await client.ping();
  const failures: unknown[] = [];
  client.onerror = (error: unknown) => failures.push(error);
  aborter.abort("enough");
  assertEquals((await aborted as RpcError).code, "cancelled");
  assert(await failed instanceof Error);
  // Were there an answer, it would come before the next.
  await client.ping();
  assertEquals(failures, []);
  assertEquals(connection.stats().receiving, 0);
  await close();
});

test("an MCP client hears our progress, and answers our server's call", async () => {
  const { client, close } = await theirClient();
  const parts: unknown[] = [];
  const counted = await client.callTool({ name: "count" }, undefined, {
    onprogress: ({ progress }: { progress: number }) => parts.push(progress),
  });
  assertEquals(counted.content[0].text, "counted");
  assertEquals(parts, [1, 2]);
  const roots = await client.callTool({ name: "roots" });
  assertEquals(roots.content[0].text, "file:///root");
  await close();
});

test("an MCP client starts our example server as a child process, calls and cancels", async () => {
  const example = fileURLToPath(
    new URL("../../examples/mcp_server.ts", import.meta.url),
  );
  const run = "Deno" in globalThis ? ["run", "-A"] : [];
  const client = new sdk.Client({ name: "theirs", version: "1" });
  await client.connect(
    new sdk.StdioClientTransport({
      command: process.execPath,
      args: [...run, example],
      stderr: "ignore",
      env: process.env,
    }),
  );
  assertEquals((await client.listTools()).tools[0].name, "countdown");
  const parts: number[] = [];
  const onprogress = ({ progress }: { progress: number }) =>
    parts.push(progress);
  const done = await client.callTool(
    { name: "countdown", arguments: { from: 2 } },
    undefined,
    { onprogress },
  );
  assertEquals([done.content[0].text, parts], ["2 to 0", [0, 1]]);
  const wrong = { name: "countdown", arguments: { from: -1 } };
  const refused = await client.callTool(wrong).catch((e: unknown) => e);
  assertEquals(refused.code, -32602);
  const aborter = new AbortController();
  const { signal } = aborter;
  const long = { name: "countdown", arguments: { from: 100 } };
  const cancelled = client.callTool(long, undefined, {
    signal,
    onprogress: () => aborter.abort("enough"),
  });
  assert(await cancelled.catch((e: unknown) => e) instanceof Error);
  await client.ping();
  await client.close();
});

// Its server, our client.

interface Services {
  initialize(params: object): { serverInfo: { name: string } };
  "notifications/initialized"(): void;
  ping(): object;
  "tools/list"(params: object): { tools: { name: string }[] };
  "tools/call"(params: CallTool): { content: { text: string }[] };
}

/** What the SDK gives its handlers beside the request. */
interface Extra {
  readonly signal: AbortSignal;
  sendNotification(notification: object): Promise<void>;
  sendRequest(
    request: object,
    schema: unknown,
  ): Promise<{ roots: { uri: string }[] }>;
}

function theirServer(socket: Socket, aborted: (reason: unknown) => void) {
  const server = new sdk.Server(
    { name: "theirs", version: "1" },
    { capabilities: { tools: {} } },
  );
  server.setRequestHandler(sdk.ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(
    sdk.CallToolRequestSchema,
    async ({ params }: { params: CallTool }, extra: Extra) => {
      switch (params.name) {
        case "echo":
          return text(String(params.arguments?.text));
        case "fail":
          throw new sdk.McpError(-32050, "no cups left", { cups: 0 });
        case "slow":
          await new Promise<void>((resolve) => {
            extra.signal.addEventListener("abort", () => {
              aborted(extra.signal.reason);
              resolve();
            });
          });
          return text("late");
        case "count":
          for (const progress of [1, 2]) {
            const progressToken = params._meta?.progressToken;
            await extra.sendNotification({
              method: "notifications/progress",
              params: { progressToken, progress },
            });
          }
          return text("counted");
        default: {
          const request = { method: "roots/list" };
          const schema = sdk.ListRootsResultSchema;
          const { roots } = await extra.sendRequest(request, schema);
          return text(roots[0].uri);
        }
      }
    },
  );
  server.connect(new sdk.StdioServerTransport(socket, socket));
}

/** An SDK server, and our client to it. */
async function ourClient() {
  const aborted = Promise.withResolvers<unknown>();
  const sockets: Socket[] = [];
  const listener = createServer((socket) => {
    sockets.push(socket);
    theirServer(socket, aborted.resolve);
  });
  await new Promise<void>((resolve) =>
    listener.listen(0, "127.0.0.1", resolve)
  );
  const { port } = listener.address() as { port: number };
  const progress = new Progress("mcp");
  const client = new JsonRpcClient<Services>(await connect({ port }), {
    dialect: "mcp",
    services: {
      ...progress.services,
      "roots/list": () => ({ roots: [{ uri: "file:///root" }] }),
    },
  });
  const { serverInfo } = await client.call("initialize", {
    protocolVersion: sdk.LATEST_PROTOCOL_VERSION,
    capabilities: { roots: {} },
    clientInfo: { name: "ours", version: "1" },
  });
  assertEquals(serverInfo.name, "theirs");
  client.notify("notifications/initialized");
  const close = async () => {
    await client.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => listener.close(resolve));
    assertNothingLeft(client.connection);
  };
  return { client, progress, aborted: aborted.promise, close };
}

test("our client lists and calls an MCP server's tools, many at once", async () => {
  const { client, close } = await ourClient();
  const listed = await client.call("tools/list", {});
  assertEquals(
    listed.tools.map(({ name }) => name),
    tools.map(({ name }) => name),
  );
  const echoes = Array.from({ length: 200 }, (_, n) => {
    const params = { name: "echo", arguments: { text: `ä${n}` } };
    return client.call("tools/call", params);
  });
  const answers = await Promise.all(echoes);
  assertEquals(
    answers.map(({ content }) => content[0].text),
    echoes.map((_, n) => `ä${n}`),
  );
  assertEquals(await client.call("ping"), {});
  await close();
});

test("our client gets an MCP server's errors", async () => {
  const { client, close } = await ourClient();
  const fail = client.call("tools/call", { name: "fail" });
  const own = await assertRejects(() => fail, RpcError, "no cups left");
  assertEquals([own.code, own.data], ["-32050", { cups: 0 }]);
  const none = client.call("nobody" as "ping");
  const unknown = await assertRejects(() => none, RpcError);
  assertEquals([unknown.code, unknown.outcome], ["not_found", "refused"]);
  await close();
});

test("our abort reaches an MCP server's signal; no answer comes, and none is waited for", async () => {
  const { client, aborted, close } = await ourClient();
  const handle = client.go("tools/call", { name: "slow" });
  await handle.sent;
  await client.call("ping");
  handle.abort("enough");
  assertEquals(await handle.reply.catch((reason) => reason), "enough");
  await aborted;
  assertEquals(await handle.settled, "unknown");
  await client.call("ping");
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("an MCP server reports progress to our client, and calls it back", async () => {
  const { client, progress, close } = await ourClient();
  const parts: unknown[] = [];
  const progressToken = progress.open((value) => parts.push(value));
  const params = { name: "count", _meta: { progressToken } };
  const counted = await client.call("tools/call", params);
  assertEquals(counted.content[0].text, "counted");
  assertEquals(parts, [1, 2].map((progress) => ({ progressToken, progress })));
  const roots = await client.call("tools/call", { name: "roots" });
  assertEquals(roots.content[0].text, "file:///root");
  await close();
});
