/**
 * All transports for tests: functions that make connected pairs, and that write
 * and read bytes. A scenario is a function of the two sides; `matrix` runs it
 * over every transport, and with the sides exchanged. A page has memory only, so
 * the modules of Node are loaded when they are needed.
 */

import { test } from "node:test";
import type { Duplex, DuplexInfo } from "../../src/types/duplex.ts";
import { memoryPair } from "../../src/transport/memory.ts";
import { connect, type ConnectOptions } from "../../src/transport/connect.ts";
import { listen, type ListenOptions } from "../../src/transport/listen.ts";
import { fromMessagePort } from "../../src/transport/web/message_port.ts";
import { fromWebSocket } from "../../src/transport/web/websocket.ts";
import { turn } from "./clock.ts";
import { HAS_SOCKETS } from "./runtime.ts";

export type End = Duplex & DuplexInfo;

/** Two connected duplexes. */
export interface Pair {
  a: End;
  b: End;
  /** Destroys both. */
  release(): Promise<void>;
}

/** A transport. */
export interface Transport {
  name: string;
  /** Whether an abort reaches the peer as an error. Over other transports the stream just ends. */
  resets: boolean;
  /** Whether a side that does not read stalls its peer. A standard WebSocket cannot pause. */
  stalls: boolean;
  make(): Promise<Pair>;
}

/** Makes a directory for `use`, and removes it afterwards. */
export async function withDirectory<T>(
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const directory = await mkdtemp(`${tmpdir()}/sluice-`);
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A pair over sockets. */
export async function socketPair(
  at: ListenOptions,
  extra: Partial<ConnectOptions> = {},
): Promise<Pair> {
  const listener = await listen(at);
  const [a, accepted] = await Promise.all([
    connect({ ...listener.address, ...extra } as ConnectOptions),
    listener[Symbol.asyncIterator]().next(),
  ]);
  await listener.close();
  const b: End = accepted.value;
  return { a, b, release: () => destroy(a, b) };
}

async function destroy(...ends: End[]): Promise<void> {
  for (const end of ends) {
    if (end.writable.locked) throw new Error("a test left a writer locked");
    await end.writable.abort(new Error("test over")).catch(() => {});
  }
}

export const memory: Transport = {
  name: "memory",
  stalls: true,
  resets: true,
  make() {
    const [a, b] = memoryPair();
    return Promise.resolve({ a, b, release: () => destroy(a, b) });
  },
};

export const tcp: Transport = {
  name: "tcp",
  stalls: true,
  // Deno cannot reset a connection.
  resets: !("Deno" in globalThis),
  make: () => socketPair({ port: 0 }),
};

export const unix: Transport = {
  name: "unix",
  stalls: true,
  resets: false,
  make: () =>
    withDirectory((directory) => socketPair({ path: `${directory}/s` })),
};

export const tls: Transport = {
  name: "tls",
  stalls: true,
  resets: false,
  async make() {
    const { fixture } = await import("./fixture.ts");
    const identity = {
      cert: fixture("server.pem"),
      key: fixture("server-key.pem"),
    };
    const ca = fixture("ca.pem");
    return socketPair({ port: 0, tls: identity }, { tls: { ca } });
  },
};

/** The runtime's own WebSockets; the server of `ws` on Node. */
export const websocket: Transport = {
  name: "websocket",
  stalls: false,
  resets: true,
  async make() {
    const { WebSocketServer } = await import("ws");
    return socketPair({ url: "ws://127.0.0.1:0/rpc", WebSocketServer });
  },
};

/** Both ends of the package `ws`, which can pause. Deno and Bun have replaced it by their own. */
export const wsPackage: Transport = {
  name: "ws package",
  stalls: true,
  resets: true,
  async make() {
    const { WebSocket, WebSocketServer } = await import("ws");
    const at = { url: "ws://127.0.0.1:0/rpc", WebSocketServer };
    const listener = await listen(at);
    const a = fromWebSocket(new WebSocket(listener.url, "sluice.1"));
    const { value: b } = await listener[Symbol.asyncIterator]().next();
    await listener.close();
    return { a, b, release: () => destroy(a, b) };
  },
};

/** Two ends of a `MessageChannel`. */
export const messagePort: Transport = {
  name: "message port",
  stalls: true,
  resets: true,
  make() {
    const { port1, port2 } = new MessageChannel();
    const [a, b] = [fromMessagePort(port1), fromMessagePort(port2)];
    return Promise.resolve({ a, b, release: () => destroy(a, b) });
  },
};

/** Whether the tests run on Node itself. */
const onNode = HAS_SOCKETS && !("Deno" in globalThis) &&
  !("Bun" in globalThis);

export const transports: Transport[] = [
  memory,
  messagePort,
  ...(HAS_SOCKETS ? [tcp, unix, tls, websocket] : []),
  ...(onNode ? [wsPackage] : []),
];

/** Those on which a side that does not read stalls its peer. */
export const stalling: Transport[] = transports.filter(({ stalls }) => stalls);

/** Runs a scenario over every transport, and with the sides exchanged. */
export function matrix(
  name: string,
  scenario: (a: End, b: End, transport: Transport) => Promise<void>,
  over: Transport[] = transports,
): void {
  for (const transport of over) {
    test(`${transport.name}: ${name}`, async () => {
      for (const swap of [false, true]) {
        const { a, b, release } = await transport.make();
        try {
          await (swap ? scenario(b, a, transport) : scenario(a, b, transport));
        } finally {
          await release();
        }
      }
    });
  }
}

/** Bytes that differ from offset to offset. */
export function pattern(length: number, from = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (from + i) * 31 >>> 3;
  return bytes;
}

/** Writes all chunks, awaits each, and releases the writer. */
export async function send(
  end: Duplex,
  ...chunks: Uint8Array[]
): Promise<void> {
  const writer = end.writable.getWriter();
  try {
    for (const chunk of chunks) await writer.write(chunk);
  } finally {
    writer.releaseLock();
  }
}

/** Reads at least `length` bytes, or until the stream ends or fails. */
export async function receive(
  end: Duplex,
  length = Infinity,
): Promise<{ bytes: Uint8Array; ended: boolean; error?: unknown }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = end.readable.getReader();
  let ended = false;
  let error: unknown;
  try {
    while (size < length) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        break;
      }
      chunks.push(value);
      size += value.byteLength;
    }
  } catch (caught) {
    error = caught;
  } finally {
    reader.releaseLock();
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return { bytes, ended, error };
}

/** Writes chunks until a write fails or `limit` bytes are written. */
export async function flood(
  end: Duplex,
  limit: number,
  progress: { bytes: number },
): Promise<unknown> {
  const chunk = new Uint8Array(65_536);
  const writer = end.writable.getWriter();
  try {
    while (progress.bytes < limit) {
      await writer.write(chunk);
      progress.bytes += chunk.byteLength;
    }
  } catch (error) {
    return error;
  } finally {
    writer.releaseLock();
  }
}

/**
 * Waits until the writer makes no progress for 200 turns of the event loop. On a
 * slow machine it may return too early: then less has been written than could
 * be, and the tests that use it check less, but do not fail.
 */
export async function stall(progress: { bytes: number }): Promise<void> {
  for (let still = 0, last = -1; still < 200; still++) {
    if (progress.bytes !== last) still = 0;
    last = progress.bytes;
    await turn();
  }
}
