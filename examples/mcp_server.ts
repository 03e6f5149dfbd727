// A small Model Context Protocol server, for a client that starts it as a child
// process. They exchange JSON-RPC over standard input and output, one message per
// line. The server has one tool, which reports progress and can be cancelled.

import { setTimeout as sleep } from "node:timers/promises";
import { type CallContext, RpcError, stdio } from "@sluice/rpc";
import { JsonRpcServer, notify } from "@sluice/rpc/jsonrpc";

interface CallTool {
  name: string;
  arguments?: { from?: unknown };
  _meta?: { progressToken?: string | number };
}

const countdown = {
  name: "countdown",
  description: "Counts down to 0, ten times a second",
  inputSchema: {
    type: "object",
    properties: { from: { type: "integer", minimum: 0, maximum: 100 } },
    required: ["from"],
  },
};

async function count(
  { arguments: given, _meta }: CallTool,
  { connection, signal }: CallContext,
) {
  const from = given?.from;
  if (typeof from !== "number" || !(from >= 0 && from <= 100)) {
    throw new RpcError(
      "invalid_argument",
      `from must be a number from 0 to 100, received ${from}`,
    );
  }
  const progressToken = _meta?.progressToken;
  for (let progress = 0; progress < from; progress++) {
    if (progressToken !== undefined) {
      const params = { progressToken, progress, total: from };
      notify(connection, "notifications/progress", params);
    }
    await sleep(100, undefined, { signal });
  }
  return { content: [{ type: "text", text: `${from} to 0` }] };
}

const server = new JsonRpcServer({
  initialize: ({ protocolVersion }: { protocolVersion: string }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "sluice-example", version: "1.0.0" },
  }),
  "notifications/initialized": () => {},
  ping: () => ({}),
  "tools/list": () => ({ tools: [countdown] }),
  "tools/call": (params: CallTool, ctx: CallContext) => {
    if (params?.name === countdown.name) return count(params, ctx);
    throw new RpcError("invalid_argument", `unknown tool: ${params?.name}`);
  },
}, { dialect: "mcp" });

// Standard output carries the protocol, so messages for people go to standard
// error.
console.error("serving MCP on standard input and output");
await server.accept(stdio()).closed;
