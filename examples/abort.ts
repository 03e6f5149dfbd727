// Aborting calls: the handler hears of it, the caller knows what became of it.

import { rejects, strictEqual } from "node:assert";
import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";

const started = Promise.withResolvers<void>();
const services = {
  Report: {
    /** Never done; `signal` is for what it waits on: a fetch, a query. */
    build: (_pages: number, { signal }: CallContext) =>
      new Promise<string>((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        started.resolve();
      }),
  },
};
const [near, far] = memoryPair();
const server = new Server(services);
server.accept(far);
const client = new Client<typeof services>(near);
try {
  const stop = new AbortController();
  const call = client.go("Report.build", 100, { signal: stop.signal });
  await started.promise;
  stop.abort(new Error("changed my mind"));
  // The caller does not wait for the server: its own reason comes at once.
  await rejects(call.reply, /changed my mind/);
  strictEqual(call.outcome, "unknown");
  // Then the server answers: the handler had started. To retry may be wrong.
  strictEqual(await call.settled, "executed");

  const late = client.go("Report.build", 1, { signal: stop.signal });
  await rejects(late.reply, /changed my mind/);
  strictEqual(late.outcome, "not_sent"); // To retry is safe.
  console.log("one call executed, one not sent");
} finally {
  await client.close();
  await server.close();
}
