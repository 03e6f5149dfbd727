// Hono: an app that has WebSockets at `/rpc` beside its other routes. On Deno and
// Bun the route upgrades the request; on Node the HTTP server does, with the
// package `ws`, since a request of Node's cannot become a WebSocket in a route.
// The packages belong to this directory:
//
//   npm ci --prefix examples/hono
//
// Your own program imports "@sluice/rpc" instead of "../../mod.ts".

import { strictEqual } from "node:assert";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { WebSocketServer } from "ws";
import {
  Client,
  connect,
  type FetchInfo,
  Server,
  webSockets,
} from "../../mod.ts";

const services = { Math: { square: (n: number) => n * n } };
const server = new Server(services);
const sockets = webSockets({ WebSocketServer }); // Deno and Bun do not need `ws`.
server.serve(sockets);

const app = new Hono<{ Bindings: FetchInfo }>();
app.get("/", (c) => c.text("a page"));
// `c.env` is what the runtime passes beside the request: Bun needs its server.
app.get("/rpc", (c) => sockets.upgrade(c.req.raw, c.env));

/** Bun's own types are in the package `@types/bun`. */
declare const Bun: {
  serve(options: object): { port: number; stop(): Promise<void> };
};

/** Starts the app on each runtime. */
async function start() {
  const at = { hostname: "127.0.0.1", port: 0 };
  if ("Deno" in globalThis) {
    const http = Deno.serve({ ...at, onListen() {} }, app.fetch);
    return { port: http.addr.port, stop: () => http.shutdown() };
  }
  if ("Bun" in globalThis) {
    return Bun.serve({ ...at, fetch: app.fetch, websocket: sockets.bun });
  }
  const { promise, resolve } = Promise.withResolvers<number>();
  const http = serve({ ...at, fetch: app.fetch }, ({ port }) => resolve(port));
  http.on("upgrade", (request, socket, head) => {
    if (request.url === "/rpc") sockets.handleUpgrade(request, socket, head);
    else socket.destroy();
  });
  return { port: await promise, stop: () => http.close() };
}

const http = await start();
try {
  const page = await fetch(`http://127.0.0.1:${http.port}/`);
  strictEqual(await page.text(), "a page");

  const client = new Client<typeof services>(
    await connect(`ws://127.0.0.1:${http.port}/rpc`),
  );
  strictEqual(await client.call("Math.square", 3), 9);
  await client.close();
} finally {
  await server.close();
  await http.stop();
}
console.log("a page and a call, from one server");
