// Credit, windows and turns, over real ends.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Connection, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceClient, greet } from "../support/facing.ts";
import { FULL } from "../support/full.ts";
import { pair } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import { data, reply } from "../support/raw_peer.ts";

/** What each end may send is what the other has granted it. */
function assertExact(near: Connection, far: Connection): void {
  const [a, b] = [near.stats(), far.stats()];
  assertEquals(a.streamGranted, b.streamCredit);
  assertEquals(b.streamGranted, a.streamCredit);
  assert(a.streamHeld >= 0 && b.streamHeld >= 0);
}

/** An item of any kind, mostly small. */
function anItem(random: Random): unknown {
  const size = random.below(20) === 0
    ? random.below(100_000)
    : random.below(300);
  switch (random.below(4)) {
    case 0:
      return undefined;
    case 1:
      return new Uint8Array(size);
    case 2:
      return "s".repeat(size);
    default:
      return { n: size };
  }
}

test("[S6] through random lives of streams the credit equals the free part of the window, on both sides", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  async function* source() {
    for (let n = random.below(40); n > 0; n--) yield anItem(random);
    if (random.below(4) === 0) throw new Error("it fails");
  }
  const read = async (stream: ReadableStream<unknown>) => {
    const reader = stream.getReader();
    try {
      for (let n = random.below(50); n > 0; n--) {
        if ((await reader.read()).done) return;
      }
      await reader.cancel();
    } catch {
      // It was to fail.
    }
  };
  const both = pair({
    S: {
      up: async (stream: ReadableStream<unknown>) => {
        if (random.below(3) > 0) await read(stream);
      },
      down: () => source(),
      back: (stream: ReadableStream<unknown>) => stream,
      through: (stream: ReadableStream<unknown>) =>
        random.below(2) === 0 ? stream : source(),
    },
  });
  const { client, connection, close } = both;
  const lives = FULL ? 100_000 : 2000;
  const life = async () => {
    const controller = new AbortController();
    const options = { signal: controller.signal };
    if (random.below(5) === 0) settle().then(() => controller.abort());
    const calls = [
      () => client.call("S.up", source(), options),
      () => client.call("S.down", undefined, options),
      () => client.call("S.through", source(), options),
    ];
    const result = await calls[random.below(3)]().catch(() => undefined);
    if (result instanceof ReadableStream) await read(result);
  };
  for (let begun = 0; begun < lives; begun += 20) {
    const batch = Array.from({ length: 20 }, life);
    await settle(2 + random.below(4));
    const [open] = [client.stats().streams];
    // Frames may be under way now; they have arrived when nothing moves.
    if (open > 0) await settle(8);
    await Promise.all(batch);
    await settle(4);
    assertExact(client.connection, connection);
  }
  assertEquals([client.stats().streams, connection.stats().streams], [0, 0]);
  // All of the budget has come back: the largest item needs nearly all of a window.
  const large = ["x".repeat(1_000_000)];
  const echoed = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const sent = ReadableStream.from(large);
      return await Array.fromAsync(await client.call("S.back", sent));
    }),
  );
  for (const items of echoed) assertEquals(items, large);
  await close();
});

test("[S6] the window of an idle stream is its credit and what it holds", async () => {
  const { client, connection, close } = pair({
    S: {
      endless: async function* () {
        for (let i = 0;; i++) yield "x".repeat(i % 1000);
      },
    },
  });
  const reader = (await client.call("S.endless")).getReader();
  for (let i = 0; i < 200; i++) {
    await reader.read();
    await settle(300);
    assertExact(client.connection, connection);
    const { streamHeld, streamGranted } = client.stats();
    // What was read and is not given back yet is less than half of a window.
    assert(streamHeld + streamGranted > 32_768);
    assert(streamHeld + streamGranted <= 1_048_576);
  }
  await reader.cancel();
  await close();
});

test("the window of a reader that keeps up doubles, up to 1 MiB; the window of a slow reader does not grow", async () => {
  const { client, connection, close } = pair({
    S: {
      endless: async function* () {
        for (;;) yield new Uint8Array(30_000);
      },
    },
  });
  const stream = await client.call("S.endless");
  await settle(10);
  const before = connection.stats().streamCredit + client.stats().streamHeld;
  assert(before <= 65_536, `${before}`);
  const reader = stream.getReader();
  for (let i = 0; i < 2000; i++) await reader.read();
  await settle(10);
  const { streamHeld, streamGranted } = client.stats();
  assert(streamHeld + streamGranted > 500_000, `${streamHeld + streamGranted}`);
  assert(streamHeld + streamGranted <= 1_048_576);
  await reader.cancel();
  await close();
});

test("many readers of large items get them all, although the credit of the connection suffices for two at a time", async () => {
  const large = "x".repeat(900_000);
  const { client, close } = pair({
    S: {
      large: async function* () {
        for (let i = 0; i < 2; i++) yield large;
      },
    },
  }, { client: { connectionCredit: 2_100_000 } });
  const lengths = await Promise.all(Array.from({ length: 12 }, async () => {
    const items = await Array.fromAsync(await client.call("S.large"));
    return items.map((item) => item.length);
  }));
  for (const each of lengths) assertEquals(each, [900_000, 900_000]);
  await close();
});

test("an item over 1,000,000 bytes fails its stream at once with resource_exhausted", async () => {
  const { client, close } = pair({
    S: {
      count: async (s: ReadableStream<string>) =>
        (await Array.fromAsync(s)).length,
    },
  });
  const items = ReadableStream.from(["x".repeat(1_000_001)]);
  const error = await client.call("S.count", items).then(
    () => undefined,
    (e) => e,
  );
  assertEquals([error.code, error.cause.code], [
    "resource_exhausted",
    "resource_exhausted",
  ]);
  await close();
});

