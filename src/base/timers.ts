/**
 * All deadlines of one connection, on one timer.
 *
 * Invariants owned here:
 * - At most one timer is set, and none while nothing is due.
 * - An entry expires at most once, never before its time by the monotonic
 *   clock, and never after it was removed.
 *
 * A binary heap whose entries know their slot, so that one that settles early
 * is taken out at once instead of being kept alive until its time.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** Something that has a time. */
export interface Timed {
  /** When it expires, by the clock's `now`. */
  due: number;
  /** Its place in the heap; -1 while it is in none. */
  slot: number;
  /** Called when its time has come; it is out of the heap by then. */
  expire(): void;
}

/** Longest delay a platform timer takes, in ms; longer ones are set again. */
const MAX_DELAY = 0x7fffffff;

/** A heap of {@linkcode Timed} entries with one timer for the first. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #heap: Timed[] = [];
  #timer: unknown;
  /** When the timer fires; Infinity while none is set. */
  #timerAt = Infinity;
  /** Whether the timer keeps the process alive. */
  #held = true;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#heap.length;
  }

  /** Enters an entry that is in no heap; one without a finite deadline never expires and is not kept. */
  add(entry: Timed): void {
    if (entry.due === Infinity) return;
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1, entry);
    if (this.#heap[0] === entry) this.#arm();
  }

  /** Takes an entry out, if it is in. */
  remove(entry: Timed): void {
    const { slot } = entry;
    if (slot < 0) return;
    entry.slot = -1;
    const last = this.#heap.pop() as Timed;
    if (last !== entry) {
      this.#up(slot, last);
      this.#down(last.slot, last);
    }
    // An earlier timer than needed is left to fire and set anew: cheaper than
    // a timer per call. Only the last entry takes it along.
    if (this.#heap.length === 0) this.#disarm();
  }

  /** Says whether what is waited for keeps the process alive, where the clock can let it end. */
  hold(on: boolean): void {
    this.#held = on;
    this.#disarm();
    if (this.#heap.length > 0) this.#arm();
  }

  /** Forgets all entries, without expiring them. */
  clear(): void {
    for (const entry of this.#heap) entry.slot = -1;
    this.#heap.length = 0;
    this.#disarm();
  }

  #arm(): void {
    const at = this.#heap[0].due;
    if (at >= this.#timerAt) return;
    this.#disarm();
    this.#timerAt = at;
    const delay = Math.ceil(at - this.#clock.now());
    this.#timer = this.#clock.setTimeout(
      this.#fire,
      Math.min(MAX_DELAY, Math.max(0, delay)),
    );
    if (!this.#held) this.#clock.unref?.(this.#timer);
  }

  #disarm(): void {
    if (this.#timerAt === Infinity) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = Infinity;
  }

  readonly #fire = () => {
    this.#timerAt = Infinity;
    this.#timer = undefined;
    const now = this.#clock.now();
    while (this.#heap.length > 0 && this.#heap[0].due <= now) {
      const entry = this.#heap[0];
      this.remove(entry);
      entry.expire();
    }
    if (this.#heap.length > 0) this.#arm();
  };

  #up(slot: number, entry: Timed): void {
    const heap = this.#heap;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (heap[parent].due <= entry.due) break;
      this.#put(slot, heap[parent]);
      slot = parent;
    }
    this.#put(slot, entry);
  }

  #down(slot: number, entry: Timed): void {
    const heap = this.#heap;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (
        right < heap.length && heap[right].due < heap[child].due
      ) child = right;
      if (heap[child].due >= entry.due) break;
      this.#put(slot, heap[child]);
      slot = child;
    }
    this.#put(slot, entry);
  }

  #put(slot: number, entry: Timed): void {
    this.#heap[slot] = entry;
    entry.slot = slot;
  }
}

/** One thing waited for at a time, on a connection's {@linkcode Deadlines}. */
export class Timer implements Timed {
  due = Infinity;
  slot = -1;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  #then: () => void = () => {};

  constructor(clock: Clock, deadlines: Deadlines) {
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  /** Calls `then` after `ms`, and forgets what it was set to before. */
  set(ms: number, then: () => void): void {
    this.clear();
    this.due = this.#clock.now() + ms;
    this.#then = then;
    this.#deadlines.add(this);
  }

  /** Forgets what it was set to. */
  clear(): void {
    this.#deadlines.remove(this);
  }

  expire(): void {
    this.#then();
  }
}
