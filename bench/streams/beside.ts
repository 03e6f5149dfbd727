/**
 * How long small calls take, one after the other, by themselves and beside a
 * stream of bytes that takes all it gets, in turns.
 *
 * @module
 */

import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";
import { type StreamClient, withServer } from "./peer.ts";
import { chunks } from "./services.ts";

/** Calls of each in a round. */
export interface BesideOrder {
  readonly calls: number;
  readonly rounds: number;
}

/** The 99th percentile of their times, in microseconds. */
export interface BesideResult {
  readonly alone: number;
  readonly up: number;
  readonly down: number;
}

async function p99(client: StreamClient, calls: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const began = performance.now();
    const reply = await client.call("HelloService.Hello", "client");
    times.push(performance.now() - began);
    if (reply !== "hello:client") throw new Error(`call ${i}: "${reply}"`);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.99)] * 1000;
}

/** What is written, or read, while calls are made; resolves with what stops it. */
const BULK: Record<
  keyof BesideResult,
  (client: StreamClient) => Promise<() => Promise<unknown>>
> = {
  alone: () => Promise.resolve(() => Promise.resolve()),
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
};

function run({ calls, rounds }: BesideOrder): Promise<BesideResult> {
  return withServer(async (client) => {
    const times: Record<keyof BesideResult, number[]> = {
      alone: [],
      up: [],
      down: [],
    };
    for (let i = 0; i <= rounds; i++) {
      for (const way of ["alone", "up", "down"] as const) {
        const stop = await BULK[way](client);
        const time = await p99(client, calls);
        await stop();
        if (i > 0) times[way].push(time);
      }
    }
    const { alone, up, down } = times;
    return { alone: median(alone), up: median(up), down: median(down) };
  });
}

if (import.meta.main) await program(run);
