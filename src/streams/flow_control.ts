/**
 * How much the reader of a stream lets the peer send, and the memory behind it.
 *
 * Bounds:
 * - The window of each stream is its credit (what the peer may still send), what
 *   it holds (what waits to be read), and what it owes (what was read and is not
 *   granted again yet). The three always add up to the window's size.
 * - The windows of all streams together are at most their number times the
 *   initial credit, and the budget.
 * - A reader that waits for the rest of a large item gets the window for all of
 *   it at once, first come, first served: two that have a part each would wait
 *   for each other. So windows that grow for speed use half of the budget only.
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

/** What the largest DATA frame counts. */
const FULL_FRAME = MAX_DATA + CHARGE_BESIDE;

/** What the windows of one connection's streams may grow by, in bytes. */
export class WindowBudget {
  /** What waits to be read, over all streams; also of those whose calls are over. */
  held = 0;
  readonly #total: number;
  /** Half of the total, which windows may grow by for speed. */
  readonly #half: number;
  #grown = 0;
  #borrowed = 0;
  /** Retries of windows that wait to borrow, in order; at most one for each stream. */
  readonly #waiting = new Set<() => void>();

  constructor(total: number) {
    this.#total = total;
    this.#half = Math.floor(total / 2);
  }

  /** The largest size of a window that starts with `initial` bytes. */
  maxWindow(initial: number): number {
    return Math.min(MAX_WINDOW, initial + this.#half);
  }

  /** Gives up to `n` bytes for speed. */
  grow(n: number): number {
    // Borrowers may have taken the other half, and some of this one.
    const left = Math.min(this.#half, this.#total - this.#borrowed);
    const grown = Math.max(0, Math.min(n, left - this.#grown));
    this.#grown += grown;
    return grown;
  }

  /** Lends all of `n` bytes for a large item, or nothing: then `retry` is called when it is worth another try. */
  borrow(n: number, retry: () => void): boolean {
    const [first = retry] = this.#waiting;
    if (first === retry && this.#grown + this.#borrowed + n <= this.#total) {
      this.#waiting.delete(retry);
      this.#borrowed += n;
      return true;
    }
    this.#waiting.add(retry);
    return false;
  }

  /** Takes back what was given for speed, and what was lent. */
  release(grown: number, borrowed: number): void {
    this.#grown -= grown;
    this.#borrowed -= borrowed;
    if (grown + borrowed > 0) this.#retryWaiting();
  }

  /** Takes a window out of the queue of those that wait to borrow. */
  stopWaiting(retry: () => void): void {
    if (this.#waiting.delete(retry)) this.#retryWaiting();
  }

  #retryWaiting(): void {
    for (const retry of this.#waiting) {
      retry();
      // It still waits, and nobody overtakes it.
      if (this.#waiting.has(retry)) return;
    }
  }
}

/** The window of one stream. */
export class StreamWindow {
  /** What the peer may still send. */
  credit: number;
  /** What waits to be read. */
  held = 0;
  #size: number;
  readonly #budget: WindowBudget;
  readonly #maxSize: number;
  readonly #retry: () => void;
  #grown = 0;
  #borrowed = 0;

  /** @param retry Called when `extendForItem` is worth another try. */
  constructor(initial: number, budget: WindowBudget, retry: () => void) {
    this.credit = this.#size = initial;
    this.#budget = budget;
    this.#maxSize = budget.maxWindow(initial);
    this.#retry = retry;
  }

  /**
   * Counts a frame of `charge` bytes; `kept` of them wait to be read, the rest
   * is owed at once.
   *
   * @throws {ConnectionError} `resource_exhausted`, if the peer was not granted as much.
   */
  take(charge: number, kept: number): void {
    const { credit } = this;
    if (charge > credit) {
      throw new ConnectionError(
        "resource_exhausted",
        `the peer sent DATA of ${charge} bytes, and had ${credit} bytes of credit`,
      );
    }
    this.credit -= charge;
    this.#hold(kept);
  }

  /** Counts `charge` held bytes as read; returns what to grant now, which is mostly 0. `drained` says that the reader has waited since the last grant. */
  read(charge: number, drained: boolean): number {
    this.drop(charge);
    if (this.#borrowed > 0) this.#repay();
    if (2 * this.#owed < this.#size) return 0;
    if (drained) {
      const size = this.#size;
      const grown = this.#budget.grow(Math.min(size, this.#maxSize - size));
      this.#grown += grown;
      this.#size += grown;
    }
    return this.#grant();
  }

  /** Makes room for the rest of an item that the reader waits for; returns what to grant now. */
  extendForItem(): number {
    const own = this.#size - this.#borrowed;
    // A peer that sends only full frames must be able to send the next one, if it could send the first.
    const least = own < FULL_FRAME ? own / 2 : Math.max(own / 2, FULL_FRAME);
    if (this.credit >= least) {
      this.stopWaiting();
      return 0;
    }
    const wanted = this.#maxSize - this.#size;
    if (wanted > 0 && this.#budget.borrow(wanted, this.#retry)) {
      this.#borrowed += wanted;
      this.#size += wanted;
    }
    // Borrowed bytes are granted as the item arrives, never more at once than
    // the stream's own window: credit that is left over cannot be taken back.
    return this.#grant(own - this.credit);
  }

  /** The reader does not wait for the rest of an item any more. */
  stopWaiting(): void {
    this.#budget.stopWaiting(this.#retry);
  }

  /** Drops held bytes without granting them again; all of them by default. */
  drop(charge: number = this.held): void {
    this.#hold(-charge);
  }

  #hold(delta: number): void {
    this.held += delta;
    this.#budget.held += delta;
  }

  /** Whether the window cannot grow and has no credit left that is worth sending for: an item that has not arrived whole by now never fits. */
  get exhausted(): boolean {
    return this.#size >= this.#maxSize && this.credit + this.#owed < QUANTUM;
  }

  /** Gives the window back when its call is over. Nothing is granted any more; what is held counts until it is read. */
  close(): void {
    const grown = this.#grown;
    const borrowed = this.#borrowed;
    this.#grown =
      this.#borrowed =
      this.credit =
      this.#size =
        0;
    this.stopWaiting();
    this.#budget.release(grown, borrowed);
  }

  get #owed(): number {
    return this.#size - this.credit - this.held;
  }

  #grant(most = Infinity): number {
    const granted = Math.min(most, this.#owed);
    this.credit += granted;
    return granted;
  }

  /** Returns borrowed bytes. Credit cannot be taken back, so these are bytes that were read and are not granted again. */
  #repay(): void {
    const paid = Math.min(this.#borrowed, this.#owed);
    this.#borrowed -= paid;
    this.#size -= paid;
    this.#budget.release(0, paid);
  }
}
