/**
 * The HTTP handshake before Go's `net/rpc` protocol: the client sends a CONNECT
 * request, the server replies with one status line, and then both use the
 * connection for the protocol itself.
 *
 * Bounds: the head of a request or a response has at most {@linkcode MAX_HEAD}
 * bytes. A server that rejects a request keeps the connection open for at most
 * {@linkcode LINGER_TIME} ms after its response, and reads at most
 * {@linkcode LINGER_BYTES} bytes meanwhile.
 *
 * @module
 */

import { toChunk } from "../base/bytes.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { NO_BYTES } from "../base/bytes.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import { HttpHandshake } from "./handshake.ts";

/**
 * The default path of the handshake, `/_goRPC_`: Go's `rpc.DefaultRPCPath`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RPC_PATH } from "@sluice/rpc/netrpc";
 *
 * assertEquals(RPC_PATH, "/_goRPC_");
 * ```
 */
export const RPC_PATH = "/_goRPC_";

/** The longest head of a request or a response, in bytes. */
const MAX_HEAD = 16 * 1024;
/** How long the server waits for the peer's FIN after it has rejected a request, in ms. */
const LINGER_TIME = 1000;
/** How much the server reads and discards meanwhile, in bytes. */
const LINGER_BYTES = 16 * 1024 * 1024;

const LF = 10;
const CR = 13;

// Responses. The first is Go's; a client must compare its text.
const CONNECTED = "200 Connected to Go RPC";
const NOT_FOUND = "HTTP/1.0 404 Not Found\r\n\r\n";
const MUST_CONNECT =
  "HTTP/1.0 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n405 must CONNECT\n";
const TOO_LARGE = "HTTP/1.0 431 Request Header Fields Too Large\r\n\r\n";
const UNAVAILABLE = "HTTP/1.0 503 Service Unavailable\r\n\r\n";

/** The options of both sides of the handshake. */
export interface HttpOptions {
  /** The path in the request. Default: `/_goRPC_`, as in Go. */
  readonly path?: string | undefined;
  /** Aborts a handshake that has not finished; of a listener, it also closes the listener. */
  readonly signal?: AbortSignal | undefined;
  /** Replaces the system's clock, for tests. */
  readonly clock?: Clock | undefined;
}

/**
 * Makes the client's side of the HTTP handshake, like Go's `rpc.DialHTTP`, and
 * returns the duplex for a client. The server must serve `rpc.HandleHTTP`.
 *
 * The handshake takes at most 10 seconds, and the head of the response at most
 * 16 KiB. If the handshake fails or is aborted, the duplex is destroyed.
 *
 * @throws {TypeError} If `duplex` is not a duplex.
 * @throws {ConnectionError} `unavailable` if the server does not accept, or the
 * connection is lost; `deadline_exceeded` if the handshake takes too long.
 * @throws The reason of `signal`, if that aborts.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 * import { httpConnect, httpListener, netrpc } from "@sluice/rpc/netrpc";
 *
 * const services = { HelloService: { Hello: (name: string) => `hello:${name}` } };
 * const server = new Server(services, { protocol: netrpc() });
 * const listener = await listen({ port: 0 });
 * server.serve(httpListener(listener));
 *
 * const duplex = await httpConnect(await connect(listener.address));
 * const client = new Client<typeof services>(duplex, { protocol: netrpc() });
 * assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
 * await client.close();
 * await server.close();
 * ```
 */
export async function httpConnect(
  duplex: Duplex,
  { path = RPC_PATH, clock = systemClock, signal }: HttpOptions = {},
): Promise<Duplex & DuplexInfo> {
  const handshake = new HttpHandshake(duplex, {
    clock,
    signal,
    refusal: NO_BYTES,
    exchange: async (bytes) => {
      await write(bytes, `CONNECT ${path} HTTP/1.0\n\n`);
      const { head, rest, whole } = await readHead(bytes);
      if (!whole) throw headTooLong();
      const status = /^HTTP\/\d\.\d (.*?)\r?$/m.exec(head)?.[1];
      if (status === CONNECTED) return rest;
      throw new ConnectionError(
        "unavailable",
        `the server did not accept the HTTP handshake: expected "${CONNECTED}", received ${
          quote(status ?? head)
        }`,
      );
    },
  });
  await handshake.run();
  return handshake.duplex;
}

/**
 * Makes the server's side of the HTTP handshake on one duplex, like Go's
 * `rpc.HandleHTTP`, and returns the duplex for a server. For all connections of
 * a listener use {@linkcode httpListener}.
 *
 * A request other than CONNECT is answered with status 405, another path with
 * 404, a head of more than 16 KiB with 431. The handshake takes at most 10
 * seconds. If it fails or is aborted, the duplex is destroyed.
 *
 * @throws {TypeError} If `duplex` is not a duplex.
 * @throws {ConnectionError} `protocol_error` for another request; `unavailable`
 * if the head is too long, or the connection is lost; `deadline_exceeded` if the
 * handshake takes too long.
 * @throws The reason of `signal`, if that aborts.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { httpAccept, httpConnect, netrpc } from "@sluice/rpc/netrpc";
 *
 * const services = { Arith: { Double: (n: number) => 2 * n } };
 * const server = new Server(services, { protocol: netrpc() });
 * const [near, far] = memoryPair();
 * httpAccept(far).then((duplex) => server.accept(duplex));
 *
 * const client = new Client<typeof services>(await httpConnect(near), {
 *   protocol: netrpc(),
 * });
 * assertEquals(await client.call("Arith.Double", 21), 42);
 * await client.close();
 * await server.close();
 * ```
 */
