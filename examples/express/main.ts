// Express: WebSockets at `/rpc` beside the routes of an app. Express has no part
// in them: its HTTP server passes each request for one to `handleUpgrade`. Node
// needs the package `ws` for that. The packages belong to this directory:
//
//   npm ci --prefix examples/express
//
// Your own program imports "@sluice/rpc" instead of "../../mod.ts".

import { strictEqual } from "node:assert";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import express from "express";
import { WebSocketServer } from "ws";
import { Client, connect, Server, webSockets } from "../../mod.ts";

const services = { Math: { square: (n: number) => n * n } };
const server = new Server(services);
const sockets = webSockets({ WebSocketServer });
server.serve(sockets);

const app = express();
app.get("/", (_request, response) => void response.send("a page"));

const http = app.listen(0, "127.0.0.1");
http.on("upgrade", (request, socket, head) => {
  if (request.url === "/rpc") sockets.handleUpgrade(request, socket, head);
  else socket.destroy();
});
await once(http, "listening");
const { port } = http.address() as AddressInfo;

try {
  const page = await fetch(`http://127.0.0.1:${port}/`);
  strictEqual(await page.text(), "a page");

  const client = new Client<typeof services>(
    await connect(`ws://127.0.0.1:${port}/rpc`),
  );
  strictEqual(await client.call("Math.square", 3), 9);
  await client.close();
} finally {
  await server.close();
  http.close();
}
console.log("a page and a call, from one server");
