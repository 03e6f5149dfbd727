/**
 * Notifications: messages that nobody answers.
 *
 * On its way out, a notification is a call like any other: it waits for the
 * window, keeps its place among the calls, can be aborted while it waits. Only
 * the codec, which sees it by its params, writes no id.
 *
 * @module
 */

import { brand } from "../brand.ts";
import type { CallHandle } from "../call.ts";
import type { Caller } from "../calls.ts";
import type { Connection } from "../connection.ts";
import type { CallOptions } from "../options.ts";

/** The params of a notification, which tell the codec that it is one. */
export class OneWay {
  static {
    brand(this, "OneWay");
  }

  readonly params: unknown;

  constructor(params: unknown) {
    this.params = params;
  }
}

/**
 * Sends a notification by a connection of a JSON-RPC wire, such as a handler's
 * `ctx.connection`; {@linkcode JsonRpcClient.notify} is the typed form.
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
  return handedOver(oneWay(connection).go(method, params, options));
}

/** What makes notifications of calls. */
export function oneWay(caller: Caller): Caller {
  return {
    call: (method, params, options) =>
      caller.call(method, new OneWay(params), options),
    go: (method, params, options) =>
      caller.go(method, new OneWay(params), options),
  };
}

/** Resolves when a notification was handed over; ignoring that it was not is safe. */
export function handedOver(notification: CallHandle): Promise<void> {
  const sent = notification.reply.then(() => {});
  sent.catch(() => {});
  return sent;
}
