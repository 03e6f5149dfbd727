/**
 * Notifications: messages that nobody answers.
 *
 * On its way out, a notification is a call like any other: it waits for the
 * window, keeps its place among the calls, can be aborted while it waits. Only
 * the codec, which is told so when its params are prepared, writes no id.
 *
 * @module
 */

import { sendOneWay } from "../client/service_client.ts";
import type { Connection } from "../connection/connection.ts";
import type { CallOptions } from "../types/call.ts";

/**
 * Sends a notification by a connection of a JSON-RPC wire, such as a handler's
 * `ctx.connection`; `notify` of a client, or of `clientOf(connection)`, is the typed form.
 *
 * Resolves once it was handed to the transport: what becomes of it there,
 * nobody tells. Rejects as a call does that could not be sent; ignoring that
 * is safe.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, memoryPair } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer, notify } from "@sluice/rpc/jsonrpc";
 *
 * const services = {
 *   work: async (_params: undefined, ctx: CallContext) => {
 *     await notify(ctx.connection, "log", { text: "half done" });
 *     return "done";
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services);
 * server.accept(far);
 *
 * const seen: string[] = [];
 * const client = new JsonRpcClient<typeof services>(near, {
 *   services: { log: ({ text }: { text: string }) => void seen.push(text) },
 * });
 * assertEquals(await client.call("work"), "done");
 * assertEquals(seen, ["half done"]);
 * await client.close();
 * await server.close();
 * ```
 */
export function notify(
  connection: Connection,
  method: string,
  params?: unknown,
  options?: CallOptions,
): Promise<void> {
  return sendOneWay(connection, method, params, options);
}
