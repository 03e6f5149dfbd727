/**
 * Turns HTTP requests into connections, on Deno, Bun and Node.
 *
 * Invariants:
 * - A request is upgraded only if it offers the subprotocol, and its `Origin` is
 *   allowed: a browser lets every page open a WebSocket to every server, with
 *   the user's cookies.
 * - A request that is refused gets an HTTP response that says why.
 * - Nothing that a client sends makes a method throw: on Node that would end the
 *   process, and Deno and Bun would print it.
 *
 * @module
 */

import { ConnectionError } from "../../base/errors.ts";
import { typeName } from "../../base/inspect.ts";
import type { DuplexInfo, UpgradeRequest } from "../../types/duplex.ts";
import { printAddress } from "../address.ts";
import { nativeDuplex } from "../native_duplex.ts";
import type { ListenerEvents } from "../sockets/listener_backend.ts";
import type {
  NodeRequest,
  NodeUpgradeSocket,
} from "../sockets/node_builtins.ts";
import { toConnectionError } from "../system_errors.ts";
import {
  MAX_MESSAGE,
  type MessageSocket,
  MessageTransport,
  SUBPROTOCOL,
} from "./message_transport.ts";
import { adaptWebSocket, type WebSocketLike } from "./websocket.ts";

/** Which requests become WebSockets, and with what. */
export interface UpgradeOptions {
  /**
   * Which pages may connect, by the `Origin` that their browser sends: a list
   * such as `["https://example.com"]`, a function, or `"*"` for all. By default
   * only pages of the same host and port as the server, as its `Host` header
   * says. Requests without `Origin`, which are not from pages, always may.
   *
   * Give a list to a server that only this machine or a private network can
   * reach. By DNS rebinding, a foreign page can give its own host name the
   * address of the server, and the default would take it for the server's own.
   */
  allowOrigins?:
    | "*"
    | readonly string[]
    | ((origin: string) => boolean)
    | undefined;
  /** The class `WebSocketServer` of the npm package `ws`, which Node needs: it has no WebSocket server of its own. */
  WebSocketServer?: WsServerClass | undefined;
}

/** The class `WebSocketServer` of the npm package `ws`. */
export type WsServerClass = new (options: never) => WsServer;

/** The members of a `WebSocketServer` of `ws` that are used. */
export interface WsServer {
  /** Answers the request, and calls `done` with the open socket. */
  handleUpgrade(
    request: never,
    socket: never,
    head: never,
    done: (socket: WebSocketLike) => void,
  ): void;
}

/** What a runtime passes to a `fetch` handler beside the request: the server on Bun, the peer's address on Deno. */
export interface FetchInfo {
  /** The peer's address, on Deno. */
  readonly remoteAddr?: unknown;
  /** Upgrades a request, on Bun. */
  upgrade?(request: Request, options: never): boolean;
  /** The peer's address, on Bun. */
  requestIP?(request: Request): unknown;
}

/** Handlers for the option `websocket` of `Bun.serve`. */
export interface BunWebSocketHandlers {
  /** The largest message that is accepted, in bytes. */
  readonly maxPayloadLength: number;
  /** Whether messages are compressed: no. */
  readonly perMessageDeflate: boolean;
  /** A request was upgraded. */
  open(socket: BunSocket): void;
  /** A message has arrived. */
  message(socket: BunSocket, message: string | Uint8Array): void;
  /** The socket has room again. */
  drain(socket: BunSocket): void;
  /** The socket is closed. */
  close(socket: BunSocket, code: number, reason: string): void;
}

/** The members of Bun's `ServerWebSocket` that are used. */
export interface BunSocket {
  /** What was passed when the request was upgraded. */
  readonly data: unknown;
  /** How messages are given to handlers. */
  binaryType?: unknown;
  /** Sends a message; returns 0 if it was dropped. */
  send(message: Uint8Array<ArrayBuffer>, compress?: boolean): number;
  /** Bytes that wait in the socket. */
  getBufferedAmount(): number;
  /** Closes the socket. */
  close(code?: number, reason?: string): void;
  /** Ends the socket at once. */
  terminate(): void;
}

/** Upgrades requests, and passes the connections on. */
export class WebSocketUpgrade {
  readonly #events: ListenerEvents;
  readonly #options: UpgradeOptions;
  #ws: WsServer | undefined;
  /** Open sockets of Deno's. */
  #open = 0;
  #onIdle: (() => void) | undefined;

  /** @throws {TypeError} If `allowOrigins` is none of these, or `WebSocketServer` is missing on Node. */
  constructor(events: ListenerEvents, options: UpgradeOptions) {
    const { allowOrigins: allow } = options;
    // The `includes` of a string would allow parts of it.
    const valid = allow === undefined || allow === "*" ||
      typeof allow === "function" || Array.isArray(allow);
    if (!valid) {
      throw new TypeError(
        `Cannot use allowOrigins: give a list, a function or "*", received ${
          typeName(allow)
        }`,
      );
    }
    for (const origin of Array.isArray(allow) ? allow : []) {
      if (isOrigin(origin)) continue;
      throw new TypeError(
        `Cannot use allowOrigins: ${
          JSON.stringify(origin)
        } is not the origin of a page, such as "https://example.com"`,
      );
    }
    // Now, and not in the event of the first request.
    const needsWs = !("Deno" in globalThis) && !("Bun" in globalThis);
    if (needsWs && options.WebSocketServer === undefined) {
      throw new TypeError(NEEDS_WS);
    }
    this.#events = events;
    this.#options = options;
  }

