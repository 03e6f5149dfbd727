// Deadlines: a call's own, and what a handler's own calls inherit of it.

import { ok, rejects } from "node:assert";
import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";

let stopped = false;
const store = {
  /** How many ms its caller leaves it. */
  left: (_: undefined, ctx: CallContext) => ctx.remaining,
  /** Works until nobody waits for it any more. */
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

// The shop's handlers call the store; `ctx` hands on the time that is left.
const [toShop, atShop] = memoryPair();
const shop = {
  left: (_: undefined, ctx: CallContext) => inner.call("left", _, { ctx }),
  toil: (_: undefined, ctx: CallContext) => inner.call("toil", _, { ctx }),
};
const shopServer = new Server(shop);
shopServer.accept(atShop);
const client = new Client<typeof shop>(toShop);

ok(await client.call("left", undefined, { timeout: 5000 }) <= 5000);
const deadline = new Date(Date.now() + 5000); // The same, as a moment.
ok(await client.call("left", undefined, { deadline }) <= 5000);
const late = client.call("toil", undefined, { timeout: 50 });
await rejects(late, { code: "deadline_exceeded", outcome: "unknown" });
for (const end of [client, shopServer, inner, storeServer]) await end.close();
ok(stopped, "the innermost handler heard of it");
console.log("the deadline held, two servers deep");
