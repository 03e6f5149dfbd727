/**
 * A clock that moves only when a test moves it.
 *
 * @module
 */

import type { Clock } from "../../mod.ts";

/** Virtual time: `advance` fires the timers that are due, in order. */
export class TestClock implements Clock {
  #now = 1_000_000;
  #skew = 0;
  #next = 1;
  readonly #timers = new Map<number, { at: number; fn: () => void }>();
  readonly #turns: number;

  /** @param turns Turns of the event loop after each timer that fires. */
  constructor(turns = 4) {
    this.#turns = turns;
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  date(): number {
    return this.#now + this.#skew;
  }

  setTimeout(fn: () => void, ms: number): number {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, fn });
    return id;
  }

  clearTimeout(id: unknown): void {
    this.#timers.delete(id as number);
  }

  turn(): Promise<void> {
    return turn();
  }

  /** Moves the wall clock alone, as an operator or NTP does. */
  jump(ms: number): void {
    this.#skew += ms;
  }

  /** Lets `ms` pass: fires each timer that is due, and lets everything settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      let due: [number, { at: number; fn: () => void }] | undefined;
      for (const entry of this.#timers) {
        if (entry[1].at > end) continue;
        if (due === undefined || entry[1].at < due[1].at) due = entry;
      }
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].fn();
      await settle(this.#turns);
    }
    this.#now = end;
    await settle(this.#turns);
  }
}

/** Resolves after the event loop has turned once. */
export function turn(): Promise<void> {
  return new Promise((resolve) => nextTask(resolve));
}

/** A page has no `setImmediate`, and delays nested timeouts: there a message takes its place. */
const nextTask: (fn: () => void) => void = globalThis.setImmediate ??
  messageTask();

function messageTask(): (fn: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()!();
  return (fn) => {
    waiting.push(fn);
    port2.postMessage(undefined);
  };
}

/**
 * Lets everything settle that needs neither time nor a socket: waits for some
 * turns of the event loop, each of which drains all microtasks. That is enough
 * for every exchange over memory pairs in these tests.
 */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}
