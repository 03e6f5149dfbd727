// The echo server. Usage: `echo_server.ts [PORT]`
//
// SIGTERM or Ctrl-C stops it after the calls that it has accepted are answered. A
// second Ctrl-C stops it at once.

import process from "node:process";
import { echoServices, listen, Server } from "@sluice/rpc";

const [port = "8848", ...rest] = process.argv.slice(2);
if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535 || rest.length > 0) {
  console.error(
    "Usage: echo_server.ts [PORT]  (default 8848; 0 takes a free port)",
  );
  process.exit(2);
}

const server = new Server(echoServices(), {
  // Called when a connection fails. Other connections and the server go on.
  onError: (error, { connection }) => console.error(connection?.remote, error),
});
const listener = await listen({ port: Number(port) });
server.serve(listener);

const { address } = listener;
if ("port" in address) console.log(`listening on 127.0.0.1:${address.port}`);

// `close` also stops listening. After that nothing keeps the process alive.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => server.close());
}
