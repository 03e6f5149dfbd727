/**
 * Listens on TCP, Unix sockets, TLS, WebSockets, and within the process.
 *
 * Invariants:
 * - A fault of one connection, or of accepting, is reported to `onError` and
 *   never ends the listener.
 * - A connection is in one place: in its handshake, in the queue of those to be
 *   accepted, or the user's. `close` destroys those in the first two.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import type { AsyncDisposal, Duplex, DuplexInfo } from "../types/duplex.ts";
import { AcceptQueue } from "./accept_queue.ts";
import {
  type ListenAddress,
  type ListenTls,
  parseTarget,
  printAddress,
  printUrl,
  type Target,
  type TcpAddress,
  toUrl,
  type UnixAddress,
  type UrlAddress,
} from "./address.ts";
import { MemoryListenerBackend } from "./memory_listener.ts";
import { denoNet } from "./sockets/deno_dial.ts";
import { DenoListenerBackend } from "./sockets/deno_listener.ts";
import type { ListenerBackend } from "./sockets/listener_backend.ts";
import { NodeListenerBackend } from "./sockets/node_listener.ts";
import { toConnectionError } from "./system_errors.ts";
import { WebSocketListenerBackend } from "./web/websocket_server.ts";
import type { UpgradeOptions } from "./web/websocket_upgrade.ts";

/** How {@linkcode listen} listens. */
export interface ListenSettings extends UpgradeOptions {
  /** Aborts listening before it has begun. It has no effect afterwards. */
  signal?: AbortSignal | undefined;
  /** Use TLS 1.2 or later. `tls:` and `wss:` need it. */
  tls?: ListenTls | undefined;
  /**
   * Called with each fault that does not end the listener: what went wrong
   * with a connection before it was accepted, and with accepting itself, such
   * as too many open files. Exceptions it throws are ignored.
   */
  onError?: ((error: ConnectionError) => void) | undefined;
}

/** Options of {@linkcode listen}. */
export type ListenOptions =
  & (TcpAddress | UnixAddress | UrlAddress)
  & ListenSettings;

/**
 * Accepts connections: iterate it with `for await`, or pass it to
 * `server.serve()`.
 *
 * Leaving a loop leaves the listener open. Several loops share the connections:
 * each connection goes to one of them.
 */
export interface Listener
  extends AsyncIterable<Duplex & DuplexInfo>, AsyncDisposal {
  /** Where it listens, with the real port if port 0 was requested. */
  readonly address: ListenAddress;
  /** The same as a URL, which `connect` takes. */
  readonly url: string;
  /** Lets the open listener keep the process alive, which is the default; undoes `unref`. */
  ref(): void;
  /** Lets the process exit while the listener is open. Connections that it has accepted are not affected. */
  unref(): void;
  /**
   * Stops listening, frees the address, ends every loop over the listener, and
   * destroys connections that were not yet accepted. Accepted connections live
   * on. Never rejects; every call returns the same promise.
   */
  close(): Promise<void>;
}

