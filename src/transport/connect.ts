/**
 * Connects over TCP, Unix sockets, TLS, WebSockets, and within the process.
 *
 * Invariants:
 * - A dial settles once. Whichever way it ends, its socket is either the
 *   caller's or destroyed, and no listener is left on the signal.
 * - TLS verifies the peer; nothing turns that off. Pass a self-signed
 *   certificate as `ca` to trust it.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import {
  type ConnectTls,
  parseTarget,
  printAddress,
  type TcpAddress,
  type UnixAddress,
  type UrlAddress,
} from "./address.ts";
import { connectMemory } from "./memory_listener.ts";
import { denoNet, dialDeno } from "./sockets/deno_dial.ts";
import { dialNode } from "./sockets/node_dial.ts";
import { socketDuplex } from "./sockets/node_stream.ts";
import { connectWebSocket } from "./web/websocket_dial.ts";

/** How {@linkcode connect} connects. */
export interface DialOptions {
  /** Aborts the dial. It has no effect once the connection is made. */
  signal?: AbortSignal | undefined;
  /** Use TLS 1.2 or later; `{}` for the defaults. A URL `tls:` uses it anyway. Not for `wss:`, where the platform decides. */
  tls?: ConnectTls | undefined;
}

/** Options of {@linkcode connect}. */
export type ConnectOptions =
  & (TcpAddress | UnixAddress | UrlAddress)
  & DialOptions;

/**
 * Connects to a server over TCP (with no delay for small packets), TLS, a Unix
 * socket, a WebSocket, or to a listener in the same process.
 *
 * There is no timeout; pass `AbortSignal.timeout(ms)` to set one. An open
 * connection keeps the process alive until `unref` is called on it; a WebSocket
 * always does, and `memory:` never. Both streams of the result belong to the
 * caller: close `writable` and read `readable` to its end, or abort `writable`.
 *
 * @param to A URL, see {@linkcode UrlAddress}; or the address, as `{ port }`,
 *   `{ host, port }`, `{ path }` or `{ url }`, and how to connect.
 * @param how How to connect, if `to` is a URL.
 * @returns The connection.
 * @throws {TypeError} If it is no address, or the runtime has no such sockets:
 *   a page has WebSockets only.
 * @throws {RangeError} If the port is not a whole number from 1 to 65,535.
 * @throws {ConnectionError} If the connection cannot be made. The code is
 *   `unavailable` (such as refused, reset, or name not found),
 *   `permission_denied`, `resource_exhausted` (too many open files),
 *   `unauthenticated` (the TLS handshake failed, or the certificate is not
 *   valid for the server) or `protocol_error` (the WebSocket's server does not
 *   choose the subprotocol `sluice.1`). The `cause` is the runtime's error.
 * @throws The signal's reason itself, if the signal is aborted first.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, listen } from "@sluice/rpc";
 *
 * const listener = await listen("tcp://127.0.0.1:0");
 * const duplex = await connect(listener.url);
 * for await (const peer of listener) {
 *   assertEquals(peer.remote, duplex.local);
 *   await peer.writable.close();
 *   break;
 * }
 * await duplex.writable.close();
 * assertEquals(await Array.fromAsync(duplex.readable), []);
 * await listener.close();
 * ```
 */
export async function connect(
  to: string | URL | ConnectOptions,
  how?: DialOptions,
): Promise<Duplex & DuplexInfo> {
  const options: ConnectOptions = typeof to === "string" || to instanceof URL
    ? { ...how, url: to }
    : to;
  const target = parseTarget("Cannot connect", options, 1);
  const { signal } = options;
  signal?.throwIfAborted();
  if (target.kind === "memory") return connectMemory(target.name);
  if (target.kind === "websocket") {
    if (options.tls !== undefined) {
      throw new TypeError(
        "Cannot connect: tls is not for WebSockets; make the socket yourself and pass it to fromWebSocket",
      );
    }
    return await connectWebSocket(target.url, { signal });
  }
  const { address } = target;
  const what = `Cannot connect to ${printAddress(address)}`;
  const tls = target.tls ? options.tls ?? {} : undefined;
  const deno = denoNet();
  if (deno) return await dialDeno(deno, address, tls, signal, what);
  const socket = await dialNode(address, tls, signal, what);
  return socketDuplex(socket, address, "remote");
}
