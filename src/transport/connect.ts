/**
 * Connects over TCP, Unix sockets and TLS.
 *
 * Invariants:
 * - A dial settles once. Whichever way it ends, its socket is either the
 *   caller's or destroyed, and no listener is left on the signal.
 * - TLS verifies the peer; nothing turns that off. Pass a self-signed
 *   certificate as `ca` to trust it.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import {
  type Address,
  type ConnectTls,
  parseAddress,
  printAddress,
  type TcpAddress,
  type UnixAddress,
} from "./address.ts";
import { denoNet, dialDeno } from "./deno_dial.ts";
import { builtin, type NodeSocket } from "./node_builtins.ts";
import { socketDuplex } from "./node_stream.ts";
import { toConnectionError } from "./system_errors.ts";

/** Options of {@linkcode connect}. */
export type ConnectOptions = (TcpAddress | UnixAddress) & {
  /** Aborts the dial. It has no effect once the connection is made. */
  signal?: AbortSignal | undefined;
  /** Use TLS 1.2 or later; `{}` for the defaults. */
  tls?: ConnectTls | undefined;
};

/**
 * Connects to a server over TCP (with no delay for small packets), a Unix
 * socket, or TLS over either.
 *
 * There is no timeout; pass `AbortSignal.timeout(ms)` to set one. An open
 * connection keeps the process alive until `unref` is called on it. Both
 * streams of the result belong to the caller: close `writable` and read
 * `readable` to its end, or abort `writable`.
 *
 * @param options The address, as `{ port }`, `{ host, port }` or `{ path }`,
 *   and how to connect.
 * @returns The connection.
 * @throws {TypeError} If the options are no address, or the runtime has no sockets.
 * @throws {RangeError} If the port is not a whole number from 1 to 65,535.
 * @throws {ConnectionError} If the connection cannot be made. The code is
 *   `unavailable` (such as refused, reset, or name not found),
 *   `permission_denied`, `resource_exhausted` (too many open files) or
 *   `unauthenticated` (the TLS handshake failed, or the certificate is not
 *   valid for the server). The `cause` is the runtime's error.
 * @throws The signal's reason itself, if the signal is aborted first.
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
  const socket = await dialNode(address, tls, signal, what);
  return socketDuplex(socket, address, "remote");
}

/** Dials on Node and Bun. */
function dialNode(
  address: Address,
  tls: ConnectTls | undefined,
  signal: AbortSignal | undefined,
  what: string,
): Promise<NodeSocket> {
  return new Promise((resolve, reject) => {
    let socket: NodeSocket;
    try {
      socket = openSocket(address, tls);
    } catch (error) {
      reject(toConnectionError(what, error));
      return;
    }
    /** Whether TCP is connected and TLS is not: a fault is then one of trust. */
    let handshaking = false;
    const settle = (error: unknown) => {
      signal?.removeEventListener("abort", abort);
      socket.off("error", fail);
      socket.off("close", closed);
      if (error === undefined) {
        resolve(socket);
      } else {
        // One more error may follow, and must not be uncaught.
        socket.on("error", () => {});
        socket.destroy();
        reject(error);
      }
    };
    const fail = (error: unknown) =>
      settle(
        handshaking
          ? toConnectionError(
            `${what}: TLS handshake failed`,
            error,
            "unauthenticated",
          )
          : toConnectionError(what, error),
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

function openSocket(address: Address, tls: ConnectTls | undefined): NodeSocket {
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
