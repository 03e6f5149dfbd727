/**
 * Deno's own network functions, as far as they are used, and dialling with
 * them.
 *
 * Deno's `node:net` and `node:tls` are not used. In 2.9.5 a server that runs
 * out of file descriptors never accepts again and reports nothing; a TLS write
 * calls back before the system has the bytes; and a TLS stream that ends while
 * it is paused never emits `end`. Deno's own functions are also faster.
 *
 * Invariant: a dial settles once, and a connection that is made after an abort
 * is closed.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import type { Address, ConnectTls } from "../address.ts";
import { type DenoConnLike, fromDenoConn } from "./deno_conn.ts";
import { toConnectionError } from "../system_errors.ts";

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

/** The options of those functions. */
export type DenoOptions = Record<string, unknown>;

/** The functions of `Deno` that are used. */
export interface DenoNet {
  connect(options: DenoOptions): Promise<DenoNetConn>;
  connectTls(options: DenoOptions): Promise<DenoNetConn>;
  startTls(conn: DenoNetConn, options: DenoOptions): Promise<DenoNetConn>;
  listen(options: DenoOptions): DenoListener;
  listenTls(options: DenoOptions): DenoListener;
}

/** Deno's network functions, or `undefined` on other runtimes. */
export function denoNet(): DenoNet | undefined {
  const { Deno } = globalThis as unknown as { Deno?: DenoNet };
  return typeof Deno?.listenTls === "function" ? Deno : undefined;
}

/**
 * Dials an address, and makes the TLS handshake if `tls` is given.
 *
 * @param what The start of an error's message.
 */
export async function dialDeno(
  net: DenoNet,
  address: Address,
  tls: ConnectTls | undefined,
  signal: AbortSignal | undefined,
  what: string,
): Promise<Duplex & DuplexInfo> {
  const conn = await new DenoDial(net, what, signal).run(address, tls);
  return duplexOf(conn, address, "remote");
}

/** One dial. An abort closes its connection, and one that it makes later. */
class DenoDial {
  readonly #net: DenoNet;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  /** The connection so far. */
  #conn: DenoNetConn | undefined;

  constructor(net: DenoNet, what: string, signal: AbortSignal | undefined) {
    this.#net = net;
    this.#what = what;
    this.#signal = signal;
  }

  run(address: Address, tls: ConnectTls | undefined): Promise<DenoNetConn> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const settle = () => signal?.removeEventListener("abort", abort);
      // Deno itself aborts `connect`, but neither a handshake nor `connectTls`.
      const abort = () => {
        settle();
        reject(signal!.reason);
        closeConn(this.#conn);
      };
      signal?.addEventListener("abort", abort);
      this.#dial(address, tls).then((conn) => {
        settle();
        resolve(conn);
      }, (error) => {
        settle();
        closeConn(this.#conn);
        reject(error);
      });
    });
  }

  async #dial(
    address: Address,
    tls: ConnectTls | undefined,
  ): Promise<DenoNetConn> {
    const conn = await this.#connect(address, tls);
    if (!tls) return conn;
    try {
      const secure = tls.cert === undefined
        ? this.#track(
          await this.#net.startTls(conn, {
            hostname: tls.servername ?? tcpOnly(address).host,
            ...trust(tls),
          }),
        )
        : conn;
      await secure.handshake?.();
      return secure;
    } catch (error) {
      throw toConnectionError(
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
      // `startTls` cannot show a certificate, `connectTls` cannot verify
      // another name than the host's.
      const conn = tls?.cert === undefined
        ? await this.#net.connect(target)
        : await this.#net.connectTls({
          ...target,
          ...trust(tls),
          cert: tls.cert,
          key: tls.key,
        });
      if (!("path" in address)) conn.setNoDelay?.(true);
      return this.#track(conn);
    } catch (error) {
      throw toConnectionError(this.#what, error);
    }
  }

  /** Keeps the connection for an abort, or closes it if the abort has come. */
  #track(conn: DenoNetConn): DenoNetConn {
    this.#conn = conn;
    if (this.#signal?.aborted) closeConn(conn);
    return conn;
  }
}

/** The duplex of a connection that was dialled or accepted at `address`. */
export function duplexOf(
  conn: DenoNetConn,
  address: Address,
  side: "remote" | "local",
): Duplex & DuplexInfo {
  // The system knows the path at which the socket was bound, not its path now.
  return "path" in address
    ? fromDenoConn(conn, { [side]: address.path })
    : fromDenoConn(conn);
}

/** An address as Deno's options. */
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
    "Cannot connect: Deno supports either a client certificate or a servername other than the host, received both",
  );
}

/** @throws {TypeError} If it is a Unix socket. */
export function tcpOnly(address: Address): { host: string; port: number } {
  if ("path" in address) {
    throw new TypeError(
      "Cannot use TLS over a Unix socket on Deno: use Node or Bun",
    );
  }
  return address;
}

/** Closes a connection, unless it is closed. */
export function closeConn(conn: DenoNetConn | undefined): void {
  try {
    conn?.close();
  } catch {
    // BadResource: it is closed already, or `startTls` has taken it over.
  }
}
