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
import { type Linked, List } from "../base/linked_list.ts";

/** Starts in a row before the event loop gets a turn. */
const STARTS_PER_TURN = 4096;

/** Places with a line for them. */
class Line extends List<Turn> {
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
export class Turns {
  /** For connections that run nothing, and for the others. */
  readonly first: Line;
  readonly more: Line;
  #running = 0;
  /** The event loop has been given its turn; the lines move on after it. */
  #resting = false;
  readonly #clock: Clock;

  constructor(max: number, clock: Clock) {
    this.first = new Line(max);
    this.more = new Line(Math.ceil(max * 3 / 4));
    this.#clock = clock;
  }

  /** A connection's share; `next` starts its next call if it can, and says whether it could start another. */
  turn(next: () => boolean): Turn {
    return new Turn(this, next);
  }

  /** A handler that was started goes on. */
  took(): void {
    this.#running++;
    this.#shut();
  }

  /** It has settled; its place goes to nobody before `pass`. */
  gave(): void {
    this.#running--;
  }

  /** Gives free places to those in line, in turn. */
  pass(): void {
    if (this.#resting) return;
    let left = STARTS_PER_TURN;
    for (let turn; (turn = this.#head()) !== undefined;) {
      if (left-- === 0) {
        this.#rest();
        return;
      }
      turn.leave();
      if (turn.next()) turn.join();
    }
    // What is left in a line found no place.
    this.first.open = this.more.open = true;
    this.#shut();
  }

  #head(): Turn | undefined {
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
    this.pass();
  }
}

/** One connection's place in line. */
export class Turn implements Linked<Turn> {
  before: Turn | undefined = undefined;
  after: Turn | undefined = undefined;
  readonly next: () => boolean;
  readonly #turns: Turns;
  /** Its handlers that outlive the turn they were started in. */
  #running = 0;
  /** The line it stands in. */
  #line: Line | undefined = undefined;

  constructor(turns: Turns, next: () => boolean) {
    this.#turns = turns;
    this.next = next;
  }

  /** Whether its connection may start a call now; if not, it stands in line from here on. */
  ask(): boolean {
    const { first, more } = this.#turns;
    if ((this.#running === 0 ? first : more).open) return true;
    this.join();
    return false;
  }

  /** Enters its line at the end. */
  join(): void {
    if (this.#line !== undefined) return;
    const { first, more } = this.#turns;
    this.#line = this.#running === 0 ? first : more;
    this.#line.push(this);
  }

  /** Leaves it. */
  leave(): void {
    this.#line?.remove(this);
    this.#line = undefined;
  }

  /** A handler that was started goes on. */
  took(): void {
    this.#running++;
    this.#turns.took();
  }

  /** It has settled. */
  gave(): void {
    this.#turns.gave();
    if (--this.#running > 0 || this.#line === undefined) return;
    this.leave();
    this.join();
  }

  /** What was given can be taken. */
  pass(): void {
    this.#turns.pass();
  }

  /** Its connection is over, and starts nothing any more; its handlers keep their places until they settle. */
  end(): void {
    this.leave();
  }
}