/**
 * Listens on TCP, a Unix socket, TLS over either, for WebSockets, or within the
 * process.
 *
 * - TCP: the default host is `127.0.0.1`, so that only this machine can
 *   connect. Pass `"0.0.0.0"` or `"::"` to accept connections from everywhere.
 * - A Unix socket: only the user who owns the process can connect (its file has
 *   mode 0600 from the start). The file of a dead server is replaced, the file
 *   of a live one is not. `close` removes the file.
 * - `ws:` and `wss:`: an HTTP server that has nothing but the path of the URL;
 *   to share one with other routes, use {@linkcode webSockets}. Node needs the
 *   option `WebSocketServer`. On Deno `wss:` has no `ca` and `requestCert`, and
 *   the address stays in use until the last connection has ended: Deno 2.9.5
 *   closes every WebSocket when its HTTP server stops.
 * - `memory:`: reached by `connect` in the same process, and copy of the library.
 * - Up to 1,024 connections wait to be accepted. More are destroyed and
 *   reported to `onError`, as are TLS handshakes that fail or take more than 10
 *   seconds.
 *
 * An open listener keeps the process alive until `unref` is called on it.
 *
 * Deno 2.9.5 cannot close a TLS connection before its handshake has ended: its
 * socket stays open until the client closes it. The listener allows 256 of
 * them, and then accepts no client until one of them has closed.
 *
 * @param at A URL, see {@linkcode UrlAddress}; or the address, as `{ port }`,
 *   `{ host, port }`, `{ path }` or `{ url }`, and how to listen.
 * @param how How to listen, if `at` is a URL.
 * @returns The listener, which listens already.
 * @throws {TypeError} If it is no address, or the runtime has no such sockets.
 * @throws {RangeError} If the port is not a whole number from 0 to 65,535.
 * @throws {ConnectionError} If it cannot listen. The code is `address_in_use`,
 *   `permission_denied`, `unavailable` or `resource_exhausted`. The `cause` is
 *   the runtime's error.
 * @throws The signal's reason itself, if the signal is aborted first.
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { ConnectionError, listen } from "@sluice/rpc";
 *
 * const listener = await listen({ port: 0 });
 * const { address } = listener;
 * assertEquals("host" in address && address.host, "127.0.0.1");
 *
 * await assertRejects(() => listen(address), ConnectionError, "already in use");
 * await listener.close();
 * ```
 */
export async function listen(
  at: string | URL | ListenOptions,
  how?: ListenSettings,
): Promise<Listener> {
  const options: ListenOptions = typeof at === "string" || at instanceof URL
    ? { ...how, url: at }
    : at;
  const target = parseTarget("Cannot listen", options, 0);
  const { signal } = options;
  signal?.throwIfAborted();
  const listener = new QueueingListener(target, options);
  try {
    await listener.open();
  } catch (error) {
    await listener.close();
    if (error instanceof ConnectionError || error instanceof TypeError) {
      throw error;
    }
    throw toConnectionError(`Cannot listen at ${print(target)}`, error);
  }
  if (signal?.aborted) {
    await listener.close();
    throw signal.reason;
  }
  return listener;
}

function print(target: Target): string {
  if (target.kind === "socket") return printAddress(target.address);
  return target.kind === "memory"
    ? `memory:${target.name}`
    : printUrl(target.url);
}

function makeBackend(
  target: Target,
  options: ListenSettings,
  queue: AcceptQueue,
): ListenerBackend {
  if (target.kind === "memory") {
    return new MemoryListenerBackend(target.name, queue);
  }
  if (target.kind === "websocket") {
    return new WebSocketListenerBackend(target.url, options, queue);
  }
  const { address } = target;
  const { tls } = options;
  if (target.tls && tls === undefined) {
    throw new TypeError("Cannot listen: tls: needs the option tls");
  }
  const deno = denoNet();
  return deno
    ? new DenoListenerBackend(deno, address, tls, queue)
    : new NodeListenerBackend(address, tls, queue);
}

class QueueingListener implements Listener {
  address: ListenAddress = { url: "" };
  readonly #backend: ListenerBackend;
  readonly #queue: AcceptQueue;
  readonly #tls: boolean;
  #closed: Promise<void> | undefined;

  constructor(target: Target, options: ListenSettings) {
    this.#queue = new AcceptQueue(options);
    this.#tls = options.tls !== undefined;
    this.#backend = makeBackend(target, options, this.#queue);
  }

  async open(): Promise<void> {
    this.address = await this.#backend.open();
  }

  get url(): string {
    return toUrl(this.address, this.#tls);
  }

  [Symbol.asyncIterator](): AsyncIterator<Duplex & DuplexInfo> {
    return this.#queue[Symbol.asyncIterator]();
  }

  ref(): void {
    if (!this.#closed) this.#backend.setRef(true);
  }

  unref(): void {
    if (!this.#closed) this.#backend.setRef(false);
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  #close(): Promise<void> {
    this.#queue.close();
    return this.#backend.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
