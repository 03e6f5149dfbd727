/**
 * Whose turn it is: the running handlers of all connections of a server.
 *
 * Invariants owned here:
 * - At most `max` handlers run that outlive the turn they were started in. (One
 *   that answers at once takes no place, but is started only where one is free.)
 * - The last quarter of the places is for connections that run nothing: so a
 *   few whose handlers never end cannot keep all others from being served.
 * - Who finds no place stands in line, each connection once. A free place goes
 *   to the first in line, for one call; one that has more to start goes to the
 *   end. So between two starts of one connection every other that waits has one.
 *   Those that run nothing have a line of their own, which goes first.
 * - Nobody overtakes a line: while somebody is in it, all others join it.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";

/** Starts in a row before the event loop gets a turn. */
const STARTS_PER_TURN = 4096;

/** Places with a line for them. */
class WaitList extends LinkedList<ShareSlot> {
  /** Whether whoever asks may start at once. */
  open = true;
  /** It moves while fewer handlers than this run. */
  readonly max: number;

  constructor(max: number) {
    super();
    this.max = max;
  }
}

/** The places of one server. */
export class FairShare {
  /** For connections that run nothing, and for the others. */
  readonly first: WaitList;
  readonly more: WaitList;
  #running = 0;
  /** The event loop has been given its turn; the lines move on after it. */
  #resting = false;
  readonly #clock: Clock;

  constructor(max: number, clock: Clock) {
    this.first = new WaitList(max);
    this.more = new WaitList(Math.ceil(max * 3 / 4));
    this.#clock = clock;
  }

  /** A connection's share; `next` starts its next call if it can, and says whether it could start another. */
  turn(next: () => boolean): ShareSlot {
    return new ShareSlot(this, next);
  }

  /** A handler that was started goes on. */
  acquire(): void {
    this.#running++;
    this.#shut();
  }

  /** It has settled; its place goes to nobody before `pass`. */
  release(): void {
    this.#running--;
  }

  /** Gives free places to those in line, in turn. */
  startNext(): void {
    if (this.#resting) return;
    let left = STARTS_PER_TURN;
    for (let turn; (turn = this.#head()) !== undefined;) {
      if (left-- === 0) {
        this.#rest();
        return;
      }
      turn.dequeue();
      if (turn.next()) turn.enqueue();
    }
    // What is left in a line found no place.
    this.first.open = this.more.open = true;
    this.#shut();
  }

  #head(): ShareSlot | undefined {
    const { first, more } = this;
    if (first.first !== undefined && this.#running < first.max) {
      return first.first;
    }
    return this.#running < more.max ? more.first : undefined;
  }

  #shut(): void {
    if (this.#running >= this.more.max) this.more.open = false;
    if (this.#running >= this.first.max) this.first.open = false;
  }

  async #rest(): Promise<void> {
    this.#resting = true;
    this.first.open = this.more.open = false;
    await this.#clock.turn();
    this.#resting = false;
    this.startNext();
  }
}

/** One connection's place in line. */
export class ShareSlot implements ListNode<ShareSlot> {
  before: ShareSlot | undefined = undefined;
  after: ShareSlot | undefined = undefined;
  readonly next: () => boolean;
  readonly #turns: FairShare;
  /** Its handlers that outlive the turn they were started in. */
  #running = 0;
  /** The line it stands in. */
  #line: WaitList | undefined = undefined;

  constructor(turns: FairShare, next: () => boolean) {
    this.#turns = turns;
    this.next = next;
  }

  /** Whether its connection may start a call now; if not, it stands in line from here on. */
  tryAcquire(): boolean {
    const { first, more } = this.#turns;
    if ((this.#running === 0 ? first : more).open) return true;
    this.enqueue();
    return false;
  }

  /** Enters its line at the end. */
  enqueue(): void {
    if (this.#line !== undefined) return;
    const { first, more } = this.#turns;
    this.#line = this.#running === 0 ? first : more;
    this.#line.push(this);
  }

  /** Leaves it. */
  dequeue(): void {
    this.#line?.remove(this);
    this.#line = undefined;
  }

  /** A handler that was started goes on. */
  acquire(): void {
    this.#running++;
    this.#turns.acquire();
  }

  /** It has settled. */
  release(): void {
    this.#turns.release();
    if (--this.#running > 0 || this.#line === undefined) return;
    this.dequeue();
    this.enqueue();
  }

  /** What was given can be taken. */
  startNext(): void {
    this.#turns.startNext();
  }

  /** Its connection is over, and starts nothing any more; its handlers keep their places until they settle. */
  end(): void {
    this.dequeue();
  }
}
