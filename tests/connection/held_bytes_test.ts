// The memory account: whatever a connection holds for its peer is counted.

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { JsonRpcServer } from "../../jsonrpc.ts";
import { type CallContext, Client, memoryPair, Server } from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import type { Any } from "../support/dials.ts";
import { memory } from "../support/heap.ts";
import { pair } from "../support/pair.ts";
import {
  CALLER,
  data,
  end,
  frame,
  hello,
  join,
  KIND,
  RawPeer,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** What a call and a stream count beside their bytes. */
const CALL = 512;
const STREAM = 4096;

/** A server whose handlers wait, and a peer of it that is made by hand. */
async function host(options: object = {}, services: object = {}) {
  const held = new Held();
  const all: unknown = { ...held.services, ...services };
  const clock = new TestClock();
  const server = new Server<Any>(all as Any, { clock, ...options });
  const peer = new RawPeer();
  const connection = server.accept(peer.duplex);
  await peer.send(hello({ streams: true }));
  await settle();
  const base = connection.stats().bufferedBytes;
  const counted = () => connection.stats().bufferedBytes - base;
  const close = async () => {
    held.release();
    await connection.abort();
    await server.close();
    assertEquals(counted() + base, 0);
  };
  return { held, peer, connection, counted, close };
}

/** The metadata block of `n` entries of six bytes, and how many bytes that is. */
function entries(n: number): Uint8Array {
  const block = new Uint8Array(2 + 6 * n);
  new DataView(block.buffer).setUint16(0, 6 * n);
  for (let i = 0; i < n; i++) {
    block.set([3, i >>> 14, (i >>> 7) & 0x7f, i & 0x7f, 0, 0], 2 + 6 * i);
  }
  return block;
}

function requestWith(id: number, block: Uint8Array): Uint8Array {
  const body = request(id, "Held.work", [0]).subarray(12);
  return frame(KIND.REQUEST, id, join(block, body), 2);
}

for (
  const where of ["calls that wait", "calls before authorize", "calls that run"]
) {
  test(`[X14] metadata of ${where} takes the memory of its bytes until it is read`, async () => {
    const options = where === "calls that wait"
      ? { maxRunning: 1 }
      : where === "calls that run"
      ? {}
      : { authorize: () => new Promise(() => {}) };
    // Before authorization a connection may have 64 KiB of calls.
    const [connections, calls, count] = where === "calls before authorize"
      ? [100, 1, 10_000]
      : [1, 100, 10_000];
    const block = entries(count);
    const held = new Held();
    const server = new Server(held.services, {
      ...options,
      clock: new TestClock(),
    });
    const peers = Array.from({ length: connections }, () => new RawPeer());
    for (const peer of peers) {
      server.accept(peer.duplex);
      // A transport may keep its latest chunk.
      await peer.send(hello(), frame(KIND.PAD, 0, new Uint8Array(60_000)));
    }
    await settle();
    const before = await memory();
    for (const peer of peers) {
      for (let id = 1; id <= calls; id++) {
        await peer.send(requestWith(id, block));
      }
    }
    await settle();
    const after = await memory();
    const sent = connections * calls * block.length;
    const grown = after.live - before.live;
    assert(grown <= 2 * sent, `${grown} bytes for ${sent}`);
    const all = [...server.connections];
    const counted = all.reduce((n, c) => n + c.stats().bufferedBytes, 0);
    assert(counted >= sent, `${counted} counted`);
    if (held.calls.length > 0) {
      const { metadata } = held.calls[0].ctx;
      assert(metadata instanceof Map);
      assertEquals([metadata.size, metadata === held.calls[0].ctx.metadata], [
        count,
        true,
      ]);
    }
    await Promise.all(all.map((connection) => connection.abort()));
    held.release();
    await server.close();
  });
}

test("[X14] metadata that is not UTF-8 is a fault even if the handler does not read it", async () => {
  const { peer, connection, close } = await host();
  await peer.send(
    requestWith(1, Uint8Array.of(0, 5, 1, 0xff, 0, 1, 0x61)),
  );
  await settle();
  assertEquals(connection.stats().state, "finishing");
  await close();
});

test("[X18] a waiting call of a few bytes counts the memory it takes, and nothing once it is answered", async () => {
  const { held, peer, connection, counted, close } = await host({
    maxRunning: 1,
  });
  const ids = Array.from({ length: 1000 }, (_, i) => i + 1);
  await peer.send(...ids.map((id) => request(id, "Held.work", [0])));
  await settle();
  assertEquals(connection.stats().waiting, 999);
  assertEquals(counted(), 1000 * (CALL + 24));
  while (held.calls.length < 1000) {
    held.release();
    await settle(1);
  }
  held.release();
  await settle();
  assertEquals(counted(), 0);
  await close();
});

test("[X18] params of running handlers count until the reply, decoded JSON by the memory it takes", async () => {
  const { held, peer, counted, close } = await host();
  const objects = JSON.stringify(Array(10_000).fill({}));
  const payload = join([1], new TextEncoder().encode(objects));
  await peer.send(
    request(1, "Held.work", [...payload]),
    request(2, "Held.work", [2, ...new Uint8Array(30_000)]),
    request(3, "Held.work", "x".repeat(30_000)),
  );
  await settle();
  assertEquals(held.calls.length, 3);
  const all = counted();
  // Bytes and text as they are; an empty object is 20 times its three bytes.
  assert(all > 90_000 + 10_000 * 56, `${all}`);
  assert(all < 90_000 + 10_000 * 120, `${all}`);
  held.calls[0].resolve();
  await settle();
  assert(counted() > 60_000 && counted() < 62_000, `${counted()}`);
  held.release();
  await settle();
  assertEquals(counted(), 0);
  await close();
});

test("[X18] params that waited count as decoded once their handler runs", async () => {
  const { held, peer, counted, close } = await host({ maxRunning: 1 });
  const objects = JSON.stringify(Array(10_000).fill({}));
  const payload = join([1], new TextEncoder().encode(objects));
  await peer.send(
    request(1, "Held.work", [0]),
    request(2, "Held.work", [...payload]),
  );
  await settle();
  assert(counted() < 32_000, `${counted()}`);
  held.calls[0].resolve();
  await settle();
  assertEquals(held.calls.length, 2);
  assert(counted() > 600_000, `${counted()}`);
  held.release();
  await settle();
  assertEquals(counted(), 0);
  await close();
});

test("[X18] calls on other protocols count in the same way", async () => {
  const held = new Held();
  const objects = JSON.stringify(Array(10_000).fill({}));
  const services = held.services as unknown as Any;
  const texts: [Server<Any> | JsonRpcServer<Any>, string][] = [
    [
      new JsonRpcServer<Any>(services),
      `{"jsonrpc":"2.0","id":1,"method":"Held.work","params":${objects}}\n`,
    ],
    [
      new Server<Any>(services, {
        protocol: netrpc({ encoding: "json" }) as never,
      }),
      `{"method":"Held.work","params":[${objects}],"id":1}\n`,
    ],
  ];
  for (const [server, text] of texts) {
    const [near, far] = memoryPair();
    const connection = server.accept(far);
    const writer = near.writable.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await settle();
    const { running, bufferedBytes } = connection.stats();
    assertEquals(running, 1);
    assert(bufferedBytes > 600_000, `${bufferedBytes}`);
    await connection.abort();
    await server.close();
  }
  held.release();
});

test("[X18] items of params that nobody reads count until they are read", async () => {
  let stream: ReadableStream<string> | undefined;
  const { peer, counted, close } = await host({}, {
    Sink: {
      take: (params: ReadableStream<string>) => {
        stream = params;
        return new Promise(() => {});
      },
    },
  });
  await peer.send(request(1, "Sink.take", [5]));
  const item = join([3], new Uint8Array(10_000).fill(0x61));
  for (let i = 0; i < 6; i++) await peer.send(data(1, item, CALLER));
  await settle();
  const all = counted();
  assert(all > 60_000 + CALL + STREAM && all < 62_000 + CALL + STREAM);
  const reader = stream!.getReader();
  for (let i = 1; i <= 6; i++) {
    assertEquals((await reader.read()).value?.length, 10_000);
    assert(counted() < all - i * 10_000 + 500, `${counted()}`);
  }
  await reader.cancel();
  await close();
});

test("[X18] the parts of an incomplete item count, and an END frees them", async () => {
  const { peer, counted, close } = await host({}, {
    Sink: { take: () => new Promise(() => {}) },
  });
  await peer.send(request(1, "Sink.take", [5]));
  await settle();
  const before = counted();
  const part = join([3], new Uint8Array(300).fill(0x61));
  for (let i = 0; i < 50; i++) await peer.send(data(1, part, CALLER | 2));
  await settle(20);
  assertEquals(counted() - before, 50 * 300 + 17);
  await peer.send(end(1, CALLER, "cut_off"));
  await settle();
  assertEquals(counted() - before, 0);
  await close();
});

test("[X18] items of results count until they are read, also when their call is over", async () => {
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, { clock: new TestClock() });
  await peer.send(hello({ streams: true }));
  await settle();
  const call = client.call("Peer.items");
  await settle();
  const item = join([3], new Uint8Array(10_000).fill(0x61));
  await peer.send(
    reply(1, [5]),
    data(1, item),
    data(1, item),
    end(1),
  );
  const stream = await call;
  await settle();
  const { inFlight, bufferedBytes } = client.stats();
  assertEquals([inFlight, bufferedBytes], [0, 2 * 10_017]);
  assertEquals((await Array.fromAsync(stream)).length, 2);
  assertEquals(client.stats().bufferedBytes, 0);
  await client.connection.abort();
});

