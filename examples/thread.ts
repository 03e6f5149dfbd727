// A server in a worker thread, and its client in the main thread. The file is
// both: the thread runs it again.

import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { Client, fromMessagePort, Server } from "@sluice/rpc";

const services = {
  Primes: {
    /** The primes below `limit`, as they are found. */
    async *below(limit: number) {
      for (let n = 2; n < limit; n++) if (isPrime(n)) yield n;
    },
    count: (limit: number) => {
      let count = 0;
      for (let n = 2; n < limit; n++) if (isPrime(n)) count++;
      return count;
    },
  },
};

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}

if (isMainThread) {
  const thread = new Worker(new URL(import.meta.url));
  const client = new Client<typeof services>(fromMessagePort(thread));
  // The main thread stays free while the other one computes.
  const count = client.call("Primes.count", 200_000);
  console.log(await Array.fromAsync(await client.call("Primes.below", 30)));
  console.log(`${await count} primes below 200,000`);
  // The thread ends by itself when its port is closed.
  await client.close();
} else if (parentPort !== null) {
  const server = new Server(services);
  server.accept(fromMessagePort(parentPort));
}
