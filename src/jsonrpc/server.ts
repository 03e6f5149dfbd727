/**
 * A server on a JSON-RPC wire.
 *
 * @module
 */

import { Server, type ServerOptions } from "../serve/server.ts";
import type { Checked } from "../types/services.ts";
import { MAX_UNSENT } from "./client.ts";
import { type JsonRpcOptions, toShape } from "./options.ts";
import { toWire } from "./wire.ts";

/** Options of a {@linkcode JsonRpcServer}; limits hold for each of its connections. */
export interface JsonRpcServerOptions
  extends
    Omit<ServerOptions, "wire" | "serializer" | "handshakeTimeout">,
    JsonRpcOptions {}

/**
 * Serves plain functions to callers that speak JSON-RPC 2.0. A handler may
 * call back by its `ctx.connection`, and {@linkcode notify} by it.
 *
 * @example A server for a client that starts it as a child process
 * ```ts ignore
 * import { stdio } from "@sluice/rpc";
 * import { JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const services = { ping: () => ({}) };
 * new JsonRpcServer(services, { dialect: "mcp" }).accept(stdio());
 * ```
 */
export class JsonRpcServer<S extends object> extends Server<S> {
  /**
   * Reads the services.
   *
   * @throws {TypeError} If something in them is no plain object of functions,
   * or an option is none of its values.
   */
  constructor(services: S & Checked<S>, options: JsonRpcServerOptions = {}) {
    const wire = toWire(toShape(options), () => {});
    const { maxMessage = 0 } = options;
    const maxOutbox = options.maxOutbox ??
      Math.max(MAX_UNSENT, 2 * maxMessage);
    super(services, { ...options, maxOutbox, wire });
  }
}
