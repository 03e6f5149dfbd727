/**
 * Accepts WebSockets beside the other routes of a user's HTTP server.
 *
 * @module
 */

import type { ConnectionError } from "../../base/errors.ts";
import type { AsyncDisposal, Duplex, DuplexInfo } from "../../types/duplex.ts";
import { AcceptQueue } from "../accept_queue.ts";
import type {
  NodeRequest,
  NodeUpgradeSocket,
} from "../sockets/node_builtins.ts";
import {
  type BunWebSocketHandlers,
  type FetchInfo,
  type UpgradeOptions,
  WebSocketUpgrade,
} from "./websocket_upgrade.ts";

/** Options of {@linkcode webSockets}. */
export interface WebSocketListenerOptions extends UpgradeOptions {
  /** Called with each fault of a connection that was not accepted. Exceptions it throws are ignored. */
  onError?: ((error: ConnectionError) => void) | undefined;
}

/**
 * WebSockets as a source of connections: pass it to `server.serve()`, and the
 * requests for it from the HTTP server's route to one of its methods.
 */
export interface WebSocketListener
  extends AsyncIterable<Duplex & DuplexInfo>, AsyncDisposal {
  /**
   * Upgrades a request, on Deno and Bun, and in frameworks on them such as
   * Hono. It can be passed as the `fetch` handler itself.
   *
   * @param info What the runtime passes beside the request. Bun needs its server.
   * @returns What the handler must return. 403 for a foreign `Origin`, 426 if the
   *   request is no WebSocket's, 400 if it does not offer `sluice.1`, 503 when
   *   too many wait to be accepted or the listener is closed.
   */
  readonly upgrade: (request: Request, info?: FetchInfo) => Response;
  /** Upgrades a request on Node: a listener for the event `upgrade` of a `node:http` server, and so of Express. It refuses as `upgrade` does. Needs the option `WebSocketServer`. */
  readonly handleUpgrade: (
    request: NodeRequest,
    socket: NodeUpgradeSocket,
    head: Uint8Array,
  ) => void;
  /** For the option `websocket` of `Bun.serve`. Sockets that others have upgraded are left alone. */
  readonly bun: BunWebSocketHandlers;
  /** Refuses further requests, and destroys connections that were not yet accepted. Accepted connections live on. Never rejects. */
  close(): Promise<void>;
}

/**
 * Accepts WebSockets for a server, beside other routes of the same HTTP server.
 *
 * A browser lets every page open a WebSocket to every server, and sends the
 * user's cookies with it. So by default only pages of the server's own host may
 * connect; see `allowOrigins`. To accept or reject users, use `authorize` of the
 * server: `connection.peer.request` has the address and the headers.
 *
 * @throws {TypeError} If `allowOrigins` is no list, function or `"*"`, or
 *   `WebSocketServer` is missing on Node.
 *
 * @example Deno
 * ```ts ignore
 * const sockets = webSockets();
 * server.serve(sockets);
 * Deno.serve((request, info) =>
 *   new URL(request.url).pathname === "/rpc"
 *     ? sockets.upgrade(request, info)
 *     : new Response("hello")
 * );
 * ```
 *
 * @example Bun
 * ```ts ignore
 * const sockets = webSockets();
 * server.serve(sockets);
 * Bun.serve({
 *   routes: { "/rpc": sockets.upgrade },
 *   websocket: sockets.bun,
 * });
 * ```
 *
 * @example Node, with Express or without
 * ```ts ignore
 * import { WebSocketServer } from "ws";
 *
 * const sockets = webSockets({ WebSocketServer });
 * server.serve(sockets);
 * const http = app.listen(8080);
 * http.on("upgrade", sockets.handleUpgrade);
 * ```
 */
export function webSockets(
  options: WebSocketListenerOptions = {},
): WebSocketListener {
  return new UpgradeListener(options);
}

class UpgradeListener extends WebSocketUpgrade implements WebSocketListener {
  readonly #queue: AcceptQueue;

  constructor(options: WebSocketListenerOptions) {
    const queue = new AcceptQueue(options);
    super(queue, options);
    this.#queue = queue;
  }

  [Symbol.asyncIterator](): AsyncIterator<Duplex & DuplexInfo> {
    return this.#queue[Symbol.asyncIterator]();
  }

  close(): Promise<void> {
    this.#queue.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
