// What only a page can do: outlive its server, be busy, and have workers.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  connectWebSocket,
  fromMessagePort,
  keepalive,
  ReconnectingClient,
  streams,
} from "../../client.ts";
import { driver } from "./driver.ts";
import type { WorkerServices } from "./page/port_worker.ts";
import type { Services } from "./services.ts";

/** Bytes of one item of `Stream.flood`. */
const ITEM = 16_384;

/** What a server may have sent to a page that reads nothing, in bytes. */
const SENT = 262_144;

/** How much either side may grow meanwhile, in bytes: garbage counts. */
const GROWTH = 64_000_000;

test("a client goes on when the server has restarted", async () => {
  const client = new ReconnectingClient<Services>(
    (signal) => connectWebSocket(driver.serverUrl, { signal }),
    { keepalive: keepalive() },
  );
  const first = await client.call("Work.process");
  const hangs = client.call("Work.hang", undefined, {
    idempotent: true,
    timeout: 60_000,
  });
  hangs.catch(() => {});
  await driver.restartServer();
  const second = await client.call("Work.process", undefined, {
    idempotent: true,
  });
  assert(second !== first, "it is another process");
  // The call that the first process had is sent again to the second.
  const states = client.stats();
  assertEquals(states.inFlight, 1);
  await client.abort(new Error("the test is over"));
});

test("while a page is busy, neither side holds more than the stream's credit", async () => {
  const { pause } = driver;
  const client = new Client<Services>(
    await connectWebSocket(driver.serverUrl),
    { streams: streams() },
  );
  const before = await driver.pageMemory();
  const flood = await client.call("Stream.flood", 0.8 * pause);
  const reader = flood.getReader();
  let at = 0;
  /** Reads some bytes, and checks that they are the next of the stream. */
  const read = async () => {
    const { value } = await reader.read();
    for (const byte of value ?? []) {
      const wanted = Math.floor(at++ / ITEM) % 256;
      if (byte !== wanted) throw new Error(`byte ${at} is wrong`);
    }
  };
  await read();
  // Nothing of the page runs in the meantime: no message is read.
  for (const until = performance.now() + pause; performance.now() < until;);
  const held = await driver.pageMemory() - before;
  const { items, growth } = await client.call("Stream.snapshot");
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  await driver.show(
    `busy for ${pause / 1000} s: the server had sent ${
      megabytes(items * ITEM)
    } and grown by ${megabytes(growth)}, the page by ${megabytes(held)}`,
  );
  assert(items * ITEM <= SENT, `${items} items were sent`);
  assert(growth <= GROWTH, `the server has grown by ${growth} bytes`);
  assert(held <= GROWTH, `the page has grown by ${held} bytes`);
  // The stream goes on where it was.
  while (at < 500 * ITEM) await read();
  await reader.cancel();
  await client.close();
});

test("a Web Worker serves the page over a message port", async () => {
  const worker = new Worker(driver.workerUrl, { type: "module" });
  const { port1, port2 } = new MessageChannel();
  worker.postMessage("serve", [port2]);
  const client = new Client<WorkerServices>(fromMessagePort(port1), {
    streams: streams(),
  });
  const calls = Array.from(
    { length: 1000 },
    (_, n) => client.call("Math.square", n),
  );
  const replies = await Promise.all(calls);
  assert(replies.every((reply, n) => reply === n * n));
  const reader = (await client.call("Stream.bytes", 64)).getReader();
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
  }
  assertEquals(bytes, 64 * 65_536);
  await client.close();
  worker.terminate();
});
