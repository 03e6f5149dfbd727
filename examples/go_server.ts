// Serves HelloService to Go's net/rpc clients. Usage: `go_server.ts [HOST:PORT]`
//
// Port 0 takes a free port. SIGTERM or Ctrl-C stops the server.
//
// A Go client: rpc.Dial("tcp", address), then
// client.Call("HelloService.Hello", "client 0", &reply).

import process from "node:process";
import { echoServices, listen, Server } from "@sluice/rpc";
import { netrpc } from "@sluice/rpc/netrpc";

const [address = "127.0.0.1:8848", ...rest] = process.argv.slice(2);
const [, host, port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(address) ?? [];
if (port === undefined || Number(port) > 65_535 || rest.length > 0) {
  console.error("Usage: go_server.ts [HOST:PORT]  (default 127.0.0.1:8848)");
  process.exit(2);
}

const server = new Server(echoServices(), {
  protocol: netrpc(),
  onError: (error, { connection }) => console.error(connection?.remote, error),
});
const listener = await listen({ host, port: Number(port) });
server.serve(listener);

const bound = listener.address;
if ("port" in bound) console.log(`listening on ${host}:${bound.port}`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => server.close());
}
