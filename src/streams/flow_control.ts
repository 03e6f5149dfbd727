/**
 * How much the readers of a connection's streams let the peer send, and the
 * memory behind it.
 *
 * Bounds:
 * - The window of each stream is its credit (what the peer may still send), what
 *   it holds (what waits to be read), and what it owes (what was read and is not
 *   granted again yet). The three always add up to the window's size.
 * - The same holds for all streams together: the connection's credit, what they
 *   hold and what is owed add up to `connectionCredit`. Every DATA uses both
 *   credits, also one that is ignored: so both sides count alike.
 * - Not counted there is what calls hold that have not started: at most the
 *   initial credit each. Otherwise they could keep the calls from ending that
 *   they wait for.
 * - Windows grow for speed only as far as all of them together stay within the
 *   connection's credit. One whose reader waits for the rest of an item grows to
 *   the size of the largest item.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import {
  CHARGE_BESIDE,
  MAX_DATA,
  MAX_ITEM,
  MAX_WINDOW,
  QUANTUM,
} from "../wire/protocol.ts";

/** What the largest DATA frame counts. */
const FULL_FRAME = MAX_DATA + CHARGE_BESIDE;

/** What the peer may send over all streams of one connection. */
export class ReceiveCredit {
  /** What the peer may still send. */
  credit: number;
  /** What waits to be read, over all streams; also of those whose calls are over. */
  held = 0;
  /** What the streams of calls hold that have not started, beside that. */
  waiting = 0;
  /** The largest item that is not bytes, in bytes. */
  readonly maxItem: number;
  readonly #total: number;
  readonly #grant: (bytes: number) => void;
  /** The sizes of all windows, without what they were extended by for items. */
  #windows = 0;

  /** @param grant Tells the peer that it may send so many bytes more. */
  constructor(total: number, grant: (bytes: number) => void) {
    this.credit = this.#total = total;
    this.maxItem = Math.min(MAX_ITEM, total / 2);
    this.#grant = grant;
  }

  /** Counts a new window of `initial` bytes. */
  open(initial: number): void {
    this.#windows += initial;
  }

  /** Gives a window up to `n` bytes for speed. */
  grow(n: number): number {
    const grown = Math.max(0, Math.min(n, this.#total - this.#windows));
    this.#windows += grown;
    return grown;
  }

  /** A window of `size` bytes has closed. */
  close(size: number): void {
    this.#windows -= size;
  }

  /**
   * Checks that the peer may send a DATA of `charge` bytes.
   *
   * @throws {ConnectionError} `resource_exhausted`, if it may not.
   */
  check(charge: number): void {
    if (charge > this.credit) excess(charge, this.credit, "the connection");
  }

  /** Counts a DATA of `charge` bytes. What is not held of it is owed at once. */
  take(charge: number): void {
    this.check(charge);
    this.credit -= charge;
    this.settle();
  }

  /** Grants what is owed once it is as much as the peer has left: half of all, if nothing is held. */
  settle(): void {
    const owed = this.#total - this.credit - this.held;
    if (owed < Math.max(this.credit, QUANTUM)) return;
    this.credit += owed;
    this.#grant(owed);
  }
}

/** The window of one stream. */
export class StreamWindow {
  /** What the peer may still send. */
  credit: number;
  /** What waits to be read. */
  held = 0;
  #size: number;
  readonly #all: ReceiveCredit;
  /** What it was extended by for an item. */
  #extended = 0;
  /** Whether what it holds counts against the connection's credit: not before its call has started. */
  #counts: boolean;

  constructor(initial: number, all: ReceiveCredit, counts: boolean) {
    this.credit = this.#size = initial;
    this.#all = all;
    this.#counts = counts;
    all.open(initial);
  }

  /**
   * Counts a frame of `charge` bytes; `kept` of them wait to be read, the rest
   * is owed at once.
   *
   * @throws {ConnectionError} `resource_exhausted`, if the peer was not granted as much.
   */
  take(charge: number, kept: number): void {
    const { credit } = this;
    if (charge > credit) excess(charge, credit, "the stream");
    this.#all.check(charge);
    this.credit -= charge;
    this.#hold(kept);
    this.#all.take(charge);
  }

  /** The call has started: what it holds counts against the connection's credit. */
  count(): void {
    if (this.#counts) return;
    const { held } = this;
    this.#hold(-held);
    this.#counts = true;
    this.#hold(held);
  }

  /** Counts `charge` held bytes as read; returns what to grant now, which is mostly 0. `drained` says that the reader has waited since the last grant. */
  read(charge: number, drained: boolean): number {
    this.drop(charge);
    if (this.#extended > 0) this.#shrink();
    if (2 * this.#owed < this.#size) return 0;
    if (drained) {
      const size = this.#size;
      this.#size += this.#all.grow(Math.min(size, MAX_WINDOW - size));
    }
    return this.#grant();
  }

  /** Makes room for the rest of an item that the reader waits for; returns what to grant now. */
  extendForItem(): number {
    const own = this.#size - this.#extended;
    // A peer that sends only full frames must be able to send the next one, if it could send the first.
    const least = own < FULL_FRAME ? own / 2 : Math.max(own / 2, FULL_FRAME);
    if (this.credit >= least) return 0;
    this.#extended += MAX_WINDOW - this.#size;
    this.#size = MAX_WINDOW;
    // Granted as the item arrives, never more at once than the stream's own
    // window: credit that is left over cannot be taken back.
    return this.#grant(own - this.credit);
  }

  /** Drops held bytes without granting them to the stream again; all of them by default. */
  drop(charge: number = this.held): void {
    this.#hold(-charge);
    this.#all.settle();
  }

  #hold(delta: number): void {
    this.held += delta;
    if (this.#counts) this.#all.held += delta;
    else this.#all.waiting += delta;
  }

  /** Whether the window cannot grow and has no credit left that is worth sending for: an item that has not arrived whole by now never fits. */
  get exhausted(): boolean {
    return this.#size >= MAX_WINDOW && this.credit + this.#owed < QUANTUM;
  }

  /** Gives the window back when its call is over. Nothing is granted to the stream any more; what is held counts until it is read. */
  close(): void {
    this.#all.close(this.#size - this.#extended);
    this.#extended = this.credit = this.#size = 0;
  }

  get #owed(): number {
    return this.#size - this.credit - this.held;
  }

  #grant(most = Infinity): number {
    const granted = Math.min(most, this.#owed);
    this.credit += granted;
    return granted;
  }

  /** Takes back what it was extended by. Credit cannot be taken back, so these are bytes that were read and are not granted again. */
  #shrink(): void {
    const less = Math.min(this.#extended, this.#owed);
    this.#extended -= less;
    this.#size -= less;
  }
}

function excess(charge: number, credit: number, whose: string): never {
  throw new ConnectionError(
    "resource_exhausted",
    `the peer sent DATA of ${charge} bytes, and ${whose} had ${credit} bytes of credit`,
  );
}
