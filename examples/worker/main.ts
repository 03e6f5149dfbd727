// A client whose server is a worker, as in a page: a web worker on Deno and Bun.
// Node has no web workers, but threads (`thread.ts` uses them on every runtime).

import { strictEqual } from "node:assert";
import { Worker as Thread } from "node:worker_threads";
import { Client, fromMessagePort } from "@sluice/rpc";
import type { Services } from "./worker.ts";

const file = new URL("./worker.ts", import.meta.url);
const worker = typeof Worker === "function"
  ? new Worker(file, { type: "module" })
  : new Thread(file);
const client = new Client<Services>(fromMessagePort(worker));

async function* lines() {
  yield "to be or";
  yield "not to be";
}
const counts = await client.call("Text.words", lines());
strictEqual(counts.be, 2);
console.log(`"be" occurs ${counts.be} times`);

await client.close();
// The end of its connection does not end a web worker.
worker.terminate();
