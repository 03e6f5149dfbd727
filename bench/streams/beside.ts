/**
 * Measures the latency of small calls, one after the other, alone and beside a
 * stream of bytes that is as fast as it can be, in turns; and the same of a byte
 * over a plain socket beside another, which shows what runtime and system cost.
 *
 * @module
 */

import { connectPlain, type Plain } from "../limit/plain.ts";
import { CHUNK } from "../rows.ts";
import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";
import { type StreamClient, withServer } from "./peer.ts";
import { chunks, ECHO } from "./services.ts";

/** Calls of each in a round. */
export interface BesideOrder {
  readonly calls: number;
  readonly rounds: number;
}

/** 99th percentiles in microseconds; of plain sockets, the time of a byte there and one back. */
export interface BesideResult {
  readonly alone: number;
  readonly up: number;
  readonly down: number;
  readonly plainAlone: number;
  /** Beside another socket that is written as fast as possible. */
  readonly plainBeside: number;
}

async function p99(
  call: (i: number) => Promise<void>,
  calls: number,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const began = performance.now();
    await call(i);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.99)] * 1000;
}

async function hello(client: StreamClient, i: number): Promise<void> {
  const reply = await client.call("HelloService.Hello", "client");
  if (reply !== "hello:client") throw new Error(`call ${i}: "${reply}"`);
}

/** A socket that sends a byte and waits for one. */
async function pinger(port: number): Promise<() => Promise<void>> {
  let socket!: Plain;
  let came = () => {};
  await connectPlain(port, (made) => {
    socket = made;
    return { data: () => came() };
  });
  const ping = Uint8Array.of(ECHO);
  return () =>
    new Promise((resolve) => {
      came = resolve;
      socket.write(ping);
    });
}

/** Writes chunks to a plain socket until it is stopped. */
async function saturate(port: number): Promise<() => Promise<void>> {
  let socket!: Plain;
  await connectPlain(port, (made) => {
    socket = made;
    return { data: () => {} };
  });
  const chunk = new Uint8Array(CHUNK).fill(7);
  let stopped = false;
  const writing = (async () => {
    while (!stopped) {
      await socket.write(chunk);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  })();
  return () => {
    stopped = true;
    return writing;
  };
}

/** Starts a stream that is written or read while calls are made. Resolves with a function that stops it. */
const BULK: Record<
  keyof BesideResult,
  (client: StreamClient, plain: number) => Promise<() => Promise<unknown>>
> = {
  alone: () => Promise.resolve(nothing),
  up: (client) => {
    const handle = client.go("Streams.count", chunks(Infinity));
    handle.reply.catch(() => {});
    return Promise.resolve(() => {
      handle.abort();
      return handle.settled;
    });
  },
  down: async (client) => {
    const reader = (await client.call("Streams.chunks", 2 ** 40)).getReader();
    const reading = (async () => {
      while (!(await reader.read()).done);
    })();
    return async () => {
      await reader.cancel();
      await reading;
    };
  },
  plainAlone: () => Promise.resolve(nothing),
  plainBeside: (_, plain) => saturate(plain),
};

function nothing(): Promise<void> {
  return Promise.resolve();
}

function run({ calls, rounds }: BesideOrder): Promise<BesideResult> {
  return withServer(async (client, plain) => {
    const ping = await pinger(plain);
    const ways = Object.keys(BULK) as (keyof BesideResult)[];
    const times = ways.map((): number[] => []);
    for (let i = 0; i <= rounds; i++) {
      for (const [j, way] of ways.entries()) {
        const stop = await BULK[way](client, plain);
        const call = way.startsWith("plain") ? ping : hello.bind(null, client);
        const time = await p99(call, calls);
        await stop();
        if (i > 0) times[j].push(time); // The first round only warms up.
      }
    }
    const found = ways.map((way, j) => [way, median(times[j])]);
    return Object.fromEntries(found) as unknown as BesideResult;
  });
}

if (import.meta.main) await program(run);
