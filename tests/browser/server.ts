/**
 * A server for pages, on every runtime: `server.ts SITE ORIGIN PORT`. It serves
 * WebSockets at two paths, and all other paths as the web server at `SITE` does:
 * so the pages have the origin of the server.
 *
 * - `/rpc` accepts pages of its own origin, which is the default.
 * - `/open` accepts pages of `ORIGIN`.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import process from "node:process";
import { WebSocketServer } from "ws";
import {
  ConnectionError,
  Server,
  type WebSocketListener,
  webSockets,
} from "../../mod.ts";
import { makeServices } from "./services.ts";

const [site, origin, port] = process.argv.slice(2);
const server = new Server(makeServices(), {
  onError: (error) => {
    // `Math.fail` throws the one, and pages that go away cause the other.
    const wanted = error instanceof RangeError ||
      error instanceof ConnectionError;
    if (!wanted) console.error(error);
  },
});
const own = webSockets({ WebSocketServer });
const open = webSockets({ WebSocketServer, allowOrigins: [origin!] });
server.serve(own);
server.serve(open);

/** The WebSockets that a path leads to. */
function socketsAt(path: string): WebSocketListener | undefined {
  return path === "/rpc" ? own : path === "/open" ? open : undefined;
}

async function fetchFromSite(path: string): Promise<Response> {
  const { status, headers, body } = await fetch(new URL(path, site));
  const type = headers.get("content-type") ?? "text/plain";
  return new Response(body, { status, headers: { "content-type": type } });
}

/** Handles a request on Deno and Bun. */
function handle(request: Request, info: never): Response | Promise<Response> {
  const { pathname } = new URL(request.url);
  return socketsAt(pathname)?.upgrade(request, info) ?? fetchFromSite(pathname);
}

async function serveNode(): Promise<number> {
  const { createServer } = await import("node:http");
  const http = createServer(async ({ url = "/" }, response) => {
    const { status, headers, body } = await fetchFromSite(url);
    response.writeHead(status, Object.fromEntries(headers));
    for await (const chunk of body ?? []) response.write(chunk);
    response.end();
  });
  http.on("upgrade", (request: IncomingMessage, socket, head) => {
    const sockets = socketsAt(request.url ?? "");
    if (sockets !== undefined) sockets.handleUpgrade(request, socket, head);
    else socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
  });
  await new Promise<void>((resolve) =>
    http.listen(Number(port), "127.0.0.1", resolve)
  );
  return (http.address() as { port: number }).port;
}

/** The members of `Bun.serve` that are used. */
interface BunGlobal {
  serve(options: object): { port: number };
}

async function serve(): Promise<number> {
  const at = { hostname: "127.0.0.1", port: Number(port) };
  if ("Deno" in globalThis) {
    const options = { ...at, onListen: () => {} };
    return Deno.serve(options, handle as Deno.ServeHandler).addr.port;
  }
  const { Bun } = globalThis as { Bun?: BunGlobal };
  if (Bun === undefined) return await serveNode();
  return Bun.serve({ ...at, fetch: handle, websocket: own.bun }).port;
}

console.log(`listening on 127.0.0.1:${await serve()}`);
