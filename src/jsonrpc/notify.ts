/**
 * Sends notifications: requests without an id, which the peer does not answer
 * (JSON-RPC 2.0 section 4.1).
 *
 * Order: a notification is queued like a call. It waits for the window, keeps
 * its position among the calls, and can be aborted while it waits. Only the
 * codec treats it differently: it writes no id.
 *
 * @module
 */

import { sendOneWay } from "../client/service_client.ts";
import type { CallOptions } from "../types/call.ts";
import type { Connection } from "../types/connection.ts";

/**
 * Sends a notification over a JSON-RPC connection, for example a handler's
 * `ctx.connection`. `client.notify()`, also of `clientOf(connection)`, is the
 * same with checked types.
 *
 * Returns a promise that resolves once the transport has taken the message. The
 * peer sends no response, so the caller does not learn whether a handler ran. The promise
 * may be ignored: its rejection is never reported as unhandled.
 *
 * The promise rejects
 * - with the signal's reason if `options.signal` fires while the notification
 *   waits;
 * - with an `RpcError` if the notification could not be sent: its code is
 *   `invalid_argument` if `params` is neither an array, an object nor
 *   `undefined`, or `options` has metadata.
 *
 * @param connection A connection of a `JsonRpcClient`, a `JsonRpcServer`, or of
 *   a client or server with the protocol {@linkcode jsonRpc}. Over another
 *   protocol a call is sent, and its result dropped.
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
