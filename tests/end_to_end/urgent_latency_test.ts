// How long an urgent call takes beside large messages and beside streams, on a
// link of 100 Mbit/s with a round trip of 10 ms. All on a clock of the test's own.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { Client, Server } from "../../mod.ts";
import { TestClock } from "../support/clock.ts";
import { slowLink } from "../support/slow_link.ts";

const ROUND_TRIP = 10;
const MESSAGE = 4_000_000;

const services = {
  Test: {
    ping: (n: number) => n,
    echo: (bytes: Uint8Array) => bytes,
    async *flood() {
      for (;;) yield new Uint8Array(32_768);
    },
    async drain(items: AsyncIterable<Uint8Array>) {
      for await (const _ of items);
    },
  },
};

/** The times of urgent calls beside a load, in ms, in order. */
async function latencies(
  load: (client: Client<typeof services>) => Promise<unknown>[],
): Promise<number[]> {
  const clock = new TestClock(2);
  const [near, far] = slowLink({
    clock,
    rate: 12_500,
    delay: ROUND_TRIP / 2,
  });
  const limits = {
    windowBytes: 128 << 20,
    maxSendBuffer: 256 << 20,
    streamCredit: 1 << 20,
  };
  const server = new Server(services, { clock, ...limits });
  const connection = server.accept(far);
  const client = new Client<typeof services>(near, { clock, ...limits });
  // The steps are short: a call's time is known to half a millisecond.
  const steps = async (ms: number) => {
    for (let t = 0; t < ms; t += 0.5) {
      await clock.advance(0.5);
    }
  };
  await steps(2 * ROUND_TRIP);
  for (const each of load(client)) each.catch(() => {});
  await steps(300);
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    const start = clock.now();
    client.call("Test.ping", i, { priority: "urgent" }).then((n) => {
      assertEquals(n, i);
      times.push(clock.now() - start);
    });
    await steps(7.5);
  }
  await steps(50);
  assertEquals(times.length, 60);
  const { bytesRead } = client.connection.stats();
  assert(bytesRead > 1_000_000, `only ${bytesRead} bytes were read`);
  client.abort();
  connection.abort();
  const closed = Promise.all([client.closed, connection.closed]);
  // A write that is under way ends first.
  await steps(100);
  await closed;
  await server.close();
  return times.sort((a, b) => a - b);
}

const LOADS: Record<
  string,
  (client: Client<typeof services>) => Promise<unknown>[]
> = {
  "16 messages of 4 MB in flight": (client) =>
    Array.from(
      { length: 16 },
      () => client.call("Test.echo", new Uint8Array(MESSAGE)),
    ),
  "saturating streams in both directions": (client) => [
    client.call("Test.drain", services.Test.flood()),
    (async () => {
      const items = await client.call("Test.flood");
      for await (const _ of items);
    })(),
  ],
};

for (const [name, load] of Object.entries(LOADS)) {
  test(`urgent calls beside ${name} take at most two round trips`, async () => {
    const times = await latencies(load);
    const p99 = times[Math.floor(times.length * 0.99)];
    assert(p99 <= 2 * ROUND_TRIP, `${p99} ms; all: ${times.join(" ")}`);
  });
}
