/**
 * Aborts a great many calls in every state: `aborts.ts shared|separate
 * [ABORTED [SEED]]`. A hundred thousand calls share a signal, or each has its own.
 * Some get their replies before the abort; others wait, are in flight, or were
 * made in the same turn.
 *
 * It goes on until so many were aborted, several times. Afterwards no call,
 * listener or timer may be left, and live memory must be what it was after the
 * first time. Run by `tools/leak.ts` on each runtime; prints one line.
 *
 * @module
 */

import { getEventListeners } from "node:events";
import process from "node:process";
import {
  Client,
  type EchoServices,
  echoServices,
  memoryPair,
  Server,
} from "../../mod.ts";
import { turn } from "../support/clock.ts";
import { megabytes, memory } from "../support/heap.ts";
import { newSeed, Random } from "../support/random.ts";

const MODE = process.argv[2] as "shared" | "separate";
const ABORTED = Number(process.argv[3] ?? 1_000_000);
const SEED = Number(process.argv[4] ?? newSeed());
const RUNS = 3;

/** How much a runtime may add by itself, in bytes: less than one for each of a million calls. */
const COMPILED = 1_000_000;

/** How many calls one group has, with one signal for all or one for each. */
const GROUP = { shared: 100_000, separate: 1000 } as const;
/** How many calls are made before the event loop gets a turn. */
const BURST = 1000;

/** How many calls were made, got a reply, and were aborted. */
interface Counts {
  calls: number;
  answered: number;
  aborted: number;
}

/** Makes a group of calls, aborts it, and waits until every call has settled. */
async function group(
  client: Client<EchoServices>,
  random: Random,
  counts: Counts,
): Promise<void> {
  const size = GROUP[MODE];
  const controllers = Array.from(
    { length: MODE === "shared" ? 1 : size },
    () => new AbortController(),
  );
  const reason = new Error("aborted at random");
  const good = () => void counts.answered++;
  const bad = (error: unknown) => {
    if (error !== reason) throw error;
    counts.aborted++;
  };
  const settled: Promise<void>[] = [];
  // From a random call on the event loop gets no more turns, so the window is full for the rest.
  const rush = random.below(size);
  for (let i = 0; i < size; i++) {
    const own = controllers[i % controllers.length];
    const call = client.call("Echo.echo", i, { signal: own.signal });
    settled.push(call.then(good, bad));
    // This one is aborted before it is sent; the others while they wait, are in flight, or have replies.
    if (own !== controllers[0] && random.oneIn(4)) own.abort(reason);
    if (i === rush || i % BURST === 0 && i < rush) await turn();
  }
  for (const controller of controllers) controller.abort(reason);
  await Promise.all(settled);
  counts.calls += size;
  for (const { signal } of controllers) {
    const left = getEventListeners(signal, "abort").length;
    if (left > 0) throw new Error(`${left} listeners are left on a signal`);
  }
}

async function run(random: Random): Promise<Counts> {
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  server.accept(far);
  const client = new Client<EchoServices>(near);
  const counts = { calls: 0, answered: 0, aborted: 0 };
  while (counts.aborted < ABORTED) await group(client, random, counts);
  const { queued, listeners, inFlight } = client.stats();
  if (queued + listeners > 0 || inFlight > 4096) {
    throw new Error(`something is left: ${JSON.stringify(client.stats())}`);
  }
  await client.close();
  await server.close();
  const { inFlight: flying, timers } = client.stats();
  if (flying + timers > 0) {
    throw new Error(`something is left: ${JSON.stringify(client.stats())}`);
  }
  if (counts.answered + counts.aborted !== counts.calls) {
    throw new Error(
      `not every call settled once: ${JSON.stringify(counts)}`,
    );
  }
  return counts;
}

const random = new Random(SEED);
const all = { calls: 0, answered: 0, aborted: 0 };
const heaps: number[] = [];
for (let i = 0; i < RUNS; i++) {
  const counts = await run(random);
  for (const name of Object.keys(all) as (keyof Counts)[]) {
    all[name] += counts[name];
  }
  heaps.push((await memory()).live);
}
if (all.answered === 0) throw new Error("no call got a reply before its abort");
const growth = Math.max(...heaps) - heaps[0];
console.log(
  `${MODE} signals, seed ${SEED}: ${all.calls} calls, ${all.aborted} aborted, ` +
    `${all.answered} answered; live memory ${
      heaps.map(megabytes).join(", ")
    } MB ` +
    `after each of ${RUNS} runs, growth ${megabytes(growth)} MB`,
);
if (growth > Math.max(heaps[0] / 10, COMPILED)) process.exit(1);
