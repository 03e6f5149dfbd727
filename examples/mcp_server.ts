// A small server of the Model Context Protocol, for a client that starts it as
// a child process and speaks by its standard input and output: JSON-RPC, one
// message a line. It has one tool, which tells its progress and can be cancelled.

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
    throw new RpcError("invalid_argument", "from must be from 0 to 100");
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
    throw new RpcError("invalid_argument", "there is no such tool");
  },
}, { dialect: "mcp" });

// Standard output is the protocol's: what is said to people goes to standard error.
console.error("speaking MCP on standard input and output");
await server.accept(stdio()).closed;
