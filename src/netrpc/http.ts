/**
 * The HTTP CONNECT handshake that Go's `net/rpc` can begin with: one request,
 * one line of answer, and from then on the wire itself.
 *
 * Invariants owned here:
 * - A handshake is bounded in bytes and in time, and holds no other up.
 * - What came behind the handshake is not lost.
 *
 * @module
 */

import { type Clock, systemClock } from "../clock.ts";
import { type Duplex, type DuplexInfo, toDuplex } from "../duplex.ts";
import { ConnectionError, quote } from "../errors.ts";
import { utf8 } from "../text.ts";
import { toChunk } from "../transport/chunk.ts";

/** Where Go serves `net/rpc` unless it is told otherwise. */
export const RPC_PATH = "/_goRPC_";

/** Most bytes of a handshake, and the time it may take, in ms. */
const MAX_HEAD = 16 * 1024;
const HANDSHAKE_TIME = 10_000;

const LF = 10;
const CR = 13;

const CONNECTED = "200 Connected to Go RPC";

/** Options of both ends' handshakes. */
export interface HttpOptions {
  /** The path; Go's own, `/_goRPC_`, unless given. */
  readonly path?: string;
  /** Gives a handshake up that is not over. */
  readonly signal?: AbortSignal;
  /** Time, for tests. */
  readonly clock?: Clock;
}

/**
 * Dials over HTTP, as Go's `rpc.DialHTTP`: asks the server at the other end of
 * `duplex` to switch, and returns the duplex to give to a client.
 *
 * @throws {TypeError} If it is no duplex.
 * @throws {ConnectionError} `unavailable`, if the server does not switch;
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
 * const server = new Server(services, { wire: netrpc() });
 * const listener = await listen({ port: 0 });
 * server.serve(httpListener(listener));
 *
 * const duplex = await httpConnect(await connect(listener.address));
 * const client = new Client<typeof services>(duplex, { wire: netrpc() });
 * assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
 * await client.close();
 * await server.close();
 * ```
 */
export async function httpConnect(
  duplex: Duplex,
  { path = RPC_PATH, clock = systemClock, signal }: HttpOptions = {},
): Promise<Duplex & DuplexInfo> {
  const plain = toDuplex(duplex);
  await write(plain, `CONNECT ${path} HTTP/1.0\n\n`);
  const { head, rest } = await readHead(plain, clock, signal);
  const status = /^HTTP\/\d\.\d (.*?)\r?$/m.exec(head)?.[1];
  if (status === CONNECTED) return withRest(plain, rest);
  const reason = new ConnectionError(
    "unavailable",
    `unexpected HTTP response: ${quote(status ?? head)}`,
  );
  await plain.writable.abort(reason).catch(ignore);
  throw reason;
}

/**
 * Answers the handshake on one duplex, as Go's `rpc.HandleHTTP`; anything but
 * a CONNECT to the path is answered 405 or 404, and closed.
 *
 * @throws {ConnectionError} If the caller does not want to switch, or says
 * nothing for 10 seconds. The duplex is closed then; so it is if the signal's
 * reason is thrown.
 */
export async function httpAccept(
  duplex: Duplex,
  { path = RPC_PATH, clock = systemClock, signal }: HttpOptions = {},
): Promise<Duplex & DuplexInfo> {
  const plain = toDuplex(duplex);
  const { head, rest } = await readHead(plain, clock, signal);
  const [method, target] = head.split(/[ \r\n]/, 2);
  if (method === "CONNECT" && target === path) {
    await write(plain, `HTTP/1.0 ${CONNECTED}\n\n`);
    return withRest(plain, rest);
  }
  const answer = method === "CONNECT"
    ? "HTTP/1.0 404 Not Found\r\n\r\n"
    : "HTTP/1.0 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n405 must CONNECT\n";
  await write(plain, answer);
  await plain.writable.close();
  plain.readable.cancel().catch(ignore);
  throw new ConnectionError(
    "protocol_error",
    `the caller does not ask for Go RPC: ${quote(head.split(/\r?\n/, 1)[0])}`,
  );
}

/**
 * Yields the duplexes of a listener behind their handshakes, which run side by
 * side; one that fails is closed and passed over. `close` closes the listener,
 * and gives up the handshakes that are under way.
 */
