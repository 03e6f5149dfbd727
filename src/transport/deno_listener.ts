/**
 * What listens by Deno's own functions; `deno_net.ts` says why by these.
 *
 * Invariants owned here:
 * - A connection is handed to the listener after its handshake, for which it
 *   has its time; one that comes later is closed.
 * - At most {@linkcode MAX_SHAKING} connections have not finished their
 *   handshake, those whose time has passed included. (Deno 2.9.5 cannot close
 *   such a connection: its socket stays open until the client closes it. So it
 *   is kept, to know when that is; and without a bound, silent clients would
 *   use up the descriptors of the whole process.)
 * - A fault of `accept` is told. The next attempt waits for lack of descriptors
 *   alone: a client that has gone again by then must not hold up the others.
 *
 * @module
 */

import { type Clock, systemClock } from "../base/clock.ts";
import { type Address, faultOf, type ListenTls } from "./address.ts";
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
import { bindUnix } from "./unix_socket_file.ts";

/** Milliseconds between two attempts to accept, when there were no descriptors for the first. */
const ACCEPT_PAUSE = 50;

/** TLS connections that have not finished their handshake; from then on none is accepted until one has, or has gone. */
const MAX_SHAKING = 256;

/** A `Deno.Listener` or `Deno.TlsListener`. */
export class DenoListenerBackend implements ListenerBackend {
  readonly #net: DenoNet;
  readonly #address: Address;
  readonly #tls: ListenTls | undefined;
  readonly #sink: ListenerEvents;
  readonly #clock: Clock;
  /** In their TLS handshake. */
  readonly #shaking = new Set<DenoNetConn>();
  /** Goes on accepting, where that waits for one of them. */
  #resume: (() => void) | undefined;
  #listener: DenoListener | undefined;
  #accepting: Promise<void> | undefined;
  #unbind: (() => Promise<void>) | undefined;
  #closed = false;

  constructor(
    net: DenoNet,
    address: Address,
    tls: ListenTls | undefined,
    sink: ListenerEvents,
    clock: Clock = systemClock,
  ) {
    if (tls) tcpOnly(address);
    if (tls?.requestCert) {
      throw new TypeError(
        "Deno cannot ask for client certificates: use Node or Bun",
      );
    }
    this.#net = net;
    this.#address = address;
    this.#tls = tls;
    this.#sink = sink;
    this.#clock = clock;
  }

  async open(): Promise<Address> {
    const address = this.#address;
    if ("path" in address) {
      this.#unbind = await bindUnix(
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
    for (const conn of this.#shaking) closeConn(conn);
    this.#resume?.();
    // Until its last `accept` has ended, Deno keeps the address.
    await this.#accepting;
    await this.#unbind?.();
  }

  // In a promise, so that what Deno throws is a rejection.
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
        if (this.#tls) this.#shake(conn);
        else this.#arrived(conn);
        if (this.#shaking.size >= MAX_SHAKING) await this.#room();
      } catch (error) {
        if (this.#closed) return;
        const fault = faultOf("Cannot accept a connection", error);
        this.#sink.fault(fault);
        if (fault.code !== "resource_exhausted") await this.#clock.turn();
        // The next attempt would fail at once, too: let some be closed.
        else await this.#pause();
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, ACCEPT_PAUSE);
    });
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#resume = resolve);
  }

  async #shake(conn: DenoNetConn): Promise<void> {
    this.#shaking.add(conn);
    let late = false;
    const timer = this.#clock.setTimeout(() => {
      late = true;
      this.#unshaken(new Error("it took too long"));
    }, HANDSHAKE_TIMEOUT);
    try {
      await conn.handshake?.();
      if (late) closeConn(conn);
      else this.#arrived(conn);
    } catch (error) {
      closeConn(conn);
      if (!late) this.#unshaken(error);
    } finally {
      this.#clock.clearTimeout(timer);
      this.#shaking.delete(conn);
      this.#resume?.();
    }
  }

  #unshaken(error: unknown): void {
    this.#sink.fault(faultOf("TLS handshake failed", error, "unauthenticated"));
  }

  #arrived(conn: DenoNetConn): void {
    try {
      if (!("path" in this.#address)) conn.setNoDelay?.(true);
      this.#sink.accept(duplexOf(conn, this.#address, "local"));
    } catch (error) {
      closeConn(conn);
      this.#sink.fault(faultOf("Cannot accept a connection", error));
    }
  }
}