  /** On Deno and Bun; returns what the handler must return. */
  readonly upgrade = (request: Request, info: FetchInfo = {}): Response => {
    const { url, headers } = request;
    const seen: UpgradeRequest = { url, headers: new Headers(headers) };
    const refusal = this.#refuse(request.method, seen);
    if (refusal) return toResponse(refusal);
    if (typeof info.upgrade === "function") {
      return this.#upgradeBun(request, seen, info as BunServer);
    }
    const { Deno } = globalThis as unknown as { Deno?: DenoUpgrade };
    if (typeof Deno?.upgradeWebSocket !== "function") {
      throw new TypeError(
        "Cannot upgrade: on Bun pass its server as the second argument; on Node use handleUpgrade",
      );
    }
    // Before the upgrade, after which Deno no longer knows it.
    const remote = addressOf(info.remoteAddr);
    let upgraded: ReturnType<DenoUpgrade["upgradeWebSocket"]>;
    try {
      upgraded = Deno.upgradeWebSocket(request, { protocol: SUBPROTOCOL });
    } catch (error) {
      // A header is missing or malformed, or the request is not Deno's own.
      this.#events.fault(toConnectionError(CANNOT_UPGRADE, error));
      return toResponse(MALFORMED);
    }
    const { socket, response } = upgraded;
    this.#open++;
    socket.addEventListener("close", () => {
      this.#open--;
      if (this.#open === 0) this.#onIdle?.();
    });
    this.#events.accept(adaptWebSocket(socket, { remote, request: seen }));
    return response;
  };

  /** Resolves when no socket of Deno's is open. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle = resolve);
  }

  /** Whether a socket of Deno's is open. */
  get busy(): boolean {
    return this.#open > 0;
  }

  #upgradeBun(
    request: Request,
    seen: UpgradeRequest,
    server: BunServer,
  ): Response {
    const remote = addressOf(server.requestIP(request));
    const data = new BunConnection({ remote, request: seen }, this.#events);
    const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
    const upgraded = server.upgrade(request, { data, headers });
    // Bun ignores the response of a request that was upgraded.
    return upgraded ? new Response(null) : toResponse(NOT_WEBSOCKET);
  }

  /** For the option `websocket` of `Bun.serve`. */
  readonly bun: BunWebSocketHandlers = {
    maxPayloadLength: MAX_MESSAGE,
    perMessageDeflate: false,
    open: (socket) => ours(socket)?.open(socket),
    message: (socket, message) => ours(socket)?.transport?.onMessage(message),
    drain: (socket) => ours(socket)?.transport?.onDrain(),
    close: (socket, code, reason) =>
      ours(socket)?.transport?.onClose(code, reason),
  };

  /** On Node: a listener for the event `upgrade` of an HTTP server. */
  readonly handleUpgrade = (
    request: NodeRequest,
    socket: NodeUpgradeSocket,
    head: Uint8Array,
  ): void => {
    try {
      this.#upgradeNode(request, socket, head);
    } catch (error) {
      // There is no class of `ws`, or another listener has upgraded the request.
      this.#events.fault(toConnectionError(CANNOT_UPGRADE, error));
      writeRefusal(socket, [500, "the server cannot upgrade the request"]);
    }
  };

  #upgradeNode(
    request: NodeRequest,
    socket: NodeUpgradeSocket,
    head: Uint8Array,
  ): void {
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) {
      if (value !== undefined) headers.set(name, String(value));
    }
    const seen: UpgradeRequest = { url: request.url ?? "/", headers };
    const refusal = this.#refuse(request.method, seen);
    if (refusal) return writeRefusal(socket, refusal);
    const { remoteAddress, remotePort } = request.socket;
    const info = {
      remote: addressOf({ hostname: remoteAddress, port: remotePort }),
      request: seen,
    };
    // `ws` takes the request and the socket back as they came.
    this.#server().handleUpgrade(
      request as never,
      socket as never,
      head as never,
      (ws: WebSocketLike) => this.#events.accept(adaptWebSocket(ws, info)),
    );
  }

  #server(): WsServer {
    if (this.#ws !== undefined) return this.#ws;
    const { WebSocketServer } = this.#options;
    if (typeof WebSocketServer !== "function") {
      throw new TypeError(NEEDS_WS);
    }
    const settings = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
      handleProtocols: () => SUBPROTOCOL,
    };
    return this.#ws = new WebSocketServer(settings as never);
  }

  #refuse(
    method: string | undefined,
    { headers }: UpgradeRequest,
  ): Refusal | undefined {
    const upgrade = headers.get("upgrade") ?? "";
    if (method !== "GET" || upgrade.toLowerCase() !== "websocket") {
      return NOT_WEBSOCKET;
    }
    const offered = (headers.get("sec-websocket-protocol") ?? "").split(",");
    if (!offered.some((protocol) => protocol.trim() === SUBPROTOCOL)) {
      return [400, `offer the subprotocol ${SUBPROTOCOL}`];
    }
    const origin = headers.get("origin");
    if (origin !== null && !this.#allows(origin, headers)) {
      return [403, "pages of this origin may not connect"];
    }
    if (this.#events.full) return [503, "the server accepts no connections"];
    return undefined;
  }

  #allows(origin: string, headers: Headers): boolean {
    const { allowOrigins } = this.#options;
    if (allowOrigins === "*") return true;
    try {
      // Not whatever is truthy: the promise of an async function is.
      if (typeof allowOrigins === "function") {
        return allowOrigins(origin) === true;
      }
      if (allowOrigins !== undefined) return allowOrigins.includes(origin);
      const { protocol, host } = new URL(origin);
      // A proxy may add the default port, which an origin never has.
      return host === new URL(`${protocol}//${headers.get("host")}`).host;
    } catch (error) {
      // The user's function has failed, or the origin is "null".
      if (typeof allowOrigins === "function") {
        this.#events.fault(toConnectionError("allowOrigins failed", error));
      }
      return false;
    }
  }
}

