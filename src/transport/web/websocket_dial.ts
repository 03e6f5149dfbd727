/**
 * Connects to a server's WebSocket.
 *
 * Invariant: a dial settles once. Whichever way it ends, its socket is either
 * the caller's or closed, and no listener is left on the signal.
 *
 * @module
 */

import { ConnectionError } from "../../base/errors.ts";
import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import { describeError } from "../system_errors.ts";
import { SUBPROTOCOL } from "./message_transport.ts";
import { CONNECTING, fromWebSocket, type WebSocketLike } from "./websocket.ts";

/** Options of {@linkcode connectWebSocket}. */
export interface ConnectWebSocketOptions {
  /** Aborts the dial. It has no effect once the connection is made. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a server's WebSocket, in pages and on Deno, Bun and Node (22 or
 * later). `connect("wss://…")` of `@sluice/rpc` does the same, and opens
 * sockets, too.
 *
 * There is no timeout; pass `AbortSignal.timeout(ms)` to set one. To send
 * headers or to trust a certificate of your own, make the socket yourself, such
 * as with the `ws` package, and pass it to {@linkcode fromWebSocket}. Do so, too,
 * for calls of 1 to 64 KiB from Deno 2.9.5, whose own WebSocket may hold back
 * each of them for 40 ms.
 *
 * @param url The address, `ws://` or `wss://`; `http://` and `https://` mean the
 *   same. In a page it may be relative to the page, such as `/rpc`.
 * @returns The connection, when it is open.
 * @throws {TypeError} If the URL is not valid, or the runtime has no WebSocket.
 * @throws {ConnectionError} If the connection cannot be made: `unavailable`, or
 *   `protocol_error` if the server does not choose the subprotocol `sluice.1`.
 *   A browser does not tell why; other runtimes give the `cause`.
 * @throws The signal's reason itself, if the signal is aborted first.
 *
 * @example
 * ```ts ignore
 * import { Client, connectWebSocket } from "@sluice/rpc/client";
 *
 * const client = new Client<Services>(await connectWebSocket("/rpc"));
 * ```
 */
export async function connectWebSocket(
  url: string | URL,
  { signal }: ConnectWebSocketOptions = {},
): Promise<Duplex & DuplexInfo> {
  signal?.throwIfAborted();
  const socket = makeSocket(url);
  // Now: the first message may come in the turn in which the socket opens.
  const duplex = fromWebSocket(socket);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => {
    reject(signal?.reason);
    socket.close();
  };
  let cause: unknown;
  const fail = (code?: number) => {
    // A browser tells no more, and Node's error has no text.
    const silent = `no server has accepted the WebSocket (close code ${code})`;
    const why = describeError(cause ?? "", silent);
    const text = `Cannot connect to ${duplex.remote}: ${why}`;
    reject(new ConnectionError("unavailable", text, { cause }));
  };
  socket.addEventListener("open", () => resolve());
  socket.addEventListener("error", ({ error, message }) => {
    cause ??= error ?? (message || undefined);
    // Node 22 reports nothing else of a socket that does not open.
    if (socket.readyState === CONNECTING) fail(1006);
  });
  socket.addEventListener("close", ({ code }) => fail(code));
  signal?.addEventListener("abort", onAbort);
  try {
    await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
  if (socket.protocol !== SUBPROTOCOL) {
    throw new ConnectionError(
      "protocol_error",
      `Cannot connect to ${duplex.remote}: the server did not choose the subprotocol "${SUBPROTOCOL}"`,
    );
  }
  return duplex;
}

function makeSocket(url: string | URL): WebSocketLike {
  const { WebSocket } = globalThis as {
    WebSocket?: new (url: string | URL, protocol: string) => WebSocketLike;
  };
  if (typeof WebSocket !== "function") {
    throw new TypeError(
      `Cannot connect to ${url}: this runtime has no WebSocket; Node has one since version 22`,
    );
  }
  try {
    return new WebSocket(toSocketUrl(url), SUBPROTOCOL);
  } catch (cause) {
    throw new TypeError(
      `Cannot connect to ${url}: ${describeError(cause)}`,
      { cause },
    );
  }
}

/** What the constructor of newer browsers does itself. */
function toSocketUrl(url: string | URL): URL {
  const { location } = globalThis as { location?: { href: string } };
  const absolute = new URL(url, location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  return absolute;
}
