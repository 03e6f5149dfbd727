/**
 * The simplest socket of each runtime: `Deno.connect` on Deno, `Bun.connect` on Bun,
 * `node:net` on Node; TCP over loopback, without Nagle's delay.
 *
 * Measured by the CPU time of 30,000 round trips of a byte: Bun's own socket
 * costs 0.42 s and its `node:net` 0.59 s, Deno's own 0.45 s and its `node:net`
 * 0.49 s.
 *
 * @module
 */

import net from "node:net";
import { OWN } from "../demo/runtimes.ts";
import { CHUNK } from "../rows.ts";

/** A socket that is open. */
export interface Plain {
  /** Writes bytes. If it returns a promise, the bytes must not change until it resolves. */
  write(bytes: Uint8Array): void | Promise<void>;
}

/** Receives the input of a socket. */
export interface Reader {
  /** Receives bytes that are valid only during the call. If it returns a promise, no more is read until that resolves. */
  data(bytes: Uint8Array): void | Promise<void>;
}

/** Makes a socket's reader. */
export type Attach = (socket: Plain) => Reader;

const HOST = "127.0.0.1";

/** Of 64 KiB, 256 KiB and 1 MiB the fastest for chunks of 64 KiB. */
const NODE_BUFFER = 256 * 1024;

/** Listens on a free port of loopback; returns the port. */
export function listenPlain(attach: Attach): Promise<number> | number {
  if (OWN === "deno") return listenDeno(attach);
  if (OWN === "bun") return listenBun(attach);
  return listenNode((socket) => attachNode(socket, attach));
}

/** Connects to a port of loopback. */
export async function connectPlain(
  port: number,
  attach: Attach,
): Promise<void> {
  if (OWN === "deno") attachDeno(await connectDeno(port), attach);
  else if (OWN === "bun") await connectBun(port, attach);
  else await connectNodePlain(port, attach);
}

/** Listens with `node:net`, which all runtimes have. */
export function listenNode(
  accept: (socket: net.Socket) => void,
): Promise<number> {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {}); // The other process has exited; it reports its own faults.
    accept(socket);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, HOST, () => {
      resolve((server.address() as net.AddressInfo).port);
    });
  });
}

/** Connects with `node:net`. */
export function connectNode(
  port: number,
  onread?: net.OnReadOpts,
): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const options = { host: HOST, port, noDelay: true, onread };
    const socket = net.connect(options);
    socket.on("error", reject);
    socket.on("connect", () => resolve(socket));
  });
}

/** Reads into one buffer, because Node otherwise allocates 64 KiB for every read. */
async function connectNodePlain(port: number, attach: Attach): Promise<void> {
  const socket = await connectNode(port, {
    buffer: new Uint8Array(NODE_BUFFER),
    callback(length, buffer) {
      const busy = reader.data(buffer.subarray(0, length));
      busy?.then(() => socket.resume());
      return busy === undefined;
    },
  });
  const reader = attach({ write: (bytes) => writeNode(socket, bytes) });
}

/** Sockets of servers, which have no such option. */
function attachNode(socket: net.Socket, attach: Attach): void {
  const reader = attach({ write: (bytes) => writeNode(socket, bytes) });
  socket.on("data", (bytes) => {
    const busy = reader.data(bytes);
    if (busy === undefined) return;
    socket.pause();
    busy.then(() => socket.resume());
  });
}

/** Writes to a socket of `node:net`. Returns a promise if the socket is full. */
export function writeNode(
  socket: net.Socket,
  bytes: Uint8Array,
): void | Promise<void> {
  if (socket.write(bytes)) return;
  return new Promise((resolve) => socket.once("drain", resolve));
}

/** Listens with Deno's own API. */
export function acceptDeno(accept: (conn: Deno.TcpConn) => void): number {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  (async () => {
    for await (const conn of listener) {
      conn.setNoDelay();
      accept(conn);
    }
  })();
  return listener.addr.port;
}

function listenDeno(attach: Attach): number {
  return acceptDeno((conn) => attachDeno(conn, attach));
}

/** Connects with Deno's own API. */
export async function connectDeno(port: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: HOST, port });
  conn.setNoDelay();
  return conn;
}

async function attachDeno(conn: Deno.Conn, attach: Attach): Promise<void> {
  const reader = attach({ write: (bytes) => writeDeno(conn, bytes) });
  const buffer = new Uint8Array(CHUNK);
  for (;;) {
    const length = await conn.read(buffer);
    if (length === null) return;
    const busy = reader.data(buffer.subarray(0, length));
    if (busy !== undefined) await busy;
  }
}

/** Writes all of `bytes` to a `Deno.Conn`. */
export async function writeDeno(
  conn: Deno.Conn,
  bytes: Uint8Array,
): Promise<void> {
  let written = await conn.write(bytes);
  while (written < bytes.length) {
    written += await conn.write(bytes.subarray(written));
  }
}

/** The part of Bun's sockets that is used. */
export interface BunSocket {
  data: BunState;
  write(bytes: Uint8Array, offset?: number): number;
  pause(): void;
  resume(): void;
  setNoDelay(noDelay: boolean): void;
}

interface BunState {
  reader: Reader;
  /** Called when there is room again. */
  drained: (() => void) | undefined;
}

/** The part of Bun that is used. */
interface BunApi {
  listen(options: object): { port: number };
  connect(options: object): Promise<BunSocket>;
}

function bun(): BunApi {
  return (globalThis as unknown as { Bun: BunApi }).Bun;
}

/** Listens with Bun's own API. */
export function listenBun(attach: Attach): number {
  return bun().listen({ hostname: HOST, port: 0, socket: handlers(attach) })
    .port;
}

/** Connects with Bun's own API. */
export async function connectBun(port: number, attach: Attach): Promise<void> {
  await bun().connect({ hostname: HOST, port, socket: handlers(attach) });
}

function handlers(attach: Attach): object {
  return {
    open(socket: BunSocket) {
      socket.setNoDelay(true);
      const reader = attach({ write: (bytes) => writeBun(socket, bytes) });
      socket.data = { reader, drained: undefined };
    },
    data(socket: BunSocket, bytes: Uint8Array) {
      const busy = socket.data.reader.data(bytes);
      if (busy === undefined) return;
      socket.pause();
      busy.then(() => socket.resume());
    },
    drain(socket: BunSocket) {
      const { drained } = socket.data;
      socket.data.drained = undefined;
      drained?.();
    },
    error() {}, // The other process has exited; it reports its own faults.
  };
}

/** Writes what fits, and the rest when Bun reports that there is room. */
function writeBun(socket: BunSocket, bytes: Uint8Array): void | Promise<void> {
  let written = socket.write(bytes);
  if (written === bytes.length) return;
  return new Promise((resolve) => {
    const more = () => {
      written += socket.write(bytes.subarray(written));
      if (written < bytes.length) socket.data.drained = more;
      else resolve();
    };
    socket.data.drained = more;
  });
}
