// A client and a server over bidirectional streams of WebTransport, on Deno
// with --unstable-net and --cert. Prints what worked, and must exit by itself.

import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { Client, Server } from "../../../mod.ts";
import { assertNothingLeft } from "../pair.ts";
import { useEverything } from "../workers.ts";
import { services, type WorkerServices } from "./port_services.ts";

const read = (name: string) =>
  readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8");

const server = new Server(services);
const endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 });
const listener = endpoint.listen({
  cert: read("server.pem"),
  key: read("server-key.pem"),
  alpnProtocols: ["h3"],
});
(async () => {
  for await (const incoming of listener) {
    const session = await Deno.upgradeWebTransport(await incoming.accept());
    await session.ready;
    for await (const stream of session.incomingBidirectionalStreams) {
      server.accept(stream);
    }
  }
})().catch(() => {}); // The session or the endpoint is closed.

const { port } = endpoint.addr;
const transport = new WebTransport(`https://localhost:${port}/rpc`);
await transport.ready;

const client = new Client<WorkerServices>(
  await transport.createBidirectionalStream(),
);
await useEverything(client);
await client.close();
assertEquals(await client.closed, undefined);
assertNothingLeft(client.connection);
console.log("calls, streams, aborts and the end");

// A second stream of the same session, which then is lost.
const second = new Client<WorkerServices>(
  await transport.createBidirectionalStream(),
);
const hanging = second.call("hang").catch((error) => error.outcome);
await second.connection.ping();
transport.close();
assertEquals((await second.closed)?.code, "unavailable");
assertEquals(await hanging, "unknown");
assertNothingLeft(second.connection);
console.log("the loss of the session");

await server.close({ timeout: 0 });
endpoint.close();
