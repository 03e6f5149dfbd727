/**
 * The three styles of the experiment, and the check of every reply.
 *
 * The loops are what is measured: they do nothing but call, and compare each
 * reply with what it must be. Who wants to know how far they are looks at
 * {@linkcode Tally}.
 *
 * @module
 */

import type { Client, EchoServices } from "../../mod.ts";

const HELLO = "HelloService.Hello";

/** What a style is asked to do. */
export interface Work {
  readonly calls: number;
  /** Tasks of the concurrent style. */
  readonly tasks: number;
  /** Milliseconds after which the sync style stops. */
  readonly syncLimit: number;
}

/** A way to make the calls; done when all replies have come. */
export type Style = (
  client: Client<EchoServices>,
  work: Work,
  tally: Tally,
) => Promise<void>;

/** Counts the right replies; the first one wrong, or missing, is the fault. */
export class Tally {
  done = 0;
  /** Settles when `calls` replies were right, or with the fault. */
  readonly finished: Promise<void>;
  readonly #calls: number;
  readonly #finished = Promise.withResolvers<void>();

  /** @param fault Called with what went wrong first. */
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

  /** Notes a fault; those after the first are its consequences. */
  readonly fail = (reason: unknown): void => this.#finished.reject(reason);
}

/** Waits for each reply. */
const sync: Style = async (client, { calls, syncLimit }, tally) => {
  let late = false;
  const timer = setTimeout(() => late = true, syncLimit);
  for (let i = 0; i < calls && !late; i++) {
    tally.check(i, await client.call(HELLO, "client " + i));
  }
  clearTimeout(timer);
};

/** Tasks that each wait. With a task per call, this is what the write-up did. */
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

/** One loop that waits for nothing but room in the window. */
const pipeline: Style = async (client, { calls }, tally) => {
  for (let i = 0; i < calls; i++) {
    // `await client.ready` alone does as well, but waits a microtask each time.
    if (client.desiredSize <= 0) await client.ready;
    // Not `go(...).reply.then`: that makes a handle besides, of no use here.
    client.call(HELLO, "client " + i)
      .then((reply) => tally.check(i, reply), tally.fail);
  }
  await tally.finished;
};

/** The styles by name, in the order they are run. */
export const STYLES = { sync, concurrent, pipeline };

/** The name of a style. */
export type StyleName = keyof typeof STYLES;