test("an item that needs more than half of the credit of the connection fails its stream behind the items before it", async () => {
  const { client, close } = pair({
    S: {
      items: async function* () {
        yield "small";
        yield "x".repeat(32_700);
      },
    },
  }, { client: { connectionCredit: 65_536 } });
  const reader = (await client.call("S.items")).getReader();
  assertEquals((await reader.read()).value, "small");
  let error;
  reader.read().catch((reason) => error = reason);
  await settle();
  assertEquals((error as RpcError | undefined)?.code, "resource_exhausted");
  await close();
});

test("streams that wait for their next item have returned what they borrowed for the last one", async () => {
  const { client } = pair({
    S: {
      feed: async function* (item: string) {
        yield item;
        await new Promise(() => {});
      },
    },
  });
  const items: unknown[] = [];
  for (let i = 0; i < 24; i++) {
    const item = "x".repeat(100_000);
    const stream = await client.call("S.feed", item);
    const reader = stream.getReader();
    reader.read().then(({ value }) => items.push(value)).catch(() => {});
    await settle();
    reader.read().catch(() => {});
  }
  assertEquals(items.length, 24);
  await client.connection.abort();
});

test("windows grow for speed only as far as all of them fit the credit of the connection", async () => {
  const connectionCredit = 300_000;
  const facing = faceClient({ streamCredit: 65_536, connectionCredit });
  await greet(facing, { streams: true });
  const { client, peer } = facing;
  const ids = [1, 2, 3];
  const calls = ids.map(() => client.connection.call("S.items"));
  for (const id of ids) await peer.send(reply(id, [5]));
  const [stream] = await Promise.all(calls);
  const reader = (stream as ReadableStream<unknown>).getReader();
  const item = new Uint8Array(1 + 8000).fill(3, 0, 1);
  for (let i = 0; i < 100; i++) {
    const read = reader.read();
    await settle();
    await peer.send(data(1, item));
    await read;
  }
  const { streamHeld, streamGranted } = client.stats();
  const most = connectionCredit;
  assert(streamHeld + streamGranted <= most, `${streamHeld}+${streamGranted}`);
  // Without what was read and is not granted again yet.
  assert(streamHeld + streamGranted > 210_000, `${streamGranted}`);
  await client.connection.abort();
});

test("streams write round robin, and a small call does not wait behind them", async () => {
  const order: number[] = [];
  const { client, connection, close } = pair({
    S: {
      bulk: async function* () {
        for (;;) yield new Uint8Array(100_000);
      },
      ping: () => "pong",
    },
  });
  const streams = await Promise.all([0, 1, 2].map(() => client.call("S.bulk")));
  const readers = streams.map(async (stream, n) => {
    for await (const _ of stream) if (order.push(n) >= 600) break;
  });
  let most = 0;
  while (order.length < 500) {
    assertEquals(await client.call("S.ping"), "pong");
    most = Math.max(most, connection.stats().outgoingBytes);
  }
  assert(most < 300_000, `${most} bytes were waiting`);
  await Promise.all(readers);
  const counts = [0, 1, 2].map((n) => order.filter((m) => m === n).length);
  for (const count of counts) assert(count > 100, counts.join());
  await close();
});

test("client and server can saturate each other with streams and calls", async () => {
  const bytes = async function* () {
    for (let i = 0; i < 100; i++) yield new Uint8Array(50_000);
  };
  const size = async (stream: ReadableStream<Uint8Array>) => {
    let total = 0;
    for await (const chunk of stream) total += chunk.length;
    return total;
  };
  const { client, close } = pair({
    S: {
      size,
      bytes: () => bytes(),
      echo: (stream: ReadableStream<Uint8Array>) => stream,
      ping: (text: string) => text,
    },
  }, { highWaterMark: 1000 });
  const work = Array.from({ length: 8 }, async () => {
    const up = client.call("S.size", bytes());
    const down = client.call("S.bytes").then(size);
    const through = client.call("S.echo", bytes()).then(size);
    const ping = client.call("S.ping", "x".repeat(10_000));
    await ping;
    return await Promise.all([up, down, through]);
  });
  for (const sizes of await Promise.all(work)) {
    assertEquals(sizes, [5_000_000, 5_000_000, 5_000_000]);
  }
  await close();
});

test("a caller waits until the peer accepts one more stream; a handler's stream above the grant fails its call", async () => {
  const hold = Promise.withResolvers<void>();
  const { client, connection, close } = pair({
    S: {
      up: async (stream: ReadableStream<number>) => {
        await hold.promise;
        return (await Array.fromAsync(stream)).length;
      },
      down: () => ReadableStream.from([1]),
      endless: async function* () {
        for (;;) yield 1;
      },
    },
  }, { server: { maxStreams: 1 }, client: { maxStreams: 1 } });
  const ups = [1, 2].map(() =>
    client.call("S.up", ReadableStream.from([1, 2]))
  );
  await settle();
  assertEquals([client.stats().inFlight, client.stats().queued], [1, 1]);
  hold.resolve();
  assertEquals(await Promise.all(ups), [2, 2]);
  const first = await client.call("S.endless");
  const error = await client.call("S.down").then(() => undefined, (e) => e);
  assertEquals([error.code, error.outcome], ["resource_exhausted", "executed"]);
  await first.cancel();
  await settle();
  assertEquals(await Array.fromAsync(await client.call("S.down")), [1]);
  assertEquals(connection.stats().running, 0);
  await close();
});
