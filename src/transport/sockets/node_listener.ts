/**
 * Listens with `node:net` and `node:tls`, on Node and Bun.
 *
 * Invariant: a connection that is not yet handed to the listener is in its TLS
 * handshake, which may take {@linkcode HANDSHAKE_TIMEOUT}, and is destroyed by
 * `close`.
 *
 * @module
 */

import type { Address, ListenTls } from "../address.ts";
import {
  HANDSHAKE_TIMEOUT,
  type ListenerBackend,
  type ListenerEvents,
} from "./listener_backend.ts";
import {
  builtin,
  nodeProcess,
  type NodeServer,
  type NodeSocket,
} from "./node_builtins.ts";
import { socketDuplex } from "./node_stream.ts";
import { toConnectionError } from "../system_errors.ts";
import { bindUnix } from "./unix_socket_file.ts";

/** Listens with a `net.Server` or `tls.Server`. */
export class NodeListenerBackend implements ListenerBackend {
  readonly #address: Address;
  readonly #tls: boolean;
  readonly #events: ListenerEvents;
  readonly #server: NodeServer;
  /** Sockets in their TLS handshake, by the peer's address: nothing else links one to the TLS socket that it becomes. */
  readonly #handshaking = new Map<string, NodeSocket>();
  #listening = false;
  /** Removes the file of a Unix socket. */
  #removeFile: (() => Promise<void>) | undefined;

  constructor(
    address: Address,
    tls: ListenTls | undefined,
    events: ListenerEvents,
  ) {
    this.#address = address;
    this.#tls = tls !== undefined;
    this.#events = events;
    this.#server = makeServer(tls);
    this.#subscribe();
  }

  async open(): Promise<Address> {
    const address = this.#address;
    if ("path" in address) {
      // On Windows it is a named pipe, which has no file.
      if (nodeProcess("TCP").platform === "win32") await this.#bind(address);
      else {
        this.#removeFile = await bindUnix(
          address.path,
          (path) => this.#bind({ path }),
        );
      }
      return address;
    }
    await this.#bind(address);
    const bound = this.#server.address();
    return bound && typeof bound !== "string"
      ? { host: address.host, port: bound.port }
      : address;
  }

  setRef(on: boolean): void {
    if (on) this.#server.ref?.();
    else this.#server.unref?.();
  }

  async close(): Promise<void> {
    if (this.#listening) this.#server.close();
    for (const socket of this.#handshaking.values()) socket.destroy();
    await this.#removeFile?.();
  }

  #bind(target: Address): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.on("error", reject);
      this.#server.listen({ ...target, backlog: 511 }, () => {
        this.#listening = true;
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  #subscribe(): void {
    const server = this.#server;
    server.on("error", (error) => {
      if (!this.#listening) return;
      this.#events.fault(
        toConnectionError("Cannot accept a connection", error),
      );
    });
    if (!this.#tls) {
      server.on("connection", (socket) => this.#accept(socket as NodeSocket));
      return;
    }
    server.on("connection", (socket) => this.#handshake(socket as NodeSocket));
    server.on("secureConnection", (socket) => {
      const key = peerKey(socket as NodeSocket);
      if (key !== undefined) this.#handshaking.delete(key);
      this.#accept(socket as NodeSocket);
    });
    server.on("tlsClientError", (error, socket) => {
      const client = socket as NodeSocket | undefined;
      client?.destroy();
      this.#events.fault(
        toConnectionError(
          "TLS handshake failed",
          certificateFault(client) ?? error,
          "unauthenticated",
        ),
      );
    });
  }

  #handshake(socket: NodeSocket): void {
    const key = peerKey(socket);
    // A Unix socket has no key: `close` leaves it to the handshake's timeout.
    if (key === undefined) return;
    this.#handshaking.set(key, socket);
    socket.on("close", () => {
      if (this.#handshaking.get(key) === socket) this.#handshaking.delete(key);
    });
  }

  #accept(socket: NodeSocket): void {
    this.#events.accept(socketDuplex(socket, this.#address, "local"));
  }
}

function makeServer(tls: ListenTls | undefined): NodeServer {
  const options = { allowHalfOpen: true, noDelay: true };
  if (!tls) return builtin("node:net", "TCP").createServer(options);
  return builtin("node:tls", "TLS").createServer({
    ...options,
    cert: tls.cert,
    key: tls.key,
    ca: tls.ca,
    requestCert: tls.requestCert === true,
    rejectUnauthorized: true,
    ALPNProtocols: tls.alpn,
    minVersion: "TLSv1.2",
    handshakeTimeout: HANDSHAKE_TIMEOUT,
  });
}

/** Why the server rejected a client's certificate, if it did. (The error that Node 24 reports then is "socket hang up".) */
function certificateFault(client: NodeSocket | undefined): Error | undefined {
  const code = client?.authorizationError;
  if (!code) return undefined;
  const text = String(code instanceof Error ? code.message : code);
  return Object.assign(new Error(`the client's certificate: ${text}`), {
    code: text,
  });
}

function peerKey(socket: NodeSocket): string | undefined {
  const { remoteAddress, remotePort } = socket;
  return remotePort === undefined
    ? undefined
    : `${remoteAddress} ${remotePort}`;
}