export function httpListener(
  source: AsyncIterable<Duplex> & { close?: () => unknown },
  options: HttpOptions = {},
): AsyncIterable<Duplex> & { close(): unknown } {
  const closing = new AbortController();
  const close = () => {
    closing.abort(lost("nobody listens any more"));
    return source.close?.();
  };
  options.signal?.addEventListener("abort", close, {
    once: true,
    signal: closing.signal,
  });
  return {
    close,
    [Symbol.asyncIterator]: () =>
      accepted(source, { ...options, signal: closing.signal }),
  };
}

async function* accepted(
  source: AsyncIterable<Duplex>,
  options: HttpOptions & { readonly signal: AbortSignal },
): AsyncGenerator<Duplex> {
  const ready: Duplex[] = [];
  let wake = Promise.withResolvers<void>();
  let over = false;
  let failure: { error: unknown } | undefined;
  const take = (duplex: Duplex) => {
    if (over) return leave(duplex);
    ready.push(duplex);
    wake.resolve();
  };
  const pull = async () => {
    for await (const duplex of source) {
      httpAccept(duplex, options).then(take).catch(ignore);
    }
  };
  pull().catch((error) => failure = { error }).finally(() => {
    over = true;
    wake.resolve();
  });
  try {
    // Those that were ready when it ended are still handed out.
    while (!over || ready.length > 0) {
      await wake.promise;
      wake = Promise.withResolvers();
      while (ready.length > 0) yield ready.shift()!;
      if (over) wake.resolve();
    }
  } finally {
    over = true;
    for (const duplex of ready) leave(duplex);
  }
  if (failure !== undefined) throw failure.error;
}

/** Closes a duplex that nobody takes. */
function leave(duplex: Duplex): void {
  duplex.writable.abort(lost("nobody listens any more")).catch(ignore);
}

async function write(duplex: Duplex, text: string): Promise<void> {
  const writer = duplex.writable.getWriter();
  try {
    await writer.write(utf8(text));
  } catch (cause) {
    throw lost("it was lost", cause);
  } finally {
    writer.releaseLock();
  }
}

/** What stands before an empty line, and the bytes behind it. */
interface Head {
  readonly head: string;
  readonly rest: Uint8Array;
}

/** Reads until an empty line. Whatever else happens closes the duplex. */
async function readHead(
  duplex: Duplex,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<Head> {
  const reader = duplex.readable.getReader();
  let reason: unknown;
  const giveUp = (why: unknown) => {
    reason ??= why;
    reader.cancel(reason).catch(ignore);
  };
  const onAbort = () => giveUp(signal?.reason);
  const timer = clock.setTimeout(() => giveUp(late()), HANDSHAKE_TIME);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  try {
    return await readLines(reader);
  } catch (error) {
    const why = reason ?? error;
    duplex.writable.abort(why).catch(ignore);
    reader.cancel(why).catch(ignore);
    throw why;
  } finally {
    clock.clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    reader.releaseLock();
  }
}

/** Every byte is looked at once. */
async function readLines(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Head> {
  // As Latin-1: characters are bytes.
  let head = "";
  let blank = false;
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw lost("it broke", error);
    });
    if (done) throw lost("it ended");
    const bytes = toChunk(value);
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte === LF && blank) return { head, rest: bytes.subarray(i + 1) };
      if (byte === LF) blank = true;
      else if (byte !== CR) blank = false;
      if (head.length === MAX_HEAD) throw lost(`over ${MAX_HEAD} bytes`);
      head += String.fromCharCode(byte);
    }
  }
}

function late(): ConnectionError {
  return new ConnectionError(
    "deadline_exceeded",
    "the HTTP handshake did not end in time",
  );
}

function lost(why: string, cause?: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `the HTTP handshake failed: ${why}`,
    { cause },
  );
}

/** The duplex, with bytes that were read already put back before it. */
function withRest(
  duplex: Duplex & DuplexInfo,
  rest: Uint8Array,
): Duplex & DuplexInfo {
  if (rest.length === 0) return duplex;
  const { writable, remote, local, ref, unref } = duplex;
  const reader = duplex.readable.getReader();
  const readable = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(rest),
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { readable, writable, remote, local, ref, unref };
}

function ignore(): void {}
