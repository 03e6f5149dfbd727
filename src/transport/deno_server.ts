/**
 * What listens by Deno's own functions; `deno_net.ts` says why by these.
 *
 * Invariants owned here:
 * - A connection is handed to the listener after its handshake; until then it
 *   has its time for that, and is closed by `close`. (Deno 2.9.5 then keeps the
 *   socket open until the client closes it, though nothing here knows it any
 *   more.)
 * - A fault of `accept` is told, and the next is tried a moment later.
 *
 * @module
 */

import { systemClock } from "../clock.ts";
import { type Address, faultOf, HANDSHAKE } from "./address.ts";
import {
  closeConn,
  denoAddress,
  type DenoListener,
  type DenoNet,
  type DenoNetConn,
  duplexOf,
  tcpOnly,
} from "./deno_net.ts";
import type { Sink, Source } from "./source.ts";
import type { ListenTls } from "./tls.ts";
import { bindUnix } from "./unix.ts";

/** Milliseconds between two attempts to accept, when the first has failed. */
const ACCEPT_PAUSE = 50;

/** A `Deno.Listener` or `Deno.TlsListener`. */
export class DenoSource implements Source {
  readonly #net: DenoNet;
  readonly #address: Address;
  readonly #tls: ListenTls | undefined;
  readonly #sink: Sink;
  /** In their TLS handshake. */
  readonly #shaking = new Set<DenoNetConn>();
  #listener: DenoListener | undefined;
  #accepting: Promise<void> | undefined;
  #unbind: (() => Promise<void>) | undefined;
  #closed = false;

  constructor(
    net: DenoNet,
    address: Address,
    tls: ListenTls | undefined,
    sink: Sink,
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

  async close(): Promise<void> {
    this.#closed = true;
    this.#listener?.close();
    for (const conn of this.#shaking) closeConn(conn);
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
      } catch (error) {
        if (this.#closed) return;
        this.#sink.fault(faultOf("Cannot accept a connection", error));
        // Out of files, the next attempt fails at once: let some be closed.
        await new Promise<void>((resolve) =>
          systemClock.setTimeout(resolve, ACCEPT_PAUSE)
        );
      }
    }
  }

  async #shake(conn: DenoNetConn): Promise<void> {
    this.#shaking.add(conn);
    const timer = systemClock.setTimeout(() => closeConn(conn), HANDSHAKE);
    try {
      await conn.handshake?.();
      this.#arrived(conn);
    } catch (error) {
      closeConn(conn);
      this.#sink.fault(
        faultOf("TLS handshake failed", error, "unauthenticated"),
      );
    } finally {
      systemClock.clearTimeout(timer);
      this.#shaking.delete(conn);
    }
  }

  #arrived(conn: DenoNetConn): void {
    if (!("path" in this.#address)) conn.setNoDelay?.(true);
    this.#sink.accept(duplexOf(conn, this.#address, "local"));
  }
}
