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
  type ConnectTls,
  parseAddress,
  printAddress,
  type TcpAddress,
  type UnixAddress,
} from "./address.ts";
import { denoNet, dialDeno } from "./deno_dial.ts";
import { socketDuplex } from "./node_stream.ts";
import { dialNode } from "./node_dial.ts";

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
