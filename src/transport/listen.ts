/**
 * Connections over TCP, Unix sockets and TLS: the accepting side.
 *
 * Invariants owned here:
 * - A fault of one connection, or of accepting, is told and never ends the
 *   listener.
 * - A connection is in one place: in its TLS handshake, waiting to be accepted,
 *   or the user's. `close` destroys those in the first two.
 * - At most {@linkcode UNACCEPTED} connections wait; more are turned away.
 *
 * @module
 */

import type { AsyncDisposal } from "../types/disposal.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { ConnectionError } from "../base/errors.ts";
import { tellHook } from "../base/user_code.ts";
import {
  type Address,
  faultOf,
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

/** Connections that may wait for the listener's iterator. */
const UNACCEPTED = 1024;

/** Options of {@linkcode listen}. */
export type ListenOptions = (TcpAddress | UnixAddress) & {
  /** Gives up listening before it has begun; of no effect afterwards. */
  signal?: AbortSignal | undefined;
  /** Speak TLS 1.2 or later. */
  tls?: ListenTls | undefined;
  /**
   * Told of what went wrong with a connection before it was accepted, and with
   * accepting itself (too many open files, for one); the listener goes on.
   * Exceptions it throws are ignored.
   */
  onError?: ((error: ConnectionError) => void) | undefined;
};

/** Where a {@linkcode Listener} can be reached; fit for `connect`. */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/**
 * Accepts connections: iterate it, or hand it to `server.serve()`.
 *
 * Leaving a loop over it leaves it open. Several loops share its connections.
 */
export interface Listener
  extends AsyncIterable<Duplex & DuplexInfo>, AsyncDisposal {
  /** Where it listens; the real port, if 0 was asked for. */
  readonly address: ListenAddress;
  /** Keeps the process alive while it listens, as it does from the start; undoes `unref`. */
  ref(): void;
  /** Lets the process end although it listens. Connections it has accepted are not concerned. */
  unref(): void;
  /**
   * Stops listening, frees the address, ends every loop over it, and destroys
   * what was not yet accepted; connections that were live on. Never rejects;
   * every call returns the same promise.
   */
  close(): Promise<void>;
}

/**
 * Listens on TCP, a Unix socket, or TLS over either. On loopback, unless a
 * host is given (`"0.0.0.0"` or `"::"` for everywhere).
 *
 * A Unix socket can be used by its owner alone (mode 0600, from the first
 * moment). The file of a server that has died is replaced, that of one alive is
 * not; it is removed by `close`.
 *
 * At most 1,024 connections wait to be accepted; more are closed and told to
 * `onError`, as are TLS handshakes that fail or take over 10 seconds. (Deno
 * 2.9.5 cannot close a TLS connection before its handshake: such a socket stays
 * open until the client closes it. At most 256 can be in this state; then no
 * client is accepted until one of them goes.) An open listener keeps the process
 * alive, unless it was `unref`ed.
 *
 * @param options `{ port }` or `{ host, port }` or `{ path }`, and how.
 * @returns The listener, listening.
 * @throws {TypeError} If the options are no address, or the runtime has no sockets.
 * @throws {RangeError} If the port is not 0 to 65535.
 * @throws {ConnectionError} If it cannot listen: `address_in_use`,
 *   `permission_denied`, `unavailableError` or `resource_exhausted`; the runtime's
 *   error is the `cause`.
 * @throws The signal's reason itself, if it is aborted first.
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
    throw faultOf(`Cannot listen at ${printAddress(address)}`, error);
  }
  if (options.signal?.aborted) {
    await listener.close();
    throw options.signal.reason;
  }
  return listener;
}

class SocketListener implements Listener, ListenerEvents {
  address: Address;
  readonly #source: ListenerBackend;
  readonly #onError: ((error: ConnectionError) => void) | undefined;
  #unaccepted: (Duplex & DuplexInfo)[] = [];
  #waiting: ((result: IteratorResult<Duplex & DuplexInfo>) => void)[] = [];
  #closed: Promise<void> | undefined;

  constructor(address: Address, options: ListenOptions) {
    this.address = address;
    this.#onError = options.onError;
    const deno = denoNet();
    this.#source = deno
      ? new DenoListenerBackend(deno, address, options.tls, this)
      : new NodeListenerBackend(address, options.tls, this);
  }

  async open(): Promise<void> {
    this.address = await this.#source.open();
  }

  accept(duplex: Duplex & DuplexInfo): void {
    const taker = this.#waiting.shift();
    if (taker) {
      taker({ done: false, value: duplex });
    } else if (this.#closed) {
      drop(duplex);
    } else if (this.#unaccepted.length >= UNACCEPTED) {
      drop(duplex);
      this.fault(
        new ConnectionError(
          "resource_exhausted",
          `Cannot accept a connection: ${UNACCEPTED} wait already`,
        ),
      );
    } else {
      this.#unaccepted.push(duplex);
    }
  }

  fault(error: ConnectionError): void {
    if (!this.#closed) tellHook({ told: this.#onError }, "told", error);
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
    if (!this.#closed) this.#source.setRef(true);
  }

  unref(): void {
    if (!this.#closed) this.#source.setRef(false);
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  #close(): Promise<void> {
    for (const duplex of this.#unaccepted.splice(0)) drop(duplex);
    for (const taker of this.#waiting.splice(0)) {
      taker({ done: true, value: undefined });
    }
    return this.#source.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function drop(duplex: Duplex): void {
  duplex.writable.abort(new Error("Nobody accepted the connection"))
    .catch(() => {});
}