/** Whether browsers may send it as `Origin`: no slash at the end, no default port, in lower case. */
function isOrigin(text: unknown): boolean {
  try {
    return text === "null" || new URL(String(text)).origin === text;
  } catch {
    return false;
  }
}

/** The status and the text of a response. */
type Refusal = readonly [number, string];

const NOT_WEBSOCKET: Refusal = [426, "this address is for WebSockets"];
const MALFORMED: Refusal = [400, "this is no valid request for a WebSocket"];

const NEEDS_WS =
  "Cannot accept WebSockets: Node needs the option WebSocketServer, a class of the npm package ws";

const CANNOT_UPGRADE = "Cannot upgrade a request";

/** The path of a request, or `undefined` if its target or its `Host` header, which are the client's, make no URL. */
export function pathOf(url: string): string | undefined {
  try {
    return new URL(url, "ws://host").pathname;
  } catch {
    return undefined;
  }
}

function toResponse([status, text]: Refusal): Response {
  const headers: Record<string, string> = { "content-type": "text/plain" };
  if (status === 426) Object.assign(headers, { upgrade: "websocket" });
  return new Response(`${text}\n`, { status, headers });
}

/** Answers a request on a raw socket of Node, and closes it. */
export function writeRefusal(
  socket: NodeUpgradeSocket,
  [status, text]: Refusal,
): void {
  // The client may be gone already.
  socket.on("error", () => {});
  const lines = [
    `HTTP/1.1 ${status} Refused`,
    "Connection: close",
    "Content-Type: text/plain",
    `Content-Length: ${text.length + 1}`,
    ...(status === 426 ? ["Upgrade: websocket"] : []),
  ];
  const response = `${lines.join("\r\n")}\r\n\r\n${text}\n`;
  socket.end(response, () => socket.destroy());
}

/** The members of `Deno` that are used. */
interface DenoUpgrade {
  upgradeWebSocket(
    request: Request,
    options: { protocol: string },
  ): { socket: WebSocketLike; response: Response };
}

/** The members of Bun's `Server` that are used. */
interface BunServer {
  upgrade(
    request: Request,
    options: { data: object; headers: Record<string, string> },
  ): boolean;
  requestIP(request: Request): unknown;
}

/** A peer's address as text, in the form of Deno, of Bun, or of a Node socket. */
function addressOf(value: unknown): string | undefined {
  const { hostname, address, port } = (value ?? {}) as Record<string, unknown>;
  const host = hostname ?? address;
  return typeof host === "string" && typeof port === "number"
    ? printAddress({ host, port })
    : undefined;
}

/** What a socket of Bun's server carries as its `data`: Bun calls handlers of the server, not of the socket. */
class BunConnection {
  transport: MessageTransport | undefined;
  readonly #info: DuplexInfo;
  readonly #events: ListenerEvents;

  constructor(info: DuplexInfo, events: ListenerEvents) {
    this.#info = info;
    this.#events = events;
  }

  open(socket: BunSocket): void {
    socket.binaryType = "uint8array";
    const adapted: MessageSocket = {
      get bufferedAmount() {
        return socket.getBufferedAmount();
      },
      copies: true,
      send: (message) => {
        // 0 for an empty message that was sent, too.
        if (socket.send(message) !== 0 || message.length === 0) return;
        throw new ConnectionError("unavailable", "the socket is closed");
      },
      close: (code, reason) => socket.close(code, reason),
      terminate: () => socket.terminate(),
    };
    const transport = this.transport = new MessageTransport(adapted, true);
    this.#events.accept(
      nativeDuplex(transport.readHalf, transport, this.#info),
    );
  }
}

/** The connection of a socket that this library has upgraded. */
function ours({ data }: BunSocket): BunConnection | undefined {
  return data instanceof BunConnection ? data : undefined;
}
