// A client and a server that were idle, and one pair that was busy, are closed;
// the process must then exit by itself.

import { Client, connect, echoServices, listen, Server } from "../../../mod.ts";

const listener = await listen({ port: 0 });
const server = new Server(echoServices());
server.serve(listener);
const idle = new Client<object>(await connect(listener.address));
const busy = new Client<ReturnType<typeof echoServices>>(
  await connect(listener.address),
);
await busy.call("Echo.echo", 1, { timeout: 60_000 });
await idle.close();
await busy.close();
await server.close();
console.log("closed");
