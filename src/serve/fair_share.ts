/**
 * Which connection of a server starts the next handler, once the server as a
 * whole runs as many as it may.
 *
 * - At most `max` handlers run that outlive the turn of the event loop in which
 *   they started. (A handler that returns at once occupies no slot, but it
 *   starts only while one is free.)
 * - The last quarter of the slots is reserved for connections that run no
 *   handler. So a few connections whose handlers never end cannot keep the
 *   others from being served.
 * - A connection that finds no free slot waits in a queue, once. A free slot
 *   goes to the first one, for one call; a connection that has more calls to
 *   start goes to the end (round robin). So between two starts of one
 *   connection every other one that waits starts a call. Connections that run
 *   no handler wait in a queue of their own, which goes first.
 * - Urgent calls wait for none of that: they may exceed `max` by
 *   {@linkcode URGENT_CALLS}, over all connections.
 * - While a connection waits, no connection of the same queue overtakes it.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";
import { URGENT_CALLS } from "../wire/protocol.ts";

/** Starts in a row before the event loop runs other tasks. */
const STARTS_PER_TURN = 4096;

/** The running handlers of one server, and the connections that wait to start one. */
export class FairShare {
  /** Connections that wait and run no handler. */
  readonly idle: LinkedList<ConnectionShare> = new LinkedList();
  /** Connections that wait and run at least one. */
  readonly busy: LinkedList<ConnectionShare> = new LinkedList();
  /** Handlers that outlive the turn in which they started. */
  running = 0;
  readonly #max: number;
  /** How many may run when the next one is of a connection that runs one already. */
  readonly #unreserved: number;
  readonly #clock: Clock;
  /** The event loop runs other tasks; the queues go on after that. */
  #resting = false;

  constructor(max: number, clock: Clock) {
    this.#max = max;
    this.#unreserved = Math.ceil(max * 3 / 4);
    this.#clock = clock;
  }

  /** Adds a connection; `startOne` starts one of its calls, if it can, and returns whether it could start another. */
  join(startOne: () => boolean): ConnectionShare {
    return new ConnectionShare(this, startOne);
  }

  /** Whether a connection may start a handler now, without overtaking one that waits; an urgent call overtakes all. */
  mayStart(idle: boolean, urgent: boolean): boolean {
    if (urgent) return this.running < this.#max + URGENT_CALLS;
    if (this.#resting || this.idle.length > 0) return false;
    if (idle) return this.running < this.#max;
    return this.busy.length === 0 && this.running < this.#unreserved;
  }

  /** Gives the free slots to the connections that wait, round robin. */
  startNext(): void {
    if (this.#resting) return;
    let left = STARTS_PER_TURN;
    for (let share; (share = this.#next()) !== undefined;) {
      if (left-- === 0) {
        this.#rest();
        return;
      }
      share.dequeue();
      if (share.startOne()) share.enqueue();
    }
  }

  #next(): ConnectionShare | undefined {
    const { idle, busy, running } = this;
    if (idle.first !== undefined && running < this.#max) return idle.first;
    return running < this.#unreserved ? busy.first : undefined;
  }

  async #rest(): Promise<void> {
    this.#resting = true;
    await this.#clock.turn();
    this.#resting = false;
    this.startNext();
  }
}

/** What one connection runs of a server's handlers, and where it waits to start another. */
export class ConnectionShare implements ListNode<ConnectionShare> {
  previous: ConnectionShare | undefined = undefined;
  next: ConnectionShare | undefined = undefined;
  readonly startOne: () => boolean;
  readonly #server: FairShare;
  #running = 0;
  /** The queue in which it waits. */
  #queue: LinkedList<ConnectionShare> | undefined = undefined;

  constructor(server: FairShare, startOne: () => boolean) {
    this.#server = server;
    this.startOne = startOne;
  }

  /** Whether the connection may start a handler now; if not, it waits in a queue from here on. */
  mayStart(urgent: boolean): boolean {
    if (this.#server.mayStart(this.#running === 0, urgent)) return true;
    this.enqueue();
    return false;
  }

  /** Enters its queue at the end, unless it waits already. */
  enqueue(): void {
    if (this.#queue !== undefined) return;
    const { idle, busy } = this.#server;
    this.#queue = this.#running === 0 ? idle : busy;
    this.#queue.push(this);
  }

  /** Waits no longer. */
  dequeue(): void {
    this.#queue?.remove(this);
    this.#queue = undefined;
  }

  /** A handler outlives the turn in which it started: it occupies a slot. */
  acquire(): void {
    this.#running++;
    this.#server.running++;
  }

  /** It has settled. Its slot is given to the next one by `startNext`. */
  release(): void {
    this.#server.running--;
    if (--this.#running > 0 || this.#queue === undefined) return;
    // It runs nothing any more: it waits in the queue that goes first.
    this.dequeue();
    this.enqueue();
  }

  /** Gives the free slots to the connections that wait. */
  startNext(): void {
    this.#server.startNext();
  }
}
