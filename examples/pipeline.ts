// Three ways to have many calls in flight on one connection.

import { strictEqual } from "node:assert";
import { Client, connect, listen, Server } from "@sluice/rpc";

const services = { Math: { square: (n: number) => n * n } };
const server = new Server(services);
const listener = await listen({ port: 0 });
server.serve(listener);
const client = new Client<typeof services>(await connect(listener.address));
try {
  // 1. A few calls: make them, then await all. They are sent in this order.
  const calls = [1, 2, 3].map((n) => client.call("Math.square", n));
  strictEqual((await Promise.all(calls)).join(), "1,4,9");

  // 2. Many calls: `ready` resolves as soon as the window has capacity, so a fast
  // loop does not queue calls for a slow server. Replies can be awaited later.
  let last = client.go("Math.square", 0);
  for (let n = 1; n < 10_000; n++) {
    await client.ready;
    last = client.go("Math.square", n);
  }
  strictEqual(await last.reply, 9999 ** 2);

  // 3. Each reply is handled when it arrives, in any order.
  let sum = 0;
  const added: Promise<void>[] = [];
  for (let n = 1; n <= 100; n++) {
    await client.ready;
    const reply = client.call("Math.square", n);
    added.push(reply.then((square) => void (sum += square)));
  }
  await Promise.all(added);
  strictEqual(sum, 338_350);
  console.log("10,103 calls on one connection");
} finally {
  await client.close();
  await server.close();
}
