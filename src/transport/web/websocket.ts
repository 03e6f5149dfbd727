/**
 * WebSockets as duplexes: standard ones, those of the npm package `ws`, and
 * `WebSocketStream`s.
 *
 * @module
 */

import { ConnectionError } from "../../base/errors.ts";
import { typeName } from "../../base/inspect.ts";
import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import { printUrl } from "../address.ts";
import { nativeDuplex } from "../native_duplex.ts";
import {
  type MessageSocket,
  MessageTransport,
  SUBPROTOCOL,
} from "./message_transport.ts";

/** The members of a standard `WebSocket` that are used; the `ws` package's has them, too. */
export interface WebSocketLike {
  /** 0 while it connects, 1 while it is open. */
  readonly readyState: number;
  /** The subprotocol that the server has chosen. */
  readonly protocol: string;
  /** The address of the server, on a client. */
  readonly url?: string;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** Set to `"arraybuffer"`. */
  binaryType: string;
  /** Sends a message. */
  send(message: Uint8Array<ArrayBuffer>): void;
  /** Closes the socket. */
  close(code?: number, reason?: string): void;
  /** Adds a listener for `open`, `message`, `error` or `close`. */
  addEventListener(
    type: "open" | "message" | "error" | "close",
    listener: (event: WebSocketEventLike) => void,
  ): void;
}

/** What is used of the events of a WebSocket. */
export interface WebSocketEventLike {
  /** The event's name. */
  readonly type?: string;
  /** The message, of `message`. */
  readonly data?: unknown;
  /** The close code, of `close`. */
  readonly code?: number;
  /** The text beside it. */
  readonly reason?: string;
  /** What has failed, of `error`, where the platform tells. */
  readonly error?: unknown;
  /** The same as text. */
  readonly message?: string;
}

/** The members of a `WebSocketStream` that are used. */
export interface WebSocketStreamLike {
  /** The address of the server. */
  readonly url?: string;
  /** Resolves when it is open. */
  readonly opened: Promise<{
    readonly readable: ReadableStream<unknown>;
    readonly writable: WritableStream<unknown>;
    readonly protocol: string;
  }>;
  /** Resolves when it is closed. */
  readonly closed: Promise<{
    readonly closeCode?: number;
    readonly reason?: string;
  }>;
  /** Closes the socket. */
  close(info?: { closeCode?: number; reason?: string }): void;
}

/**
 * A duplex over a WebSocket, which may still be connecting. The socket belongs
 * to the duplex from then on.
 *
 * The client must offer the subprotocol `sluice.1`, and the server must choose
 * it; see {@linkcode webSockets}. `writable.close()` sends an empty message, the
 * end of that direction, and once both directions have ended the socket is
 * closed. A write settles when at most 256 KiB wait in the socket. A socket that
 * can pause (of `ws`) and a `WebSocketStream` are read no faster than the
 * duplex; any other is closed if more than 64 MiB wait to be read. A client or
 * server reads all the time, so its windows bound what waits there.
 *
 * The duplex fails with a {@linkcode ConnectionError}: `protocol_error` for
 * another subprotocol and for a text message, `resource_exhausted` for a message
 * above 1 MiB, else what the peer's close code says, by default `unavailable`.
 *
 * A WebSocket has no `unref`: it keeps a process alive until it is closed.
 *
 * @param socket A `WebSocket` of a page, of Deno, Bun, Node or `ws`, or a
 *   `WebSocketStream`.
 * @returns The duplex.
 * @throws {TypeError} If it is none of these.
 * @throws {ConnectionError} `unavailable` if it is closed or closing;
 *   `protocol_error` if it is open with another subprotocol.
 *
 * @example
 * ```ts ignore
 * import { Client, fromWebSocket } from "@sluice/rpc/client";
 *
 * const socket = new WebSocket("wss://example.com/rpc", "sluice.1");
 * const client = new Client<Services>(fromWebSocket(socket));
 * ```
 */
export function fromWebSocket(
  socket: WebSocketLike | WebSocketStreamLike,
): Duplex & DuplexInfo {
  const remote = socket?.url ? printUrl(new URL(socket.url)) : undefined;
  return adaptWebSocket(socket, { remote });
}

/** As {@linkcode fromWebSocket}, with what is known of the connection. */
export function adaptWebSocket(
  socket: WebSocketLike | WebSocketStreamLike,
  info: DuplexInfo,
): Duplex & DuplexInfo {
  const transport = isStream(socket)
    ? streamTransport(socket)
    : socketTransport(checkSocket(socket));
  return nativeDuplex(transport.readHalf, transport, info);
}

function isStream(
  socket: WebSocketLike | WebSocketStreamLike,
): socket is WebSocketStreamLike {
  const { opened } = (socket ?? {}) as Partial<WebSocketStreamLike>;
  return typeof opened?.then === "function";
}

/** `readyState` of a socket that is not open yet. */
export const CONNECTING = 0;
const OPEN = 1;

