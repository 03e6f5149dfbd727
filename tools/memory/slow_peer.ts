/**
 * One end of a slow WebSocket, in a process of its own: `slow_peer.ts server ID MS`
 * or `slow_peer.ts client ID MS URL`. It reports its size some times a second; the
 * client says when it is done, and everything has arrived.
 *
 * @module
 */

import process from "node:process";
import { WebSocketServer } from "ws";
import { parentDone, sendToParent } from "../../bench/demo/parent.ts";
import { Client, connect, listen, Server } from "../../mod.ts";
import {
  collect,
  type Memory,
  memory,
  memoryNow,
} from "../../tests/support/heap.ts";
import { CALLS, REPLY, type SlowId, STREAMS } from "./slow.ts";

/** Its reports. */
export type SlowReport =
  | { readonly url: string }
  | { readonly held: number; readonly rss: number }
  | { readonly received: number };

/** Milliseconds between two measurements. */
const EVERY = 300;

/** Milliseconds that a handler takes whose reply is late. */
const LATE = 500;

/** Bytes that are read of a stream before the pause, and again after it. */
const PORTION = 4_000_000;

let before: Memory | undefined;

/** Reports what this process has grown by since `before`. */
async function report(): Promise<void> {
  if (before === undefined) return;
  const { rss } = await memoryNow();
  await collect();
  const { live } = await memoryNow();
  const held = live - before.live;
  sendToParent({ held, rss: rss - before.rss } satisfies SlowReport);
}

async function reportAlways(): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY));
    await report();
  }
}

/** Bytes without end. All chunks share one memory. */
async function* endless() {
  const chunk = new Uint8Array(65_536).fill(7);
  for (;;) yield chunk;
}

type Bytes = AsyncIterable<Uint8Array>;

/** Reads a portion of a stream, pauses, reads another, and cancels it. */
async function readSlowly(
  bytes: Bytes,
  pause: () => Promise<void>,
): Promise<number> {
  let read = 0;
  let paused = false;
  for await (const chunk of bytes) {
    read += chunk.length;
    if (!paused && read >= PORTION) {
      paused = true;
      await pause();
    } else if (read >= 2 * PORTION) break;
  }
  return read;
}

interface Services {
  readonly Slow: {
    begin(): Promise<void>;
    bytes(): AsyncGenerator<Uint8Array>;
    upload(bytes: Bytes): Promise<number>;
    reply(): Uint8Array;
    late(): Promise<Uint8Array>;
  };
}

const reply = () => new Uint8Array(REPLY).fill(7);

async function serve(pause: () => Promise<void>): Promise<void> {
  const server = new Server<Services>({
    Slow: {
      begin: async () => {
        before = await memory();
      },
      bytes: endless,
      upload: (bytes) => readSlowly(bytes, pause),
      reply,
      // All of them have started by then.
      late: async () => {
        await wait(LATE);
        return reply();
      },
    },
  }, {
    maxRunning: CALLS + STREAMS + 1,
    onError: (error) => console.error(error),
  });
  const listener = await listen("ws://127.0.0.1:0/rpc", { WebSocketServer });
  server.serve(listener);
  sendToParent({ url: listener.url } satisfies SlowReport);
  reportAlways();
}

type SlowClient = Client<Services>;

const times = <T>(n: number, make: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: n }, make));

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** What the client does, by case. Resolves with the bytes that were received. */
const RUNS: Record<
  SlowId,
  (client: SlowClient, ms: number) => Promise<number>
> = {
  "slow page": async (client, ms) => {
    const pause = () => wait(ms);
    const read = async () =>
      await readSlowly(await client.call("Slow.bytes"), pause);
    return sum(await times(STREAMS, read));
  },
  "slow server": async (client) =>
    sum(await times(STREAMS, () => client.call("Slow.upload", endless()))),
  "blocked page": async (client, ms) => {
    const streams = await times(STREAMS, () => client.call("Slow.bytes"));
    const goesOn = Promise.withResolvers<void>();
    const reading = streams.map((bytes) =>
      readSlowly(bytes, () => goesOn.promise)
    );
    let received = 0;
    const replies = times(CALLS, async () => {
      const { length } = await client.call("Slow.late");
      received += length;
    });
    // Its request is the last: the server has all of them.
    await client.call("Slow.reply");
    standStill(ms);
    await replies;
    goesOn.resolve();
    return received + sum(await Promise.all(reading));
  },
};

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Blocks this thread: no event is handled. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

async function runClient(id: SlowId, ms: number, url: string): Promise<void> {
  const client = new Client<Services>(await connect(url));
  await client.call("Slow.reply");
  await client.call("Slow.begin");
  before = await memory();
  reportAlways();
  const received = await RUNS[id](client, ms);
  await report();
  await client.close();
  sendToParent({ received } satisfies SlowReport);
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  const [side, id, ms, url] = process.argv.slice(2);
  if (side === "server") await serve(() => wait(Number(ms)));
  else await runClient(id as SlowId, Number(ms), url);
}
