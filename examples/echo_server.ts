// The echo server: `echo_server.ts [PORT]`. SIGTERM or Ctrl-C ends it, once the
// calls it has accepted are answered; a second Ctrl-C does not wait for them.

import process from "node:process";
import { echoServices, listen, Server } from "@sluice/rpc";

const [port = "8848", ...rest] = process.argv.slice(2);
if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535 || rest.length > 0) {
  console.error("Usage: echo_server.ts [PORT]  (8848; 0 takes a free one)");
  process.exit(2);
}

const server = new Server(echoServices(), {
  // Connections that broke off. One's failure is no other's, nor the server's.
  onError: (error, { connection }) => console.error(connection?.remote, error),
});
const listener = await listen({ port: Number(port) });
server.serve(listener);

const { address } = listener;
if ("port" in address) console.log(`listening on 127.0.0.1:${address.port}`);

// `close` stops listening, too; then nothing keeps the process alive.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => server.close());
}
