/**
 * A million calls that share one signal, aborted at a random moment among
 * them: some settle before, some are waiting or in flight, some are made after.
 *
 * The same is run again, and the live heap after a forced collection must be
 * within a tenth of what it was after the first run; no call, listener or
 * timer may be left. Run by `tools/leak.ts` on each runtime; prints one line.
 *
 * @module
 */

import { getEventListeners } from "node:events";
import process from "node:process";
import { Client, echoServices, memoryPair, Server } from "../../mod.ts";

const CALLS = Number(process.argv[2] ?? 1_000_000);
const SEED = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const RUNS = 3;

/** Calls made before the event loop gets a turn. */
const BURST = 1000;

/** A small seeded generator (mulberry32): the same run each time. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function run(): Promise<{ answered: number; aborted: number }> {
  const next = random(SEED);
  const [near, far] = memoryPair();
  const services = echoServices();
  const server = new Server(services);
  server.accept(far);
  const client = new Client<typeof services>(near);
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error("aborted at random");
  const abortAt = Math.floor(CALLS * (0.3 + 0.4 * next()));
  let answered = 0;
  let aborted = 0;
  const good = () => void answered++;
  const bad = (error: unknown) => {
    if (error !== reason) throw error;
    aborted++;
  };
  const settled: Promise<void>[] = [];
  for (let i = 0; i < CALLS; i++) {
    if (i === abortAt) controller.abort(reason);
    settled.push(client.call("Echo.echo", i, { signal }).then(good, bad));
    if (i % BURST === 0 && next() < 0.5) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await Promise.all(settled);
  const { inFlight, queued, listeners, timers } = client.stats();
  await client.close();
  await server.close();
  const onSignal = getEventListeners(signal, "abort").length;
  const left = queued + listeners + timers + onSignal;
  if (left !== 0 || inFlight > 4096 || client.stats().inFlight !== 0) {
    throw new Error(
      `left behind: ${JSON.stringify({ ...client.stats(), onSignal })}`,
    );
  }
  return { answered, aborted };
}

/** Live heap in bytes, after collection. */
async function liveHeap(): Promise<number> {
  const { gc, Bun } = globalThis as {
    gc?: () => void;
    Bun?: { gc(force: boolean): void };
  };
  for (let i = 0; i < 5; i++) {
    if (Bun !== undefined) Bun.gc(true);
    else if (gc !== undefined) gc();
    else throw new Error("run with --expose-gc");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  if (Bun === undefined) return process.memoryUsage().heapUsed;
  const jsc: { heapStats(): { heapSize: number } } = await import(
    "bun:jsc" as string
  );
  return jsc.heapStats().heapSize;
}

const heaps: number[] = [];
for (let i = 0; i < RUNS; i++) {
  const { answered, aborted } = await run();
  if (answered + aborted !== CALLS || answered === 0 || aborted === 0) {
    throw new Error(`${answered} answered, ${aborted} aborted of ${CALLS}`);
  }
  heaps.push(await liveHeap());
}
const growth = Math.max(...heaps) / heaps[0] - 1;
const shown = heaps.map((bytes) => (bytes / 1e6).toFixed(2)).join(", ");
console.log(
  `${CALLS} calls, seed ${SEED}: live heap ${shown} MB after runs 1 to ${RUNS}, growth ${
    (100 * growth).toFixed(1)
  } %`,
);
if (growth > 0.1) process.exit(1);
