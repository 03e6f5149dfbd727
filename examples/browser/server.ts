// The server of the page: the files that `vite build` has made, and WebSockets at
// `/rpc`. Usage: `server.ts [PORT]`. It runs on Node, and on Deno and Bun as well.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sirv from "sirv";
import { WebSocketServer } from "ws";
import { type CallContext, Server, webSockets } from "../../mod.ts";

const services = {
  Hello: { greet: (name: string) => `hello, ${name}` },
  Clock: {
    async *ticks(_: undefined, { signal }: CallContext) {
      for (;;) {
        yield new Date().toISOString();
        await setTimeout(1000, undefined, { signal });
      }
    },
  },
};
export type Services = typeof services;

const sockets = webSockets({ WebSocketServer });
new Server(services).serve(sockets);

const http = createServer(
  sirv(fileURLToPath(new URL("dist", import.meta.url))),
);
http.on("upgrade", (request, socket, head) => {
  if (request.url === "/rpc") sockets.handleUpgrade(request, socket, head);
  else socket.destroy();
});
http.listen(Number(process.argv[2] ?? 8848), "127.0.0.1", () => {
  const { port } = http.address() as AddressInfo;
  console.log(`listening on 127.0.0.1:${port}`);
});
