/**
 * Time as the library sees it: monotonic milliseconds, one timer at a time.
 *
 * Nothing else in `src/` reads a clock or sets a timer, so a test that injects
 * a {@linkcode Clock} controls all of time.
 *
 * @module
 */

/** A source of time; inject one in tests. */
export interface Clock {
  /** Monotonic milliseconds from any origin. Durations are measured with this alone. */
  now(): number;
  /** Milliseconds since the epoch; only to turn an absolute `deadline` into a duration. */
  date(): number;
  /** Calls `fn` once after `ms` (at most 2^31 - 1) milliseconds. */
  setTimeout(fn: () => void, ms: number): unknown;
  /** Cancels a timer that `setTimeout` returned. */
  clearTimeout(timer: unknown): void;
  /** Lets the process exit although this timer is set, if the runtime can. */
  unref?(timer: unknown): void;
  /** Resolves after the event loop has turned once, so that other work gets its share. */
  turn(): Promise<void>;
}

/** The platform's clock: `performance.now()` and its timers. */
export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  unref,
  turn: () => new Promise((resolve) => soon(resolve)),
};

/** Timers are objects with `unref` on Node and Bun, and numbers on Deno. */
function unref(timer: unknown): void {
  if (typeof timer === "object") (timer as { unref?(): void }).unref?.();
  else {
    const { Deno } = globalThis as {
      Deno?: { unrefTimer?(timer: unknown): void };
    };
    Deno?.unrefTimer?.(timer);
  }
}

/**
 * `setImmediate`, or a message where there is none. A timeout of 0 would do, but
 * a page delays nested ones by 4 ms, and those of a hidden page by a second. An
 * older Cloudflare Worker has neither of the two, and does not delay.
 */
function soon(fn: () => void): void {
  const { setImmediate } = globalThis as {
    setImmediate?: (fn: () => void) => unknown;
  };
  if (setImmediate !== undefined) return void setImmediate(fn);
  if (globalThis.MessageChannel === undefined) return void setTimeout(fn, 0);
  // A channel for each turn: a shared one would tie the requests of a Cloudflare Worker together.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    fn();
  };
  port2.postMessage(undefined);
}

/** How many calls of `now` share one reading. Calls that wait make no batch that would end it. */
const USES = 64;

/** A clock that is read once for many calls: of a chunk, or of a batch. */
export class Tick {
  readonly #clock: Clock;
  #value = 0;
  #left = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** About now, in ms modulo 2^32. */
  now(): number {
    if (this.#left-- <= 0) {
      this.#left = USES - 1;
      this.#value = toTick(this.#clock.now());
    }
    return this.#value;
  }

  /** Time may have passed: the next `now` reads the clock. */
  stale(): void {
    this.#left = 0;
  }
}

/** The tick of a time by the clock's `now`. */
export function toTick(now: number): number {
  return now | 0;
}

/** Milliseconds from a tick to `now`, by the same clock. */
export function ticksSince(tick: number, now: number): number {
  return (toTick(now) - tick) >>> 0;
}
