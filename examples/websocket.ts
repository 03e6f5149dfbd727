// A server for pages: one HTTP server, that of the runtime, which has WebSockets
// at `/rpc` beside its other routes. It knows a user by the cookie of the request.

import { rejects, strictEqual } from "node:assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import {
  type CallContext,
  Client,
  connect,
  ConnectionError,
  fromWebSocket,
  Server,
  webSockets,
} from "@sluice/rpc";

const services = {
  Who: { am: (_: undefined, ctx: CallContext) => `${ctx.auth}` },
};
const users = new Map([["session=s1", "ada"]]);
const server = new Server(services, {
  // A browser sends the cookie with every WebSocket, whichever page opens it. So
  // `webSockets` lets only pages of this host connect, unless told otherwise.
  authorize: (_hello, { peer }) =>
    users.get(peer.request?.headers.get("cookie") ?? "") ?? "a guest",
});
const sockets = webSockets({ WebSocketServer }); // Deno and Bun do not need `ws`.
server.serve(sockets);

/** Bun's own types are in the package `@types/bun`. */
declare const Bun: {
  serve(options: object): { port: number; stop(): Promise<void> };
};

const isRpc = (url = "/") => new URL(url, "http://host").pathname === "/rpc";

/** Starts the HTTP server of the runtime. */
async function startHttp() {
  const hostname = "127.0.0.1";
  if ("Deno" in globalThis) {
    const options = { hostname, port: 0, onListen() {} };
    const http = Deno.serve(
      options,
      (request, info) =>
        isRpc(request.url)
          ? sockets.upgrade(request, info)
          : new Response("a page"),
    );
    return { port: http.addr.port, stop: () => http.shutdown() };
  }
  if ("Bun" in globalThis) {
    return Bun.serve({
      hostname,
      port: 0,
      routes: { "/rpc": sockets.upgrade },
      fetch: () => new Response("a page"),
      websocket: sockets.bun,
    });
  }
  const http = createServer((_request, response) => response.end("a page"));
  http.on("upgrade", (request, socket, head) => {
    if (isRpc(request.url)) sockets.handleUpgrade(request, socket, head);
    else socket.destroy();
  });
  await new Promise<void>((done) => http.listen(0, hostname, done));
  const { port } = http.address() as AddressInfo;
  return { port, stop: () => http.close() };
}

const http = await startHttp();
const url = `ws://127.0.0.1:${http.port}/rpc`;
try {
  const page = await fetch(`http://127.0.0.1:${http.port}/`);
  strictEqual(await page.text(), "a page");

  const guest = new Client<typeof services>(await connect(url));
  strictEqual(await guest.call("Who.am"), "a guest");
  await guest.close();

  // A page sends its cookies and its origin by itself. A program that sets
  // headers makes the socket itself. (The standard has no headers; Deno, Bun and
  // Node have, but not in every type.)
  const open = (headers: Record<string, string>) => {
    const options = { protocols: ["sluice.1"], headers };
    return fromWebSocket(new WebSocket(url, options as never));
  };
  const ada = new Client<typeof services>(open({ cookie: "session=s1" }));
  strictEqual(await ada.call("Who.am"), "ada");
  await ada.close();

  const origin = "https://another.example";
  const stranger = new Client<typeof services>(
    open({ cookie: "session=s1", origin }),
  );
  await rejects(stranger.call("Who.am"), { code: "unavailable" });
  strictEqual(await stranger.closed instanceof ConnectionError, true);
} finally {
  await server.close();
  await http.stop();
}
console.log("a guest and ada called; a page of another host could not");
