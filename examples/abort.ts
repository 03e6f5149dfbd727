// Aborting calls: the handler's signal fires, and the caller learns whether the
// handler was started.

import { rejects, strictEqual } from "node:assert";
import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";

const started = Promise.withResolvers<void>();
const services = {
  Report: {
    /** Runs until it is aborted. Pass `signal` to whatever a handler waits for. */
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
  // The call rejects at once, with the reason of the abort.
  await rejects(call.reply, /changed my mind/);
  strictEqual(call.outcome, "unknown");
  // Later the server's answer arrives: the handler was started, so a retry would
  // run it a second time.
  strictEqual(await call.settled, "executed");

  const late = client.go("Report.build", 1, { signal: stop.signal });
  await rejects(late.reply, /changed my mind/);
  strictEqual(late.outcome, "not_sent"); // A retry is safe.
  console.log("one call was executed, one was not sent");
} finally {
  await client.close();
  await server.close();
}
