/**
 * What streams cost, over TCP with both ends in one process: a stage beside a
 * loop of calls, a stream of bytes beside a plain socket, small calls beside a
 * stream that takes all it gets, many streams, and a slow reader.
 *
 * @module
 */

import { connect as dial, createServer, type Socket } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Client, connect, listen, Server } from "../../mod.ts";
import { liveBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";

/** How much to do. */
export interface StreamsOrder {
  readonly calls: number;
  readonly megabytes: number;
  readonly streams: number;
  readonly items: number;
  readonly rounds: number;
}

/** What was measured; rates are medians. */
export interface StreamsResult {
  /** Calls/s. */
  readonly stage: number;
  readonly go: number;
  /** MB/s. */
  readonly bytes: number;
  readonly socket: number;
  /** The 99th percentile of a small call in ms, beside a stream and alone. */
  readonly beside: number;
  readonly alone: number;
  /** The most that came and waited to be read, in bytes, and what was granted at most. */
  readonly held: number;
  readonly bound: number;
  /** Live bytes after a tenth of the items, and at the end. */
  readonly early: number;
  readonly late: number;
}

const CHUNK = new Uint8Array(64 * 1024);
const MB = 1e6;

const services = {
  Math: { square: (n: number) => n * n },
  Bytes: {
    async count(bytes: ReadableStream<Uint8Array>): Promise<number> {
      let size = 0;
      for await (const chunk of bytes) size += chunk.length;
      return size;
    },
    async *send(size: number) {
      for (let sent = 0; sent < size; sent += CHUNK.length) yield CHUNK;
    },
    async *numbers(count: number) {
      for (let n = 0; n < count; n++) yield n;
    },
  },
};

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

type Rpc = Client<typeof services>;

function expect(got: unknown, wanted: unknown): void {
  if (got !== wanted) throw new Error(`${got} instead of ${wanted}`);
}

async function byStage(client: Rpc, calls: number): Promise<void> {
  let n = 0;
  await ReadableStream.from(Array.from({ length: calls }, (_, n) => n))
    .pipeThrough(client.stage("Math.square", { window: 1024 }))
    .pipeTo(new WritableStream({ write: (got) => expect(got, n++ ** 2) }));
  expect(n, calls);
}

async function byGo(client: Rpc, calls: number): Promise<void> {
  let done = 0;
  const all = Promise.withResolvers<void>();
  const take = (n: number, got: number) => {
    expect(got, n * n);
    if (++done === calls) all.resolve();
  };
  for (let n = 0; n < calls; n++) {
    if (client.desiredSize <= 0) await client.ready;
    const { reply } = client.go("Math.square", n);
    reply.then((got) => take(n, got)).catch(all.reject);
  }
  await all.promise;
}

async function* chunks(size: number) {
  for (let sent = 0; sent < size; sent += CHUNK.length) yield CHUNK;
}

/** The same bytes through a plain socket, counted at the other end. */
async function bySocket(size: number): Promise<void> {
  const counted = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    let left = size;
    socket.on("data", (chunk) => {
      left -= chunk.length;
      if (left <= 0) counted.resolve();
    });
    socket.on("error", counted.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket: Socket = dial((server.address() as AddressInfo).port);
  for (let sent = 0; sent < size; sent += CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, "drain");
  }
  await counted.promise;
  socket.destroy();
  server.close();
}

/** The 99th percentile of `count` calls, one after the other, in ms. */
async function p99(client: Rpc, count: number): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const began = performance.now();
    expect(await client.call("Math.square", n), n * n);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return times[Math.ceil(count * 0.99) - 1];
}

async function besideStream(client: Rpc, count: number): Promise<number> {
  const reader = (await client.call("Bytes.send", 1e15)).getReader();
  let reading = true;
  const read = (async () => {
    while (reading) await reader.read();
    await reader.cancel();
  })();
  const found = await p99(client, count);
  reading = false;
  await read;
  return found;
}

/** Reads many streams at once; the most that waited to be read meanwhile. */
async function many(
  client: Rpc,
  streams: number,
  size: number,
): Promise<number> {
  let held = 0;
  const one = async () => {
    let got = 0;
    for await (const chunk of await client.call("Bytes.send", size)) {
      got += chunk.length;
      if (got % (1024 * 1024) < 64 * 1024) {
        held = Math.max(held, client.stats().streamHeld);
      }
    }
    expect(got, Math.ceil(size / CHUNK.length) * CHUNK.length);
  };
  await Promise.all(Array.from({ length: streams }, one));
  return held;
}

/** Reads numbers more slowly than they are made; live bytes after a tenth, and at the end. */
async function slowly(client: Rpc, items: number): Promise<[number, number]> {
  let [n, early] = [0, 0];
  for await (const got of await client.call("Bytes.numbers", items)) {
    expect(got, n++);
    if (n % 100 === 0) await undefined;
    if (n === Math.floor(items / 10)) early = await liveBytes();
  }
  expect(n, items);
  return [early, await liveBytes()];
}

async function run(order: StreamsOrder): Promise<StreamsResult> {
  const { calls, rounds } = order;
  const listener = await listen({ port: 0 });
  const server = new Server(services);
  server.serve(listener);
  const client: Rpc = new Client(await connect(listener.address));
  const size = Math.ceil(order.megabytes * MB / CHUNK.length) * CHUNK.length;
  const [stage, go, bytes, socket]: number[][] = [[], [], [], []];
  for (let i = 0; i <= rounds; i++) {
    const took = [
      calls / await seconds(() => byStage(client, calls)),
      calls / await seconds(() => byGo(client, calls)),
      size / MB /
      await seconds(async () =>
        expect(await client.call("Bytes.count", chunks(size)), size)
      ),
      size / MB / await seconds(() => bySocket(size)),
    ];
    // The first round warms up.
    if (i > 0) {
      [stage, go, bytes, socket].forEach((list, j) => list.push(took[j]));
    }
  }
  const count = Math.ceil(calls / 50);
  const alone = await p99(client, count);
  const beside = await besideStream(client, count);
  const held = await many(client, order.streams, size / order.streams * 4);
  const [early, late] = await slowly(client, order.items);
  const bound = order.streams * 64 * 1024 + 16 * 1024 * 1024;
  await client.close();
  await server.close();
  return {
    ...{ stage: median(stage), go: median(go) },
    ...{ bytes: median(bytes), socket: median(socket) },
    ...{ beside, alone, held, bound, early, late },
  };
}

if (import.meta.main) await program(run);
