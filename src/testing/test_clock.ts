/**
 * A clock that moves only when a test moves it.
 *
 * - Timers fire in the order of their times; those of one time in the order in
 *   which they were set.
 * - Everything that a timer causes has settled before the next one fires, as
 *   far as it needs neither time nor a socket.
 *
 * @module
 */

import { type Clock, systemClock } from "../base/clock.ts";

/** Turns of the event loop that are enough for every exchange over a memory pair. */
const TURNS = 4;

/**
 * Virtual time for the option `clock` of clients and servers. Nothing in the
 * library reads another clock or sets another timer, so with it a test lets hours
 * pass at once.
 *
 * `now()` starts at 1,000,000 ms, and so does the wall clock (`date()`). The
 * event loop is the real one: `turn()` waits for its next turn.
 *
 * @example A deadline of an hour
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { settle, TestClock } from "@sluice/rpc/testing";
 *
 * const services = { Work: { never: () => new Promise<void>(() => {}) } };
 * const clock = new TestClock();
 * const [near, far] = memoryPair();
 * const server = new Server(services, { clock });
 * server.accept(far);
 * const client = new Client<typeof services>(near, { clock });
 *
 * const call = client.go("Work.never", undefined, { timeout: 3_600_000 });
 * await settle(); // The call has arrived.
 * await clock.advance(3_600_000);
 * const error = await call.reply.catch((error) => error);
 * assertEquals([error.code, error.outcome], ["deadline_exceeded", "unknown"]);
 *
 * const closed = Promise.all([client.close(), server.close()]);
 * await clock.advance(10_000); // The handler never ends: the time for closing passes.
 * await closed;
 * assertEquals(clock.timers, 0);
 * ```
 */
export class TestClock implements Clock {
  #now = 1_000_000;
  #skew = 0;
  #next = 1;
  readonly #timers = new Map<number, { at: number; fn: () => void }>();
  readonly #turns: number;

  /**
   * Creates a clock.
   *
   * @param turns Turns of the event loop to wait after each timer that fires.
   *   Default 4, which is enough for every exchange over a memory pair.
   */
  constructor(turns: number = TURNS) {
    this.#turns = turns;
  }

  /** How many timers are set. A closed client or server has none. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Milliseconds on the monotonic clock. */
  now(): number {
    return this.#now;
  }

  /** Milliseconds since the epoch, by the wall clock. */
  date(): number {
    return this.#now + this.#skew;
  }

  /** Calls `fn` once `advance` has let `ms` milliseconds pass. */
  setTimeout(fn: () => void, ms: number): number {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, fn });
    return id;
  }

  /** Cancels a timer that `setTimeout` returned. */
  clearTimeout(id: unknown): void {
    this.#timers.delete(id as number);
  }

  /** Resolves after the event loop has turned once. */
  turn(): Promise<void> {
    return systemClock.turn();
  }

  /** Moves the wall clock alone by `ms`, as an operator or NTP does; `now()` stays. */
  jump(ms: number): void {
    this.#skew += ms;
  }

  /**
   * Lets `ms` milliseconds pass: fires each timer that is due, in order, and lets
   * everything settle after each. Timers that are set on the way fire, too, if
   * they are due. Await it before you call it again.
   *
   * What arrives from a real socket or a real timer is not waited for.
   *
   * @throws {RangeError} If `ms` is negative or `NaN`.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) {
      throw new RangeError(
        `Cannot advance the clock: expected 0 ms or more, received ${ms}`,
      );
    }
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

/**
 * Lets everything settle that needs neither time nor a socket: waits for some
 * turns of the event loop, each of which runs all microtasks. Four turns, the
 * default, are enough for every exchange over a memory pair.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { settle } from "@sluice/rpc/testing";
 *
 * const services = { Work: { never: () => new Promise<void>(() => {}) } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * const call = client.go("Work.never");
 * await settle();
 * assertEquals(server.stats().running, 1);
 * assertEquals(call.outcome, "unknown");
 * await client.abort();
 * assertEquals(await call.settled, "unknown");
 * await server.close();
 * ```
 */
export async function settle(turns: number = TURNS): Promise<void> {
  for (let i = 0; i < turns; i++) await systemClock.turn();
}
