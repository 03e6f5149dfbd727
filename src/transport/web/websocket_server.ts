/**
 * An HTTP server that has nothing but one path for WebSockets: what `listen`
 * makes of a URL `ws:` or `wss:`.
 *
 * @module
 */

import { ConnectionError } from "../../base/errors.ts";
import type { ListenAddress, ListenTls } from "../address.ts";
import {
  HANDSHAKE_TIMEOUT,
  type ListenerBackend,
  type ListenerEvents,
} from "../sockets/listener_backend.ts";
import { builtin } from "../sockets/node_builtins.ts";
import { toConnectionError } from "../system_errors.ts";
import {
  type FetchInfo,
  pathOf,
  type UpgradeOptions,
  WebSocketUpgrade,
  writeRefusal,
} from "./websocket_upgrade.ts";

/** Options of the server. */
export interface WebSocketServerOptions extends UpgradeOptions {
  readonly tls?: ListenTls | undefined;
}

/** What is used of each runtime's HTTP server. */
interface HttpServer {
  /** The port that it listens at. */
  readonly port: number;
  ref(): void;
  unref(): void;
  /** Stops listening. Upgraded connections live on. */
  close(): void | Promise<void>;
}

/** Where to listen, in the form of Deno and Bun. */
interface ServeOptions {
  readonly hostname: string;
  readonly port: number;
  readonly tls: ListenTls | undefined;
  readonly fetch: (request: Request, info: FetchInfo) => Response;
}

/** Listens for WebSockets with the HTTP server of the runtime. */
export class WebSocketListenerBackend implements ListenerBackend {
  readonly #url: URL;
  readonly #tls: ListenTls | undefined;
  readonly #events: ListenerEvents;
  readonly #upgrade: WebSocketUpgrade;
  #server: HttpServer | undefined;

  constructor(
    url: URL,
    options: WebSocketServerOptions,
    events: ListenerEvents,
  ) {
    const secure = url.protocol === "wss:";
    if (secure !== (options.tls !== undefined)) {
      throw new TypeError(
        secure
          ? "Cannot listen: wss: needs the option tls"
          : "Cannot listen: use wss: in place of ws: for TLS",
      );
    }
    const { Deno } = globalThis as Runtimes;
    if (Deno?.serve && options.tls?.requestCert) {
      throw new TypeError(
        "Cannot listen: Deno cannot request client certificates; use Node or Bun",
      );
    }
    this.#url = url;
    this.#tls = options.tls;
    this.#events = events;
    this.#upgrade = new WebSocketUpgrade(events, options);
  }

  async open(): Promise<ListenAddress> {
    const { protocol, hostname, port, pathname } = this.#url;
    const { Deno, Bun } = globalThis as Runtimes;
    const options: ServeOptions = {
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? (this.#tls ? 443 : 80) : Number(port),
      tls: this.#tls,
      fetch: (request, info) =>
        pathOf(request.url) === pathname
          ? this.#upgrade.upgrade(request, info)
          : new Response("not found\n", { status: 404 }),
    };
    const server = this.#server = Deno?.serve
      ? serveDeno(Deno, options, this.#upgrade)
      : Bun
      ? serveBun(Bun, options, this.#upgrade)
      : await this.#serveNode(options);
    return { url: `${protocol}//${hostname}:${server.port}${pathname}` };
  }

  setRef(on: boolean): void {
    if (on) this.#server?.ref();
    else this.#server?.unref();
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  async #serveNode({ hostname, port, tls }: ServeOptions): Promise<HttpServer> {
    const server = tls
      ? builtin("node:https", "WebSockets").createServer({
        ...tls,
        handshakeTimeout: HANDSHAKE_TIMEOUT,
      })
      : builtin("node:http", "WebSockets").createServer({});
    const { pathname } = this.#url;
    server.on("request", (_request, response) => {
      response.writeHead(426, { upgrade: "websocket" });
      response.end("this address is for WebSockets\n");
    });
    server.on("upgrade", (request, socket, head) => {
      if (pathOf(request.url ?? "/") === pathname) {
        this.#upgrade.handleUpgrade(request, socket, head);
      } else writeRefusal(socket, [404, "not found"]);
    });
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject);
      server.listen({ host: hostname, port }, () => resolve());
    });
    server.on("error", (error) => {
      const what = "Cannot accept a connection";
      this.#events.fault(toConnectionError(what, error));
    });
    // Node has destroyed the socket.
    server.on("tlsClientError", (error) => {
      const what = "TLS handshake failed";
      this.#events.fault(toConnectionError(what, error, "unauthenticated"));
    });
    const { port: bound } = server.address() as { port: number };
    return {
      port: bound,
      ref: () => server.ref(),
      unref: () => server.unref(),
      close: () => {
        server.close();
        // Those that have sent no request, or were refused.
        server.closeAllConnections();
      },
    };
  }
}

/** The members of runtimes that are used. */
interface Runtimes {
  readonly Deno?: { readonly serve?: unknown };
  readonly Bun?: object;
}

/** The members of a `Deno.HttpServer` that are used. */
interface DenoHttpServer {
  readonly addr: { readonly port: number };
  ref(): void;
  unref(): void;
  readonly finished: Promise<void>;
}

function serveDeno(
  deno: object,
  { hostname, port, tls, fetch }: ServeOptions,
  upgrade: WebSocketUpgrade,
): HttpServer {
  const { serve } = deno as {
    serve(options: object, handler: ServeOptions["fetch"]): DenoHttpServer;
  };
  const stop = new AbortController();
  const server = serve({
    hostname,
    port,
    signal: stop.signal,
    ...(tls && { cert: tls.cert, key: tls.key }),
    onListen() {},
  }, fetch);
  return {
    port: server.addr.port,
    ref: () => server.ref(),
    unref: () => server.unref(),
    close: async () => {
      // Deno 2.9.5 closes every WebSocket when it stops to listen.
      if (upgrade.busy) return void upgrade.idle().then(() => stop.abort());
      // Not `shutdown()`: it waits for clients that never finish their handshake.
      stop.abort();
      await server.finished;
    },
  };
}

/** The members of Bun's `Server` that are used. */
interface BunHttpServer {
  readonly port: number;
  ref(): void;
  unref(): void;
  stop(closeActiveConnections?: boolean): Promise<void>;
}

function serveBun(
  bun: object,
  options: ServeOptions,
  { bun: websocket }: WebSocketUpgrade,
): HttpServer {
  const { serve } = bun as { serve(options: object): BunHttpServer };
  let server: BunHttpServer;
  try {
    server = serve({ ...options, websocket });
  } catch (error) {
    // Bun's error has the code only in its text.
    if (!/EADDRINUSE|in use/.test(String(error))) throw error;
    throw new ConnectionError(
      "address_in_use",
      `Cannot listen at ${options.hostname}:${options.port}: address already in use`,
      { cause: error },
    );
  }
  return {
    port: server.port,
    ref: () => server.ref(),
    unref: () => server.unref(),
    close: () => void server.stop(),
  };
}
