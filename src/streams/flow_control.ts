/**
 * What the reading end of a stream grants, and the memory behind it.
 *
 * Invariants owned here:
 * - window = credit + held + owed, for each stream: what may still come, what
 *   waits to be read, and what was read and is not given back yet.
 * - The windows of all streams together are at most their number times the
 *   initial credit, and the budget.
 * - Whoever waits for the rest of a large item gets the window for all of it at
 *   once, in turn: two that hold a part each would wait for each other. So
 *   windows that grow for speed use half of the budget only.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import {
  CHARGE_BESIDE,
  MAX_DATA,
  MAX_WINDOW,
  QUANTUM,
} from "../wire/protocol.ts";

/** What the largest DATA frame uses up. */
const FULL = MAX_DATA + CHARGE_BESIDE;

/** What the windows of one connection's streams may grow by, in bytes. */
export class WindowBudget {
  /** What waits to be read, over all streams; also of those whose calls are over. */
  held = 0;
  readonly #total: number;
  /** Given out for speed, and for large items. */
  #grown = 0;
  #lent = 0;
  /** Windows that wait for a loan, in turn. At most one for each stream. */
  readonly #waiting = new Set<() => void>();

  constructor(total: number) {
    this.#total = total;
  }

  /** The largest window a stream can get that begins with `initial`. */
  most(initial: number): number {
    return Math.min(MAX_WINDOW, initial + Math.floor(this.#total / 2));
  }

  /** Up to `n` bytes for speed. */
  grow(n: number): number {
    const half = Math.floor(this.#total / 2);
    // Loans may have taken the other half, and some of this one.
    const left = Math.min(half, this.#total - this.#lent) - this.#grown;
    const grown = Math.max(0, Math.min(n, left));
    this.#grown += grown;
    return grown;
  }

  /** All of `n` bytes for a large item, or nothing; then `again` is called when it may be asked for. */
  borrow(n: number, again: () => void): boolean {
    const [next = again] = this.#waiting;
    if (next === again && this.#grown + this.#lent + n <= this.#total) {
      this.#waiting.delete(again);
      this.#lent += n;
      return true;
    }
    this.#waiting.add(again);
    return false;
  }

  /** Gives back what was given for speed and for items. */
  release(grown: number, lent: number): void {
    this.#grown -= grown;
    this.#lent -= lent;
    if (grown + lent > 0) this.#serve();
  }

  /** Waits no more. */
  leave(again: () => void): void {
    if (this.#waiting.delete(again)) this.#serve();
  }

  #serve(): void {
    for (const each of this.#waiting) {
      each();
      // Still there: it did not get its loan, and nobody goes before it.
      if (this.#waiting.has(each)) return;
    }
  }
}

/** The window of one stream. */
export class StreamWindow {
  /** What the peer may still send. */
  credit: number;
  /** What waits to be read. */
  held = 0;
  /** All of it. */
  size: number;
  readonly #budget: WindowBudget;
  readonly #most: number;
  readonly #again: () => void;
  #grown = 0;
  #borrowed = 0;

  /** @param again Called when a loan that was not to be had may be asked for. */
  constructor(initial: number, budget: WindowBudget, again: () => void) {
    this.credit = this.size = initial;
    this.#budget = budget;
    this.#most = budget.most(initial);
    this.#again = again;
  }

  /**
   * A frame has come that uses up `charge` of the credit; `kept` bytes of it
   * wait to be read, and the rest is owed at once.
   *
   * @throws {ConnectionError} `resource_exhausted`, if that is more than was granted.
   */
  take(charge: number, kept: number): void {
    if (charge > this.credit) {
      throw new ConnectionError(
        "resource_exhausted",
        `DATA that counts ${charge} bytes; the stream had ${this.credit} bytes of credit left`,
      );
    }
    this.credit -= charge;
    this.#hold(kept);
  }

  /** Frames were read; returns what is to be granted for them now, mostly 0. `drained` says that the reader has waited since the last grant. */
  read(charge: number, drained: boolean): number {
    this.drop(charge);
    if (this.#borrowed > 0) this.#repay();
    if (2 * this.#owed < this.size) return 0;
    if (drained) {
      const wanted = Math.min(this.size, this.#most - this.size);
      const grown = this.#budget.grow(wanted);
      this.#grown += grown;
      this.size += grown;
    }
    return this.#grant();
  }

  /** The reader waits for the rest of an item; returns what is to be granted for it now. */
  extendForItem(): number {
    const own = this.size - this.#borrowed;
    // A producer that sends full frames alone must be able to, if it could begin.
    const least = own < FULL ? own / 2 : Math.max(own / 2, FULL);
    if (this.credit >= least) {
      this.stopWaiting();
      return 0;
    }
    const wanted = this.#most - this.size;
    if (wanted > 0 && this.#budget.borrow(wanted, this.#again)) {
      this.#borrowed += wanted;
      this.size += wanted;
    }
    // A loan is granted as the item comes, never more than the stream's own
    // window at once: credit that is left over could not be taken back.
    return this.#grant(own - this.credit);
  }

  /** Nobody waits for the rest of an item. */
  stopWaiting(): void {
    this.#budget.leave(this.#again);
  }

  /** Held bytes were read that are not granted again. */
  drop(charge: number): void {
    this.#hold(-charge);
  }

  /** What is held is thrown away. */
  discard(): void {
    this.#hold(-this.held);
  }

  #hold(delta: number): void {
    this.held += delta;
    this.#budget.held += delta;
  }

  /** Whether all that can be granted is used up: what has not come whole by now never fits. */
  get exhausted(): boolean {
    return this.size >= this.#most && this.credit + this.#owed < QUANTUM;
  }

  /** Its call is over: nothing is granted any more. What is held goes on being counted until it is read. */
  close(): void {
    const [grown, lent] = [this.#grown, this.#borrowed];
    this.#grown =
      this.#borrowed =
      this.credit =
      this.size =
        0;
    this.#budget.leave(this.#again);
    this.#budget.release(grown, lent);
  }

  get #owed(): number {
    return this.size - this.credit - this.held;
  }

  #grant(most = Infinity): number {
    const owed = Math.min(most, this.#owed);
    this.credit += owed;
    return owed;
  }

  /** Credit cannot be taken back: a loan shrinks by what is not granted again. */
  #repay(): void {
    const paid = Math.min(this.#borrowed, this.#owed);
    this.#borrowed -= paid;
    this.size -= paid;
    this.#budget.release(0, paid);
  }
}
