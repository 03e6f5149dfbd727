/**
 * The HTTP CONNECT handshake that Go's `net/rpc` can begin with: one request,
 * one line of answer, and from then on the wire itself.
 *
 * Invariants owned here:
 * - A head is bounded in bytes, and kept as bytes.
 * - Who does not ask for Go's wire is answered so that the answer arrives.
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
import { closeUnopened } from "../connection/unopened.ts";
import { Handshake } from "./handshake.ts";

/** Where Go serves `net/rpc` unless it is told otherwise. */
export const RPC_PATH = "/_goRPC_";

/** Most bytes of a head. */
const MAX_HEAD = 16 * 1024;

const LF = 10;
const CR = 13;

const CONNECTED = "200 Connected to Go RPC";
const UNAVAILABLE = utf8("HTTP/1.0 503 Service Unavailable\r\n\r\n");

/** Options of both ends' handshakes. */
export interface HttpOptions {
  /** The path; Go's own, `/_goRPC_`, unless given. */
  readonly path?: string | undefined;
  /** Gives a handshake up that is not over. */
  readonly signal?: AbortSignal | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

/**
 * Dials over HTTP, as Go's `rpc.DialHTTP`: asks the server at the other end of
 * `duplex` to switch, and returns the duplex to give to a client.
 *
 * @throws {TypeError} If it is no duplex.
 * @throws {ConnectionError} `unavailableError`, if the server does not switch;
 * `deadline_exceeded`, if it says nothing for 10 seconds. The duplex is closed
 * then; so it is if the signal's reason is thrown.
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
  const handshake = new Handshake(duplex, {
    clock,
    signal,
    refusal: NO_BYTES,
    shake: async (bytes) => {
      await write(bytes, `CONNECT ${path} HTTP/1.0\n\n`);
      const { head, rest, whole } = await readHead(bytes);
      if (!whole) throw tooLong();
      const status = /^HTTP\/\d\.\d (.*?)\r?$/m.exec(head)?.[1];
      if (status === CONNECTED) return rest;
      throw new ConnectionError(
        "unavailable",
        `unexpected HTTP response: ${quote(status ?? head)}`,
      );
    },
  });
  await handshake.run();
  return handshake.duplex;
}

/**
 * Answers the handshake on one duplex, as Go's `rpc.HandleHTTP`; anything but
 * a CONNECT to the path is answered 405 or 404, and closed.
 *
 * @throws {TypeError} If it is no duplex.
 * @throws {ConnectionError} If the caller does not want to switch, or says
 * nothing for 10 seconds. The duplex is closed then; so it is if the signal's
 * reason is thrown.
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
 * Has the duplexes of a listener begin with their handshakes, which take place
 * when they are read: a server counts them among its connections from the
 * start. One that fails ends its connection, and no other. `close` closes the
 * listener.
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

/** The server's end of a handshake. */
function accepting(
  duplex: Duplex,
  { path = RPC_PATH, clock = systemClock, signal }: HttpOptions,
): Handshake {
  return new Handshake(duplex, {
    clock,
    signal,
    refusal: UNAVAILABLE,
    shake: async (bytes, closed) => {
      const refuse = async (answer: string, reason: ConnectionError) => {
        const text = utf8(answer);
        const { over } = closeUnopened(bytes, clock, (sendBuffer) => {
          const at = sendBuffer.reserve(text.length);
          sendBuffer.bytes.set(text, at);
        });
        await over;
        return reason;
      };
      const { head, rest, whole } = await readHead(bytes);
      if (!whole) {
        throw await refuse(TOO_LARGE, tooLong());
      }
      const [method, target] = head.split(/[ \r\n]/, 2);
      if (method !== "CONNECT" || target !== path) {
        const line = quote(head.split(/\r?\n/, 1)[0]);
        const reason = new ConnectionError(
          "protocol_error",
          `the caller does not ask for Go RPC: ${line}`,
        );
        const answer = method === "CONNECT" ? NOT_FOUND : MUST_CONNECT;
        throw await refuse(answer, reason);
      }
      // It has been told already that nobody serves it.
      if (!closed()) await write(bytes, `HTTP/1.0 ${CONNECTED}\n\n`);
      return rest;
    },
  });
}

const NOT_FOUND = "HTTP/1.0 404 Not Found\r\n\r\n";
const MUST_CONNECT =
  "HTTP/1.0 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n405 must CONNECT\n";
const TOO_LARGE = "HTTP/1.0 431 Request Header Fields Too Large\r\n\r\n";

async function write(path: ByteChannel, text: string): Promise<void> {
  try {
    await path.write([utf8(text)]);
  } catch (cause) {
    throw lost("it was lost", cause);
  }
}

/** What stands before an empty line, and the bytes behind it; not whole if it was too long. */
interface Head {
  readonly head: string;
  readonly rest: Uint8Array;
  readonly whole: boolean;
}

/** Reads until an empty line. Every byte is looked at once. */
async function readHead(path: ByteChannel): Promise<Head> {
  let bytes = new Uint8Array(256);
  let size = 0;
  let blank = false;
  const text = () => String.fromCharCode(...bytes.subarray(0, size));
  for (;;) {
    const { done, value } = await path.read().catch((error) => {
      throw lost("it broke", error);
    });
    if (done) throw lost("it ended");
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

function tooLong(): ConnectionError {
  return lost(`over ${MAX_HEAD} bytes`);
}

function lost(why: string, cause?: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `the HTTP handshake failed: ${why}`,
    { cause },
  );
}
