/**
 * Listens on TCP, Unix sockets and TLS, and accepts connections.
 *
 * Invariants:
 * - A fault of one connection, or of accepting, is reported to `onError` and
 *   never ends the listener.
 * - A connection is in one place: in its TLS handshake, in the queue of those
 *   to be accepted, or the user's. `close` destroys those in the first two.
 * - At most {@linkcode MAX_UNACCEPTED} connections are in the queue; more are
 *   destroyed.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { callHook } from "../base/user_code.ts";
import type { AsyncDisposal, Duplex, DuplexInfo } from "../types/duplex.ts";
import {
  type Address,
  type ListenTls,
  parseAddress,
  printAddress,
  type TcpAddress,
  type UnixAddress,
} from "./address.ts";
import { denoNet } from "./deno_dial.ts";
import { DenoListenerBackend } from "./deno_listener.ts";
import type { ListenerBackend, ListenerEvents } from "./listener_backend.ts";
import { NodeListenerBackend } from "./node_listener.ts";
import { toConnectionError } from "./system_errors.ts";

/** Options of {@linkcode listen}. */
export type ListenOptions = (TcpAddress | UnixAddress) & {
  /** Aborts listening before it has begun. It has no effect afterwards. */
  signal?: AbortSignal | undefined;
  /** Use TLS 1.2 or later. */
  tls?: ListenTls | undefined;
  /**
   * Called with each fault that does not end the listener: what went wrong
   * with a connection before it was accepted, and with accepting itself, such
   * as too many open files. Exceptions it throws are ignored.
   */
  onError?: ((error: ConnectionError) => void) | undefined;
};

/** Where a {@linkcode Listener} can be reached; can be passed to `connect`. */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

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

/** Connections that may wait for the listener's iterator. */
const MAX_UNACCEPTED = 1024;

/**
 * Listens on TCP, a Unix socket, or TLS over either.
 *
 * - TCP: the default host is `127.0.0.1`, so that only this machine can
 *   connect. Pass `"0.0.0.0"` or `"::"` to accept connections from everywhere.
 * - A Unix socket: only the user who owns the process can connect (its file has
 *   mode 0600 from the start). The file of a dead server is replaced, the file
 *   of a live one is not. `close` removes the file.
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
 * @param options The address, as `{ port }`, `{ host, port }` or `{ path }`,
 *   and how to listen.
 * @returns The listener, which listens already.
 * @throws {TypeError} If the options are no address, or the runtime has no sockets.
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
export async function listen(options: ListenOptions): Promise<Listener> {
  const address = parseAddress("Cannot listen", options, 0);
  options.signal?.throwIfAborted();
  const listener = new SocketListener(address, options);
  try {
    await listener.open();
  } catch (error) {
    await listener.close();
    if (error instanceof ConnectionError) throw error;
    throw toConnectionError(`Cannot listen at ${printAddress(address)}`, error);
  }
  if (options.signal?.aborted) {
    await listener.close();
    throw options.signal.reason;
  }
  return listener;
}

class SocketListener implements Listener, ListenerEvents {
  address: Address;
  readonly #backend: ListenerBackend;
  readonly #onError: ((error: ConnectionError) => void) | undefined;
  /** Connections that wait for an iterator; empty while iterators wait. */
  readonly #unaccepted: (Duplex & DuplexInfo)[] = [];
  /** Iterators that wait for a connection. */
  readonly #waiting: ((result: IteratorResult<Duplex & DuplexInfo>) => void)[] =
    [];
  #closed: Promise<void> | undefined;

  constructor(address: Address, options: ListenOptions) {
    this.address = address;
    this.#onError = options.onError;
    const deno = denoNet();
    this.#backend = deno
      ? new DenoListenerBackend(deno, address, options.tls, this)
      : new NodeListenerBackend(address, options.tls, this);
  }

  async open(): Promise<void> {
    this.address = await this.#backend.open();
  }

  accept(duplex: Duplex & DuplexInfo): void {
    const resolve = this.#waiting.shift();
    if (resolve) {
      resolve({ done: false, value: duplex });
    } else if (this.#closed) {
      destroy(duplex);
    } else if (this.#unaccepted.length >= MAX_UNACCEPTED) {
      destroy(duplex);
      this.fault(
        new ConnectionError(
          "resource_exhausted",
          `Cannot accept a connection: ${MAX_UNACCEPTED} others wait to be accepted`,
        ),
      );
    } else {
      this.#unaccepted.push(duplex);
    }
  }

  fault(error: ConnectionError): void {
    if (!this.#closed) callHook({ onError: this.#onError }, "onError", error);
  }

  [Symbol.asyncIterator](): AsyncIterator<Duplex & DuplexInfo> {
    return { next: () => this.#next() };
  }

  #next(): Promise<IteratorResult<Duplex & DuplexInfo>> {
    const duplex = this.#unaccepted.shift();
    if (duplex) return Promise.resolve({ done: false, value: duplex });
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
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
    for (const duplex of this.#unaccepted.splice(0)) destroy(duplex);
    for (const resolve of this.#waiting.splice(0)) {
      resolve({ done: true, value: undefined });
    }
    return this.#backend.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function destroy(duplex: Duplex): void {
  duplex.writable.abort(new Error("Nobody accepted the connection"))
    .catch(() => {});
}
