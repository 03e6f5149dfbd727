/**
 * Connections over TCP, Unix sockets and TLS: the dialling side (and, passed on
 * from `listener.ts`, the accepting one).
 *
 * Invariants owned here:
 * - A dial settles once; on every way out its socket is either the caller's or
 *   destroyed, and no listener is left on the signal.
 * - TLS verifies the peer: there is no switch to turn that off. To trust a
 *   certificate of one's own, name it as `ca`.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import {
  type Address,
  type ConnectTls,
  faultOf,
  type ListenTls,
  parseAddress,
  printAddress,
  type TcpAddress,
  type UnixAddress,
} from "./address.ts";
import { denoNet, dialDeno } from "./deno_dial.ts";
import { builtin, type NodeSocket } from "./node_builtins.ts";
import { socketDuplex } from "./node_stream.ts";

export type { ConnectTls, ListenTls };

export {
  listen,
  type ListenAddress,
  type Listener,
  type ListenOptions,
} from "./listen.ts";
export type { TcpAddress, UnixAddress };

/** Options of {@linkcode connect}. */
export type ConnectOptions = (TcpAddress | UnixAddress) & {
  /** Gives the dial up; of no effect once connected. */
  signal?: AbortSignal | undefined;
  /** Speak TLS 1.2 or later; `{}` for the defaults. */
  tls?: ConnectTls | undefined;
};

/**
 * Connects over TCP (without delay), a Unix socket, or TLS over either.
 *
 * There is no time limit of its own: pass `AbortSignal.timeout(ms)`. An open
 * connection keeps the process alive, unless it was `unref`ed.
 *
 * @param options `{ port }` or `{ host, port }` or `{ path }`, and how.
 * @returns The connection.
 * @throws {TypeError} If the options are no address, or the runtime has no sockets.
 * @throws {RangeError} If the port is not 1 to 65535.
 * @throws {ConnectionError} If it cannot be made: `unavailableError` (refused, not
 *   found, reset), `permission_denied`, `resource_exhausted` (too many open
 *   files), or `unauthenticated` (the TLS handshake failed, or the server is not
 *   who it should be); the runtime's error is the `cause`.
 * @throws The signal's reason itself, if it is aborted first.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, listen } from "@sluice/rpc";
 *
 * const listener = await listen({ port: 0 });
 * const duplex = await connect(listener.address);
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
  options: ConnectOptions,
): Promise<Duplex & DuplexInfo> {
  const address = parseAddress("Cannot connect", options, 1);
  options.signal?.throwIfAborted();
  const what = `Cannot connect to ${printAddress(address)}`;
  const { signal, tls } = options;
  const deno = denoNet();
  if (deno) return await dialDeno(deno, address, tls, signal, what);
  const socket = await dial(address, options, what);
  return socketDuplex(socket, address, "remote");
}

function dial(
  address: Address,
  { signal, tls }: ConnectOptions,
  what: string,
): Promise<NodeSocket> {
  return new Promise((resolve, reject) => {
    let socket: NodeSocket;
    try {
      socket = open(address, tls);
    } catch (error) {
      reject(faultOf(what, error));
      return;
    }
    /** Between the first byte of TLS and its verdict, a fault is a fault of trust. */
    let handshaking = false;
    const settle = (error: unknown) => {
      signal?.removeEventListener("abort", abort);
      socket.off("error", fail);
      socket.off("close", closed);
      if (error === undefined) {
        resolve(socket);
      } else {
        // One more error may follow, and must not go uncaught.
        socket.on("error", () => {});
        socket.destroy();
        reject(error);
      }
    };
    const fail = (error: unknown) =>
      settle(
        faultOf(
          handshaking ? `${what}: TLS handshake failed` : what,
          error,
          handshaking ? "unauthenticated" : "unavailable",
        ),
      );
    const closed = () => fail(new Error("closed while connecting"));
    const abort = () => settle(signal!.reason);
    signal?.addEventListener("abort", abort);
    socket.on("error", fail);
    socket.on("close", closed);
    socket.once("connect", () => {
      handshaking = tls !== undefined;
      if (!tls) settle(undefined);
    });
    if (tls) socket.once("secureConnect", () => settle(undefined));
  });
}

function open(address: Address, tls: ConnectTls | undefined): NodeSocket {
  const net = builtin("node:net", "TCP");
  const target = { ...address, allowHalfOpen: true, noDelay: true };
  if (!tls) return net.connect(target);
  const host = "host" in address ? address.host : "localhost";
  return builtin("node:tls", "TLS").connect({
    ...target,
    ca: tls.ca,
    cert: tls.cert,
    key: tls.key,
    servername: tls.servername ?? (net.isIP(host) ? undefined : host),
    ALPNProtocols: tls.alpn,
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
  });
}
