/**
 * What listens by `node:net` and `node:tls`.
 *
 * Invariant owned here: a connection that is not yet handed over is in its TLS
 * handshake, has its time for that, and is destroyed by `close`.
 *
 * @module
 */

import { type Address, faultOf, type ListenTls } from "./address.ts";
import {
  builtin,
  nodeProcess,
  type NodeServer,
  type NodeSocket,
} from "./node_builtins.ts";
import { socketDuplex } from "./node_stream.ts";
import {
  HANDSHAKE_TIMEOUT,
  type ListenerBackend,
  type ListenerEvents,
} from "./listener_backend.ts";
import { bindUnix } from "./unix_socket_file.ts";

/** A `net.Server` or `tls.Server`. */
export class NodeListenerBackend implements ListenerBackend {
  readonly #address: Address;
  readonly #tls: boolean;
  readonly #sink: ListenerEvents;
  readonly #server: NodeServer;
  /** In their handshake, by the peer's address: the TLS socket that comes of it tells no other link. */
  readonly #shaking = new Map<string, NodeSocket>();
  #listening = false;
  #unbind: (() => Promise<void>) | undefined;

  constructor(
    address: Address,
    tls: ListenTls | undefined,
    sink: ListenerEvents,
  ) {
    this.#address = address;
    this.#tls = tls !== undefined;
    this.#sink = sink;
    this.#server = makeServer(tls);
    this.#subscribe();
  }

  async open(): Promise<Address> {
    const address = this.#address;
    if ("path" in address) {
      // On Windows a named pipe: no file, no mode, no name left behind.
      if (nodeProcess("TCP").platform === "win32") await this.#bind(address);
      else {
        this.#unbind = await bindUnix(
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
    for (const raw of this.#shaking.values()) raw.destroy();
    await this.#unbind?.();
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
      this.#sink.fault(faultOf("Cannot accept a connection", error));
    });
    if (!this.#tls) {
      server.on("connection", (socket) => this.#arrived(socket as NodeSocket));
      return;
    }
    server.on("connection", (raw) => this.#shake(raw as NodeSocket));
    server.on("secureConnection", (socket) => {
      const key = peerKey(socket as NodeSocket);
      if (key !== undefined) this.#shaking.delete(key);
      this.#arrived(socket as NodeSocket);
    });
    server.on("tlsClientError", (error, socket) => {
      const client = socket as NodeSocket | undefined;
      client?.destroy();
      this.#sink.fault(
        faultOf(
          "TLS handshake failed",
          untrusted(client) ?? error,
          "unauthenticated",
        ),
      );
    });
  }

  #shake(raw: NodeSocket): void {
    const key = peerKey(raw);
    // A Unix socket has no key: its handshake ends by itself, or in time.
    if (key === undefined) return;
    this.#shaking.set(key, raw);
    raw.on("close", () => {
      if (this.#shaking.get(key) === raw) this.#shaking.delete(key);
    });
  }

  #arrived(socket: NodeSocket): void {
    this.#sink.accept(socketDuplex(socket, this.#address, "local"));
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

/** Node 24 says "socket hang up" of a client that it has turned away itself for its certificate. */
function untrusted(client: NodeSocket | undefined): Error | undefined {
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
