/**
 * What is used of Deno's own network functions, and dialling by them.
 *
 * Deno's `node:net` and `node:tls` are not used: in 2.9.5 a server that runs out
 * of file descriptors never accepts again, and tells nobody; a TLS write calls
 * back before the system has the bytes; and a TLS stream that ends while it is
 * paused never emits `end`. Deno's own functions are faster besides.
 *
 * Invariant owned here: a dial settles once, and a connection that comes after
 * an abort is closed.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { type Address, type ConnectTls, faultOf } from "./address.ts";
import { type DenoConnLike, fromDenoConn } from "./deno_conn.ts";

/** A `Deno.TcpConn`, `Deno.UnixConn` or `Deno.TlsConn`. */
export interface DenoNetConn extends DenoConnLike {
  setNoDelay?(on: boolean): void;
  handshake?(): Promise<unknown>;
}

/** A `Deno.Listener` or `Deno.TlsListener`. */
export interface DenoListener {
  readonly addr: { readonly port?: number };
  accept(): Promise<DenoNetConn>;
  ref?(): void;
  unref?(): void;
  close(): void;
}

/** What the functions are told. */
export type DenoOptions = Record<string, unknown>;

/** What is used of `Deno`. */
export interface DenoNet {
  connect(options: DenoOptions): Promise<DenoNetConn>;
  connectTls(options: DenoOptions): Promise<DenoNetConn>;
  startTls(conn: DenoNetConn, options: DenoOptions): Promise<DenoNetConn>;
  listen(options: DenoOptions): DenoListener;
  listenTls(options: DenoOptions): DenoListener;
}

/** Deno's own network functions, or `undefined` where there are none. */
export function denoNet(): DenoNet | undefined {
  const { Deno } = globalThis as unknown as { Deno?: DenoNet };
  return typeof Deno?.listenTls === "function" ? Deno : undefined;
}

/** Dials, and shakes hands where there is TLS. */
export async function dialDeno(
  net: DenoNet,
  address: Address,
  tls: ConnectTls | undefined,
  signal: AbortSignal | undefined,
  what: string,
): Promise<Duplex & DuplexInfo> {
  const dial = new DenoDial(net, what, signal);
  const conn = await dial.run(() => dial.steps(address, tls));
  return duplexOf(conn, address, "remote");
}

/** One dial; on an abort what it holds is closed, and so is what it gets later. */
class DenoDial {
  readonly #net: DenoNet;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  #held: DenoNetConn | undefined;

  constructor(net: DenoNet, what: string, signal: AbortSignal | undefined) {
    this.#net = net;
    this.#what = what;
    this.#signal = signal;
  }

  run(steps: () => Promise<DenoNetConn>): Promise<DenoNetConn> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const settle = () => signal?.removeEventListener("abort", abort);
      // Deno ends a dial by itself, but neither a handshake nor `connectTls`.
      const abort = () => {
        settle();
        reject(signal!.reason);
        closeConn(this.#held);
      };
      signal?.addEventListener("abort", abort);
      steps().then((conn) => {
        settle();
        resolve(conn);
      }, (error) => {
        settle();
        closeConn(this.#held);
        reject(error);
      });
    });
  }

  async steps(
    address: Address,
    tls: ConnectTls | undefined,
  ): Promise<DenoNetConn> {
    const conn = await this.#connect(address, tls);
    if (!tls) return conn;
    try {
      const secure = tls.cert === undefined
        ? this.#hold(
          await this.#net.startTls(conn, {
            hostname: tls.servername ?? tcpOnly(address).host,
            ...trust(tls),
          }),
        )
        : conn;
      await secure.handshake?.();
      return secure;
    } catch (error) {
      throw faultOf(
        `${this.#what}: TLS handshake failed`,
        error,
        "unauthenticated",
      );
    }
  }

  async #connect(
    address: Address,
    tls: ConnectTls | undefined,
  ): Promise<DenoNetConn> {
    if (tls) checkTls(tcpOnly(address).host, tls);
    const target = { ...denoAddress(address), signal: this.#signal };
    try {
      const conn = tls?.cert === undefined
        ? await this.#net.connect(target)
        : await this.#net.connectTls({
          ...target,
          ...trust(tls),
          cert: tls.cert,
          key: tls.key,
        });
      if (!("path" in address)) conn.setNoDelay?.(true);
      return this.#hold(conn);
    } catch (error) {
      throw faultOf(this.#what, error);
    }
  }

  #hold(conn: DenoNetConn): DenoNetConn {
    this.#held = conn;
    if (this.#signal?.aborted) closeConn(conn);
    return conn;
  }
}

/** The duplex of a connection that came by `address`. */
export function duplexOf(
  conn: DenoNetConn,
  address: Address,
  side: "remote" | "local",
): Duplex & DuplexInfo {
  // The system knows the name it was bound at, not the one it has now.
  return "path" in address
    ? fromDenoConn(conn, { [side]: address.path })
    : fromDenoConn(conn);
}

/** An address in Deno's words. */
export function denoAddress(address: Address): DenoOptions {
  return "path" in address
    ? { transport: "unix", path: address.path }
    : { hostname: address.host, port: address.port };
}

function trust(tls: ConnectTls): DenoOptions {
  return {
    caCerts: typeof tls.ca === "string" ? [tls.ca] : tls.ca,
    alpnProtocols: tls.alpn,
  };
}

function checkTls(host: string, { cert, servername = host }: ConnectTls): void {
  if (cert === undefined || servername === host) return;
  throw new TypeError(
    "On Deno a client certificate and a servername other than the host exclude each other",
  );
}

/** @throws {TypeError} If it is a Unix socket: Deno has no TLS over these. */
export function tcpOnly(address: Address): { host: string; port: number } {
  if ("path" in address) {
    throw new TypeError("Deno has no TLS over Unix sockets: use Node or Bun");
  }
  return address;
}

/** Closes what may be closed already. */
export function closeConn(conn: DenoNetConn | undefined): void {
  try {
    conn?.close();
  } catch {
    // Closed already, or taken over by `startTls`: BadResource.
  }
}
