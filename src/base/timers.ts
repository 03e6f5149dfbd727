/**
 * All deadlines of one connection, on one timer.
 *
 * - At most one timer is set, and none while there is no deadline.
 * - An entry expires at most once, never before its time by the monotonic
 *   clock, and never after it was removed.
 *
 * A binary heap whose entries know their slot, so that one that settles early
 * is taken out at once instead of being kept alive until its time.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** Something that has a deadline. */
export interface TimerEntry {
  /** When it expires, by the clock's `now`. */
  expiresAt: number;
  /** Its place in the heap; -1 while it is in none. */
  heapIndex: number;
  /** Called when its time has come; it is out of the heap by then. */
  onTimeout(): void;
}

/** Longest delay a platform timer takes, in ms; longer ones are set again. */
const MAX_DELAY = 0x7fffffff;

/** A heap of {@linkcode TimerEntry} entries with one timer for the first. */
export class TimerHeap {
  readonly #clock: Clock;
  readonly #heap: TimerEntry[] = [];
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
  add(entry: TimerEntry): void {
    if (entry.expiresAt === Infinity) return;
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1, entry);
    if (this.#heap[0] === entry) this.#arm();
  }

  /** Takes an entry out, if it is in. */
  remove(entry: TimerEntry): void {
    const { heapIndex: slot } = entry;
    if (slot < 0) return;
    entry.heapIndex = -1;
    const last = this.#heap.pop() as TimerEntry;
    if (last !== entry) {
      this.#up(slot, last);
      this.#down(last.heapIndex, last);
    }
    // An earlier timer than needed is left to fire and set anew: cheaper than
    // a timer per call. Only the last entry takes it along.
    if (this.#heap.length === 0) this.#disarm();
  }

  /** Sets whether the timer keeps the process alive, if the clock can let it exit. */
  hold(on: boolean): void {
    this.#held = on;
    this.#disarm();
    if (this.#heap.length > 0) this.#arm();
  }

  /** Forgets all entries, without expiring them. */
  clear(): void {
    for (const entry of this.#heap) entry.heapIndex = -1;
    this.#heap.length = 0;
    this.#disarm();
  }

  #arm(): void {
    const at = this.#heap[0].expiresAt;
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
    this.#timerAt = Infinity;
  }

  readonly #fire = () => {
    this.#timerAt = Infinity;
    const now = this.#clock.now();
    while (this.#heap.length > 0 && this.#heap[0].expiresAt <= now) {
      const entry = this.#heap[0];
      this.remove(entry);
      entry.onTimeout();
    }
    if (this.#heap.length > 0) this.#arm();
  };

  #up(slot: number, entry: TimerEntry): void {
    const heap = this.#heap;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (heap[parent].expiresAt <= entry.expiresAt) break;
      this.#put(slot, heap[parent]);
      slot = parent;
    }
    this.#put(slot, entry);
  }

  #down(slot: number, entry: TimerEntry): void {
    const heap = this.#heap;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (
        right < heap.length && heap[right].expiresAt < heap[child].expiresAt
      ) child = right;
      if (heap[child].expiresAt >= entry.expiresAt) break;
      this.#put(slot, heap[child]);
      slot = child;
    }
    this.#put(slot, entry);
  }

  #put(slot: number, entry: TimerEntry): void {
    this.#heap[slot] = entry;
    entry.heapIndex = slot;
  }
}

/** One timeout at a time, on a connection's {@linkcode TimerHeap}. */
export class Timeout implements TimerEntry {
  expiresAt = Infinity;
  heapIndex = -1;
  readonly #clock: Clock;
  readonly #deadlines: TimerHeap;
  #then: () => void = () => {};

  constructor(clock: Clock, deadlines: TimerHeap) {
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  /** Calls `then` after `ms`; replaces an earlier timeout. */
  set(ms: number, then: () => void): void {
    this.clear();
    this.expiresAt = this.#clock.now() + ms;
    this.#then = then;
    this.#deadlines.add(this);
  }

  /** Cancels the timeout. */
  clear(): void {
    this.#deadlines.remove(this);
  }

  onTimeout(): void {
    this.#then();
  }
}
