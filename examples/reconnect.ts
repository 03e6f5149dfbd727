// A client that reconnects: the server restarts, and a call made in the meantime
// waits for the new connection.

import { strictEqual } from "node:assert";
import {
  connect,
  type EchoServices,
  echoServices,
  listen,
  ReconnectingClient,
  Server,
} from "@sluice/rpc";

const listener = await listen({ port: 0 });
let server = new Server(echoServices());
server.serve(listener);

const client = new ReconnectingClient<EchoServices>(
  (signal) => connect({ ...listener.address, signal }),
  {
    retry: { base: 20, cap: 1000 },
    onStateChange: (state, { delay }) =>
      console.log(state, delay === undefined ? "" : `${Math.ceil(delay)} ms`),
  },
);
try {
  strictEqual(await client.call("HelloService.Hello", "1"), "hello:1");
  await server.close();
  const meanwhile = client.call("HelloService.Hello", "2", { timeout: 10_000 });
  server = new Server(echoServices());
  server.serve(await listen(listener.address));
  strictEqual(await meanwhile, "hello:2");
} finally {
  await client.close();
  await server.close();
}