export async function httpAccept(
  duplex: Duplex,
  options: HttpOptions = {},
): Promise<Duplex & DuplexInfo> {
  const handshake = accepting(duplex, options);
  await handshake.run();
  return handshake.duplex;
}

/**
 * Returns a listener whose connections begin with the HTTP handshake, for
 * `server.serve()`. See {@linkcode httpAccept} for the handshake.
 *
 * The handshake of a connection begins when the server first reads from it. So
 * the server counts the connection from the start, a slow handshake delays no
 * other, and a failed one ends its own connection and is reported to `onError`.
 * A server that is full or closes answers with status 503. `close()` closes the
 * given listener.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 * import { httpConnect, httpListener, netrpc } from "@sluice/rpc/netrpc";
 *
 * const services = { Arith: { Double: (n: number) => 2 * n } };
 * const server = new Server(services, { protocol: netrpc() });
 * const listener = await listen({ port: 0 });
 * server.serve(httpListener(listener, { path: "/rpc" }));
 *
 * const tcp = await connect(listener.address);
 * const duplex = await httpConnect(tcp, { path: "/rpc" });
 * const client = new Client<typeof services>(duplex, { protocol: netrpc() });
 * assertEquals(await client.call("Arith.Double", 21), 42);
 * await client.close();
 * await server.close();
 * ```
 */
export function httpListener(
  source: AsyncIterable<Duplex> & { close?: () => unknown },
  options: HttpOptions = {},
): AsyncIterable<Duplex> & { close(): unknown } {
  const { signal } = options;
  let closed: { readonly promise: unknown } | undefined;
  const close = () => {
    signal?.removeEventListener("abort", close);
    return (closed ??= { promise: source.close?.() }).promise;
  };
  signal?.addEventListener("abort", close, { once: true });
  return {
    close,
    async *[Symbol.asyncIterator]() {
      for await (const duplex of source) {
        yield accepting(duplex, options).duplex;
      }
    },
  };
}

/** The server's side of a handshake. */
function accepting(
  duplex: Duplex,
  { path = RPC_PATH, clock = systemClock, signal }: HttpOptions,
): HttpHandshake {
  return new HttpHandshake(duplex, {
    clock,
    signal,
    refusal: utf8(UNAVAILABLE),
    exchange: async (channel, closed) => {
      const { head, rest, whole } = await readHead(channel);
      if (!whole) {
        await reject(channel, clock, TOO_LARGE);
        throw headTooLong();
      }
      const [method, target] = head.split(/[ \r\n]/, 2);
      if (method !== "CONNECT" || target !== path) {
        const response = method === "CONNECT" ? NOT_FOUND : MUST_CONNECT;
        await reject(channel, clock, response);
        const line = quote(head.split(/\r?\n/, 1)[0]);
        throw new ConnectionError(
          "protocol_error",
          `the client did not request Go RPC: expected CONNECT ${path}, received ${line}`,
        );
      }
      // If the duplex was closed meanwhile, status 503 has been sent.
      if (!closed()) await write(channel, `HTTP/1.0 ${CONNECTED}\n\n`);
      return rest;
    },
  });
}

/**
 * Sends a response and FIN, then reads and discards until the peer's FIN. A
 * socket that is closed with unread bytes resets the connection, and a reset
 * destroys a response that the peer has not read yet. Never rejects.
 */
async function reject(
  channel: ByteChannel,
  clock: Clock,
  response: string,
): Promise<void> {
  let timer: unknown;
  try {
    await channel.write([utf8(response)]);
    await channel.close();
    timer = clock.setTimeout(
      () =>
        channel.destroy(
          handshakeError("the client did not close the connection"),
        ),
      LINGER_TIME,
    );
    for (let left = LINGER_BYTES; left > 0;) {
      const { done, value } = await channel.read();
      if (done) return;
      left -= toChunk(value).length;
    }
  } catch {
    // The client is gone, or the time is over.
  } finally {
    clock.clearTimeout(timer);
  }
}

async function write(channel: ByteChannel, text: string): Promise<void> {
  try {
    await channel.write([utf8(text)]);
  } catch (cause) {
    throw handshakeError("the connection was lost", cause);
  }
}

/** The text before an empty line, and the bytes after that line. `whole` is false if the text is too long. */
interface HttpHead {
  readonly head: string;
  readonly rest: Uint8Array;
  readonly whole: boolean;
}

/** Reads up to and including an empty line, and looks at each byte once. */
async function readHead(channel: ByteChannel): Promise<HttpHead> {
  let bytes = new Uint8Array(256);
  let size = 0;
  let blank = false;
  const text = () => String.fromCharCode(...bytes.subarray(0, size));
  for (;;) {
    const { done, value } = await channel.read().catch((error) => {
      throw handshakeError("the connection was lost", error);
    });
    if (done) throw handshakeError("the peer closed the connection");
    const chunk = toChunk(value);
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (byte === LF && blank) {
        return { head: text(), rest: chunk.subarray(i + 1), whole: true };
      }
      if (byte === LF) blank = true;
      else if (byte !== CR) blank = false;
      if (size === MAX_HEAD) return { head: "", rest: NO_BYTES, whole: false };
      if (size === bytes.length) {
        const grown = new Uint8Array(2 * size);
        grown.set(bytes);
        bytes = grown;
      }
      bytes[size++] = byte;
    }
  }
}

function headTooLong(): ConnectionError {
  return handshakeError(`the head has more than ${MAX_HEAD} bytes`);
}

function handshakeError(why: string, cause?: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `the HTTP handshake failed: ${why}`,
    { cause },
  );
}
