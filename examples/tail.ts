// A live stream: the client reads lines as they are written, and stops after three.

import { deepStrictEqual, ok } from "node:assert";
import { setTimeout } from "node:timers/promises";
import { type CallContext, Client, connect, listen, Server } from "@sluice/rpc";

let closed = false;
const services = {
  Log: {
    /** An async generator's items are a stream. When the reader cancels it, its `finally` runs. */
    async *tail(from: number, { signal }: CallContext) {
      try {
        for (let n = from; !signal.aborted; n++) {
          yield `line ${n}`;
          await setTimeout(5);
        }
      } finally {
        closed = true;
      }
    },
  },
};
const server = new Server(services);
const listener = await listen({ port: 0 });
server.serve(listener);
const client = new Client<typeof services>(await connect(listener.address));

const lines: string[] = [];
for await (const line of await client.call("Log.tail", 7)) {
  console.log(line);
  // Leaving the loop cancels the stream, which ends the generator.
  if (lines.push(line) === 3) break;
}
deepStrictEqual(lines, ["line 7", "line 8", "line 9"]);

await client.close();
ok(closed, "the generator has run its cleanup before close returns");
await server.close();
