// Deadlines: a call's own, and the remaining time that a handler's calls inherit.

import { ok, rejects } from "node:assert";
import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";

let stopped = false;
const store = {
  /** Returns the remaining time of its call, in milliseconds. */
  left: (_: undefined, ctx: CallContext) => ctx.remaining,
  /** Runs until its call has been cancelled. */
  toil: (_: undefined, { signal }: CallContext) =>
    new Promise<void>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      signal.addEventListener("abort", () => stopped = true);
    }),
};
const [toStore, atStore] = memoryPair();
const storeServer = new Server(store);
storeServer.accept(atStore);
const inner = new Client<typeof store>(toStore);

// The shop's handlers call the store. The option `ctx` passes on the remaining time.
const [toShop, atShop] = memoryPair();
const shop = {
  left: (_: undefined, ctx: CallContext) => inner.call("left", _, { ctx }),
  toil: (_: undefined, ctx: CallContext) => inner.call("toil", _, { ctx }),
};
const shopServer = new Server(shop);
shopServer.accept(atShop);
const client = new Client<typeof shop>(toShop);

ok(await client.call("left", undefined, { timeout: 5000 }) <= 5000);
const deadline = new Date(Date.now() + 5000); // The same as a point in time.
ok(await client.call("left", undefined, { deadline }) <= 5000);
const late = client.call("toil", undefined, { timeout: 50 });
await rejects(late, { code: "deadline_exceeded", outcome: "unknown" });
for (const end of [client, shopServer, inner, storeServer]) await end.close();
ok(stopped, "the signal of the innermost handler has fired");
console.log("the deadline stopped the handlers of both servers");