test("[X18] items that wait for credit count, whatever yields them", async () => {
  for (
    const make of [() => "x".repeat(500_000), () => new Uint8Array(500_000)]
  ) {
    const { peer, counted, close } = await host({}, {
      Source: {
        give: async function* () {
          for (;;) yield make();
        },
      },
    });
    await peer.send(request(1, "Source.give", [0]));
    await settle();
    // One item, less what the peer's first credit let through.
    assert(counted() > 430_000 && counted() < 520_000, `${counted()}`);
    await peer.send(frame(KIND.CANCEL, 1));
    await settle();
    assert(counted() < 70_000, `${counted()}`);
    await close();
  }
});

test("[X18] outgoing calls count while they wait and while the peer has them", async () => {
  const { peer, connection, counted, close } = await host();
  const handles = Array.from(
    { length: 10 },
    () => connection.go("Peer.work", new Uint8Array(1000)),
  );
  for (let id = 1; id <= 10; id++) await peer.nextOf(KIND.REQUEST);
  await settle();
  assertEquals(counted(), 10 * CALL);
  await peer.send(...handles.map((_, i) => reply(i + 1)));
  await settle();
  assertEquals(counted(), 0);
  await close();
});

test("[X18] streams that nobody reads on many connections are within maxTotalBuffered", async () => {
  const maxTotalBuffered = 4_000_000;
  const server = new Server<Any>({
    Sink: { take: () => new Promise(() => {}) },
  } as unknown as Any, { clock: new TestClock(), maxTotalBuffered });
  const item = join([2], new Uint8Array(32_000));
  const total = () =>
    [...server.connections].reduce((n, c) => n + c.stats().bufferedBytes, 0);
  for (let i = 0; i < 16; i++) {
    const peer = new RawPeer();
    const connection = server.accept(peer.duplex);
    await peer.send(hello({ streams: true }));
    for (let id = 1; id <= 16; id++) {
      if (connection.stats().state !== "open") break;
      await peer.send(
        request(id, "Sink.take", [5]),
        data(id, item, CALLER),
        data(id, item, CALLER),
      );
      await settle(1);
      assert(total() <= maxTotalBuffered + 70_000, `${total()}`);
    }
  }
  const states = [...server.connections].map((c) => c.stats().state);
  const open = states.filter((state) => state === "open").length;
  assert(open >= 2 && open < 8, `${open} are left`);
  await Promise.all([...server.connections].map((c) => c.abort()));
  await server.close();
});

test("[X18] nothing counts once everything is over, however it ended", async () => {
  const { client, connection, close } = pair({
    S: {
      both: (params: ReadableStream<string>) => params,
      drop: (_: ReadableStream<string>) => "done",
      fail: async function* (ctx: CallContext) {
        yield "x".repeat(100_000);
        throw new Error(`${ctx}`);
      },
    },
  });
  const items = () => ReadableStream.from(Array(20).fill("x".repeat(20_000)));
  for (let i = 0; i < 5; i++) {
    await Array.fromAsync(await client.call("S.both", items()));
    await client.call("S.drop", items());
    const cancelled = await client.call("S.both", items());
    await cancelled.cancel();
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = await client.call("S.both", items(), { signal });
    controller.abort();
    await aborted.getReader().read().catch(() => {});
  }
  await settle(10);
  const both = [client.stats(), connection.stats()];
  assertEquals(both.map(({ bufferedBytes }) => bufferedBytes), [0, 0]);
  await close();
});
