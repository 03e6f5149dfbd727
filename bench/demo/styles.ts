/**
 * The three styles of the experiment, chains of calls that need each other's
 * results, and the check of every reply.
 *
 * The loops are measured: they only call, and compare each reply with the expected
 * one. {@linkcode Tally} has their progress.
 *
 * @module
 */

import { type Client, type EchoServices, ref } from "../../mod.ts";

const HELLO = "HelloService.Hello";

/** The options of a style. */
export interface Work {
  readonly calls: number;
  /** Tasks of the concurrent style. */
  readonly tasks: number;
  /** Milliseconds after which the sync style stops. */
  readonly syncLimit: number;
}

/** A style of making calls. Resolves when all replies have arrived. */
export type Style = (
  client: Client<EchoServices>,
  work: Work,
  tally: Tally,
) => Promise<void>;

/** Counts right replies. The first wrong or missing reply is the fault. */
export class Tally {
  done = 0;
  /** Settles when `calls` replies were right, or with the fault. */
  readonly finished: Promise<void>;
  readonly #calls: number;
  readonly #finished = Promise.withResolvers<void>();

  /** @param fault Called with the first fault. */
  constructor(calls: number, fault: (reason: unknown) => void) {
    this.#calls = calls;
    this.finished = this.#finished.promise;
    this.finished.catch(fault);
  }

  /** Compares the reply of call `i`. */
  check(i: number, reply: string): void {
    if (reply !== "hello:client " + i) {
      const text = JSON.stringify(reply)?.slice(0, 80);
      this.fail(new Error(`call ${i} was answered ${text}`));
    } else if (++this.done === this.#calls) this.#finished.resolve();
  }

  /** Records a fault. Only the first counts; others are its consequences. */
  readonly fail = (reason: unknown): void => this.#finished.reject(reason);
}

/** Waits for each reply before the next call. */
const sync: Style = async (client, { calls, syncLimit }, tally) => {
  let late = false;
  const timer = setTimeout(() => late = true, syncLimit);
  for (let i = 0; i < calls && !late; i++) {
    tally.check(i, await client.call(HELLO, "client " + i));
  }
  clearTimeout(timer);
};

/** Several tasks, each of which waits for each of its replies. */
const concurrent: Style = async (client, { calls, tasks }, tally) => {
  let next = 0;
  const task = async () => {
    while (next < calls) {
      const i = next++;
      tally.check(i, await client.call(HELLO, "client " + i));
    }
  };
  await Promise.all(Array.from({ length: Math.min(tasks, calls) }, task));
};

/** One loop that waits only for room in the window. */
const pipeline: Style = async (client, { calls }, tally) => {
  for (let i = 0; i < calls; i++) {
    // `await client.ready` alone would do, but it costs a microtask each time.
    if (client.desiredSize <= 0) await client.ready;
    // Not `go(...).reply.then`, which would also make a handle.
    client.call(HELLO, "client " + i)
      .then((reply) => tally.check(i, reply), tally.fail);
  }
  await tally.finished;
};

/** The styles by name, in the order in which they run. */
export const STYLES = { sync, concurrent, pipeline };

/** The name of a style. */
export type StyleName = keyof typeof STYLES;

/** Calls of a chain: the params of each are the result of the one before. */
export const CHAIN = 3;

/** Milliseconds after which no further chain begins. */
export const CHAIN_LIMIT = 1000;

/** Makes one chain after the other, and checks the last reply of each. */
function chains(
  chain: (client: Client<EchoServices>, name: string) => Promise<string>,
): Style {
  return async (client, { calls }, tally) => {
    await client.connection.opened;
    const end = performance.now() + CHAIN_LIMIT;
    const most = Math.ceil(calls / CHAIN);
    for (let i = 0; i < most && performance.now() < end; i++) {
      const reply = await chain(client, "client " + i);
      tally.check(i, reply.replace("hello:".repeat(CHAIN - 1), ""));
    }
  };
}

/** Awaits each result before the call that needs it. */
const awaited = chains(async (client, name) => {
  const first = await client.call(HELLO, name);
  return await client.call(HELLO, await client.call(HELLO, first));
});

/** Sends all calls of a chain at once. */
const dependent = chains((client, name) => {
  const first = client.go(HELLO, name);
  const second = client.go(HELLO, ref(first));
  return client.call(HELLO, ref(second));
});

/** The ways to make chains by name, in the order in which they run. `calls` counts chains. */
export const CHAINS = { awaited, dependent };

/** The name of a way to make chains. */
export type ChainName = keyof typeof CHAINS;
