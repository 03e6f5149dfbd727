// The worker. In a page, on Deno and on Bun its port is `self`; a thread of Node
// has `parentPort`.

import { parentPort } from "node:worker_threads";
import { fromMessagePort, Server } from "@sluice/rpc";

const services = {
  Text: {
    /** How often each word occurs in the lines of a text. */
    async words(lines: AsyncIterable<string>) {
      const counts: Record<string, number> = {};
      for await (const line of lines) {
        for (const word of line.split(" ")) {
          counts[word] = (counts[word] ?? 0) + 1;
        }
      }
      return counts;
    },
  },
};
export type Services = typeof services;

// Before the first `await` of the script: earlier messages are lost.
const port = parentPort ?? (self as unknown as Worker);
new Server(services).accept(fromMessagePort(port));