function checkSocket(socket: WebSocketLike): WebSocketLike {
  const { send, addEventListener, readyState, protocol } =
    (socket ?? {}) as Partial<WebSocketLike>;
  if (typeof send !== "function" || typeof addEventListener !== "function") {
    throw new TypeError(
      `Cannot adapt: expected a WebSocket, received ${typeName(socket)}`,
    );
  }
  if (readyState !== CONNECTING && readyState !== OPEN) {
    throw new ConnectionError(
      "unavailable",
      "Cannot adapt: the WebSocket is closed",
    );
  }
  // Not every server's socket knows the subprotocol that its server has chosen.
  if (protocol && protocol !== SUBPROTOCOL) {
    throw new ConnectionError(
      "protocol_error",
      `Cannot adapt: the WebSocket has the subprotocol ${
        JSON.stringify(protocol)
      }, not "${SUBPROTOCOL}"`,
    );
  }
  return socket;
}

/** The members that the `ws` package's sockets have besides. */
interface WsSocket extends WebSocketLike {
  pause?(): void;
  resume?(): void;
  terminate?(): void;
}

/**
 * Deno 2.9.5 writes a client's message of more than 1,024 bytes in two parts, its
 * header first, and has not turned Nagle's algorithm off: unless the second part
 * fills a packet, it waits until the server has acknowledged the first. That takes
 * 40 ms, or until the server sends something. So a batch of calls begins with a
 * message that the server can answer; one call of 1 to 64 KiB still waits.
 */
const DENO_SHORT_MESSAGE = 1024;

function isDenoClient(socket: WsSocket): boolean {
  return "Deno" in globalThis && isStandard(socket) && !!socket.url;
}

function isStandard(socket: WsSocket): boolean {
  const { WebSocket } = globalThis as { WebSocket?: unknown };
  return typeof WebSocket === "function" && socket instanceof WebSocket;
}

function socketTransport(socket: WsSocket): MessageTransport {
  socket.binaryType = "arraybuffer";
  const pauses = typeof socket.pause === "function" &&
    typeof socket.resume === "function";
  const adapted: MessageSocket = {
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    // As the standard says. The `ws` package passes a message on as it is.
    copies: isStandard(socket),
    shortMessage: isDenoClient(socket) ? DENO_SHORT_MESSAGE : undefined,
    send: (message) => socket.send(message),
    close: (code, reason) => socket.close(code, reason),
    pause: pauses ? () => socket.pause?.() : undefined,
    resume: pauses ? () => socket.resume?.() : undefined,
    terminate: typeof socket.terminate === "function"
      ? () => socket.terminate?.()
      : undefined,
  };
  const transport = new MessageTransport(adapted, socket.readyState === OPEN);
  const on = (
    type: "open" | "message" | "error" | "close",
    listener: (event: WebSocketEventLike) => void,
  ) => socket.addEventListener(type, listener);
  // Only a client's socket has a URL; a server's does not everywhere know what its server has chosen.
  const isClient = !!socket.url;
  on("open", () => transport.onOpen(isClient ? socket.protocol : SUBPROTOCOL));
  on("message", ({ data }) => transport.onMessage(data));
  on("error", ({ error, message }) => {
    transport.onError(error ?? message);
    // Node 22 reports nothing else of a socket that does not open.
    if (socket.readyState === CONNECTING) transport.onClose(1006, "");
  });
  on("close", ({ code, reason }) => {
    transport.onClose(code ?? 1006, reason ?? "");
  });
  return transport;
}

/** Reads one message after the other, and only while there is capacity. */
function streamTransport(socket: WebSocketStreamLike): MessageTransport {
  let writer: WritableStreamDefaultWriter<unknown> | undefined;
  let resumed: (() => void) | undefined;
  let paused = false;
  let closed = false;
  const transport = new MessageTransport({
    // A write settles when the socket has room for the next message.
    bufferedAmount: 0,
    // A write that waits, or that was given up, still has its message.
    copies: false,
    send: (message) => writer!.write(message),
    close: (closeCode, reason) => socket.close({ closeCode, reason }),
    pause: () => {
      paused = !closed;
    },
    resume: () => {
      paused = false;
      resumed?.();
    },
  }, false);
  const read = async () => {
    const { readable, writable, protocol } = await socket.opened;
    writer = writable.getWriter();
    writer.closed.catch(() => {});
    transport.onOpen(protocol);
    const reader = readable.getReader();
    for (;;) {
      if (paused) await new Promise<void>((resolve) => resumed = resolve);
      const { done, value } = await reader.read();
      if (done) return;
      transport.onMessage(value);
    }
  };
  const reading = read().catch((error) => transport.onError(error));
  const onClosed = async (info: { closeCode?: number; reason?: string }) => {
    closed = true;
    paused = false;
    resumed?.();
    // What arrived before the close is read before it.
    await reading;
    transport.onClose(info?.closeCode ?? 1006, info?.reason ?? "");
  };
  socket.closed.then(onClosed, (error) => {
    transport.onError(error);
    return onClosed(error);
  });
  return transport;
}
