/**
 * The bare WebSocket of each runtime: a server that echoes every message, and the
 * global `WebSocket` as its client. Binary messages, no compression.
 *
 * @module
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { OWN } from "../demo/runtimes.ts";

const HOST = "127.0.0.1";

/** Listens with the server of the runtime, on Node with that of `ws`; returns the port. */
export function listenWebSocket(): Promise<number> | number {
  if (OWN === "deno") return listenDeno();
  if (OWN === "bun") return listenBun();
  return listenNode();
}

/** Connects to a port of loopback. Resolves when the socket is open. */
export async function openWebSocket(
  port: number,
  receive: (bytes: ArrayBuffer) => void,
): Promise<WebSocket> {
  const socket = new WebSocket(`ws://${HOST}:${port}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => receive(data);
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error("Cannot connect the WebSocket"));
  });
  return socket;
}

function listenDeno(): number {
  const options = { hostname: HOST, port: 0, onListen() {} };
  const server = Deno.serve(options, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });
  return server.addr.port;
}

/** The members of Bun that are used. */
interface BunApi {
  serve(options: object): { readonly port: number };
}

interface BunServer {
  upgrade(request: Request): boolean;
}

interface BunSocket {
  send(message: Uint8Array): number;
}

function listenBun(): number {
  const { Bun } = globalThis as unknown as { Bun: BunApi };
  const { port } = Bun.serve({
    hostname: HOST,
    port: 0,
    fetch: (request: Request, server: BunServer) =>
      void server.upgrade(request),
    websocket: {
      perMessageDeflate: false,
      message: (socket: BunSocket, message: Uint8Array) =>
        void socket.send(message),
    },
  });
  return port;
}

function listenNode(): Promise<number> {
  const http = createServer();
  const server = new WebSocketServer({
    server: http,
    perMessageDeflate: false,
  });
  server.on("connection", (socket) => {
    socket.on("error", () => {}); // The other process has exited; it reports its own faults.
    socket.on("message", (data) => socket.send(data));
  });
  return new Promise((resolve, reject) => {
    http.on("error", reject);
    http.listen(0, HOST, () => resolve((http.address() as AddressInfo).port));
  });
}
