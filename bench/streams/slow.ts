/**
 * Measures the memory of a stream whose reader is slower than its source. Both
 * sides are in this process.
 *
 * @module
 */

import { Client, memoryPair, Server } from "../../mod.ts";
import { liveBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";
import { expect } from "./peer.ts";

/** Number of items. */
export interface SlowOrder {
  readonly items: number;
}

/** Live bytes after each tenth of the items. */
export interface SlowResult {
  readonly live: readonly number[];
}

/** Items after which the reader waits for a turn of the event loop. */
const PACE = 100;

interface Services {
  readonly Test: {
    items(count: number): AsyncGenerator<{ readonly i: number }>;
  };
}

async function* items(count: number) {
  for (let i = 0; i < count; i++) yield { i };
}

async function run(order: SlowOrder): Promise<SlowResult> {
  const [near, far] = memoryPair();
  const server = new Server<Services>({ Test: { items } });
  server.accept(far);
  const client = new Client<Services>(near);
  const live: number[] = [];
  let read = 0;
  for await (const { i } of await client.call("Test.items", order.items)) {
    expect("an item", i, read++);
    if (read % PACE === 0) await new Promise((resolve) => setTimeout(resolve));
    if (read % (order.items / 10) === 0) live.push(await liveBytes());
  }
  expect("items", read, order.items);
  await Promise.all([client.close(), server.close()]);
  return { live };
}

if (import.meta.main) await program(run);
