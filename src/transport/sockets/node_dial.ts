/**
 * Dials TCP, TLS and Unix sockets on Node and Bun, through `node:net` and
 * `node:tls`. Certificates are always verified, and TLS is at least 1.2.
 *
 * @module
 */

import type { Address, ConnectTls } from "../address.ts";
import { builtin, nodeProcess, type NodeSocket } from "./node_builtins.ts";
import { toConnectionError } from "../system_errors.ts";

/** Resolves with a connected socket; with TLS, after its handshake. */
export function dialNode(
  address: Address,
  tls: ConnectTls | undefined,
  signal: AbortSignal | undefined,
  what: string,
): Promise<NodeSocket> {
  return new Promise((resolve, reject) => {
    // Rejects with a `TypeError` in a page: no other dial would help there.
    nodeProcess(
      "path" in address ? "a Unix socket" : tls ? "TLS" : "TCP",
    );
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
