/**
 * JSON-RPC 2.0 for Sluice's client and server. It connects to language servers,
 * MCP servers, editors, blockchain nodes and other JSON-RPC peers.
 *
 * - {@linkcode JsonRpcClient} makes calls, pipelined and abortable, and serves
 *   the peer's calls on the same connection.
 * - {@linkcode JsonRpcServer} serves plain functions.
 * - {@linkcode notify} sends a notification, which is not answered.
 *   {@linkcode Progress} listens to the progress of a call.
 * - {@linkcode jsonRpc} is the protocol for a plain `Client` or `Server`.
 *
 * There are two framings ({@linkcode FramingName}: `Content-Length` headers, or
 * one message per line) and three dialects ({@linkcode DialectName}: how a call
 * is cancelled). `docs/guides/other_wires.md` lists which guarantees of Sluice hold
 * with JSON-RPC.
 *
 * Specifications: [JSON-RPC 2.0](https://www.jsonrpc.org/specification),
 * [Language Server Protocol](https://microsoft.github.io/language-server-protocol/)
 * 3.17 (LSP), [Model Context Protocol](https://modelcontextprotocol.io) (MCP).
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { memoryPair, RpcError } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const services = {
 *   "textDocument/hover": ({ line }: { line: number }) => `line ${line}`,
 *   buy: () => {
 *     throw new RpcError("out_of_stock", "no cups left", { data: { cups: 0 } });
 *   },
 * };
 * const options = { dialect: "lsp", codes: { out_of_stock: 1001 } } as const;
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services, options);
 * server.accept(far);
 * const client = new JsonRpcClient<typeof services>(near, options);
 *
 * assertEquals(await client.call("textDocument/hover", { line: 3 }), "line 3");
 * const error = await assertRejects(() => client.call("buy"), RpcError);
 * assertEquals([error.code, error.data], ["out_of_stock", { cups: 0 }]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @module
 */

export {
  JsonRpcClient,
  type JsonRpcClientOptions,
  JsonRpcServer,
  type JsonRpcServerOptions,
} from "./src/jsonrpc/client.ts";
export type { FramingName } from "./src/jsonrpc/framing.ts";
export { notify } from "./src/jsonrpc/notify.ts";
export type { DialectName, JsonRpcOptions } from "./src/jsonrpc/options.ts";
export {
  type OtherProgress,
  Progress,
  type ProgressToken,
} from "./src/jsonrpc/progress.ts";
export { jsonRpc } from "./src/jsonrpc/wire.ts";
