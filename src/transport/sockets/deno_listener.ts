/**
 * Listens with Deno's own functions; `deno_dial.ts` says why not with Node's.
 *
 * Invariants:
 * - A connection is handed to the listener after its TLS handshake. One whose
 *   handshake takes longer than {@linkcode HANDSHAKE_TIMEOUT} is closed.
 * - At most {@linkcode MAX_HANDSHAKES} connections have not finished their
 *   handshake, those that have timed out included: Deno 2.9.5 cannot close
 *   these, so their sockets stay open until the client closes them. Without a
 *   bound, silent clients would use up the descriptors of the whole process.
 * - A fault of `accept` is reported. Only if the system lacks resources does
 *   the next attempt wait: a client that has disconnected before it was
 *   accepted must not delay the others.
 *
 * @module
 */

import { type Clock, systemClock } from "../../base/clock.ts";
import type { Address, ListenTls } from "../address.ts";
import {
  closeConn,
  denoAddress,
  type DenoListener,
  type DenoNet,
  type DenoNetConn,
  duplexOf,
  tcpOnly,
} from "./deno_dial.ts";
import {
  HANDSHAKE_TIMEOUT,
  type ListenerBackend,
  type ListenerEvents,
} from "./listener_backend.ts";
import { toConnectionError } from "../system_errors.ts";
import { bindUnix } from "./unix_socket_file.ts";

/** Milliseconds to wait before the next `accept`, when the system lacked resources for the last one. */
const ACCEPT_DELAY = 50;

/** TLS connections that may be in their handshake at once. When exceeded, none is accepted until one has finished or closed. */
const MAX_HANDSHAKES = 256;

/** Listens with a `Deno.Listener` or `Deno.TlsListener`. */
export class DenoListenerBackend implements ListenerBackend {
  readonly #net: DenoNet;
  readonly #address: Address;
  readonly #tls: ListenTls | undefined;
  readonly #events: ListenerEvents;
  readonly #clock: Clock;
  /** Connections in their TLS handshake. */
  readonly #handshaking = new Set<DenoNetConn>();
  /** Continues accepting, if that waits for a handshake to finish. */
  #resume: (() => void) | undefined;
  #listener: DenoListener | undefined;
  #accepting: Promise<void> | undefined;
  /** Removes the file of a Unix socket. */
  #removeFile: (() => Promise<void>) | undefined;
  #closed = false;

  constructor(
    net: DenoNet,
    address: Address,
    tls: ListenTls | undefined,
    events: ListenerEvents,
    clock: Clock = systemClock,
  ) {
    if (tls) tcpOnly(address);
    if (tls?.requestCert) {
      throw new TypeError(
        "Cannot listen: Deno cannot request client certificates; use Node or Bun",
      );
    }
    this.#net = net;
    this.#address = address;
    this.#tls = tls;
    this.#events = events;
    this.#clock = clock;
  }

  async open(): Promise<Address> {
    const address = this.#address;
    if ("path" in address) {
      this.#removeFile = await bindUnix(
        address.path,
        (path) => this.#bind({ path }),
      );
      return address;
    }
    await this.#bind(address);
    return { host: address.host, port: this.#listener!.addr.port! };
  }

  setRef(on: boolean): void {
    if (on) this.#listener?.ref?.();
    else this.#listener?.unref?.();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listener?.close();
    for (const conn of this.#handshaking) closeConn(conn);
    this.#resume?.();
    // Deno keeps the address until its last `accept` has ended.
    await this.#accepting;
    await this.#removeFile?.();
  }

  // In a promise, so that an exception of Deno's becomes a rejection.
  #bind(address: Address): Promise<void> {
    return new Promise((resolve) => {
      const target = denoAddress(address);
      const tls = this.#tls;
      const listener = tls
        ? this.#net.listenTls({
          ...target,
          cert: tls.cert,
          key: tls.key,
          alpnProtocols: tls.alpn,
        })
        : this.#net.listen(target);
      this.#listener = listener;
      this.#accepting = this.#acceptLoop(listener);
      resolve();
    });
  }

  async #acceptLoop(listener: DenoListener): Promise<void> {
    while (!this.#closed) {
      try {
        const conn = await listener.accept();
        if (this.#tls) this.#handshake(conn);
        else this.#accept(conn);
        if (this.#handshaking.size >= MAX_HANDSHAKES) await this.#capacity();
      } catch (error) {
        if (this.#closed) return;
        const fault = toConnectionError("Cannot accept a connection", error);
        this.#events.fault(fault);
        if (fault.code !== "resource_exhausted") await this.#clock.turn();
        // The next attempt would fail at once, too: connections must close first.
        else await this.#delay();
      }
    }
  }

  #delay(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, ACCEPT_DELAY);
    });
  }

  /** Resolves when a handshake has finished, or the listener closes. */
  #capacity(): Promise<void> {
    return new Promise((resolve) => this.#resume = resolve);
  }

  async #handshake(conn: DenoNetConn): Promise<void> {
    this.#handshaking.add(conn);
    let late = false;
    const timer = this.#clock.setTimeout(() => {
      late = true;
      this.#reportHandshake(
        new Error(`not finished within ${HANDSHAKE_TIMEOUT} ms`),
      );
    }, HANDSHAKE_TIMEOUT);
    try {
      await conn.handshake?.();
      if (late) closeConn(conn);
      else this.#accept(conn);
    } catch (error) {
      closeConn(conn);
      if (!late) this.#reportHandshake(error);
    } finally {
      this.#clock.clearTimeout(timer);
      this.#handshaking.delete(conn);
      this.#resume?.();
    }
  }

  #reportHandshake(error: unknown): void {
    this.#events.fault(
      toConnectionError("TLS handshake failed", error, "unauthenticated"),
    );
  }

  #accept(conn: DenoNetConn): void {
    try {
      if (!("path" in this.#address)) conn.setNoDelay?.(true);
      this.#events.accept(duplexOf(conn, this.#address, "local"));
    } catch (error) {
      closeConn(conn);
      this.#events.fault(
        toConnectionError("Cannot accept a connection", error),
      );
    }
  }
}
