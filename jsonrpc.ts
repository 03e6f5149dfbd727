/**
 * JSON-RPC 2.0 for Sluice's client and server: language servers, MCP servers,
 * editors, nodes, and whatever else speaks it.
 *
 * - {@linkcode JsonRpcClient} calls, pipelined and abortable, and serves what
 *   the other end calls on the same connection.
 * - {@linkcode JsonRpcServer} serves plain functions.
 * - {@linkcode notify} sends what nobody answers; {@linkcode HandlerProgress} listens
 *   to progress.
 *
 * Two framings (`Content-Length` headers, one message a line), three dialects
 * of cancelling (language servers, the Model Context Protocol, none).
 * `docs/wires.md` says which of Sluice's promises hold on this wire.
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
export { notify } from "./src/jsonrpc/notify.ts";
export {
  type OtherProgress,
  Progress,
  type ProgressToken,
} from "./src/jsonrpc/progress.ts";
export { jsonRpc } from "./src/jsonrpc/wire.ts";
export type { DialectName, JsonRpcOptions } from "./src/jsonrpc/options.ts";
export type { FramingName } from "./src/jsonrpc/framing.ts";
