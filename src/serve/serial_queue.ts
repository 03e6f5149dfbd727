/**
 * The queues of ordered calls on one connection: calls of the same order and
 * key run one at a time, in the order in which they arrived. A call leaves its
 * queue when it finishes, or before that when its handler passes its turn.
 *
 * @module
 */

import { checkKey, type OrderKey } from "../base/inspect.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";

/** A call that can be in a {@linkcode SerialQueue}. */
export interface SerialCall<C extends ListNode<C>> extends ListNode<C> {
  /** The queue that it is in: it is the queue's current call, or waits behind that. */
  queue: { readonly waiting: LinkedList<C> } | undefined;
}

/** An order in which calls start; `ordered` makes one each time it is called. */
export class CallOrder {
  /** Whether the params are needed to find a call's key. */
  readonly keyed: boolean;
  readonly #key: ((params: never) => OrderKey) | undefined;

  constructor(key: ((params: never) => OrderKey) | undefined) {
    this.keyed = key !== undefined;
    this.#key = key;
  }

  /**
   * The key of a call; undefined in an order without keys.
   *
   * @throws {TypeError} If it is neither a string, a number nor a bigint; and
   *   whatever the user's function throws.
   */
  keyOf(params: unknown): OrderKey | undefined {
    return this.#key && checkKey(this.#key(params as never));
  }

  /** Makes the queues of one connection, for all of its orders. It is a method so that a program without ordered methods does not carry the code. */
  makeQueues<C extends SerialCall<C>>(): SerialQueues<C> {
    return new SerialQueues();
  }
}

/** The calls of one order and key. */
export class SerialQueue<C extends SerialCall<C>> {
  /** The call that may run. */
  current: C;
  /** The calls that wait for it to finish or to pass its turn. */
  readonly waiting: LinkedList<C> = new LinkedList();
  readonly order: CallOrder;
  readonly key: OrderKey | undefined;

  constructor(current: C, order: CallOrder, key: OrderKey | undefined) {
    this.current = current;
    this.order = order;
    this.key = key;
  }
}

/** All queues of one connection. */
export class SerialQueues<C extends SerialCall<C>> {
  /** How many calls wait in them. */
  waiting = 0;
  readonly #orders = new Map<
    CallOrder,
    Map<OrderKey | undefined, SerialQueue<C>>
  >();

  /** Adds a call. Returns whether it may run now; otherwise it waits. */
  enter(call: C, order: CallOrder, key: OrderKey | undefined): boolean {
    let queues = this.#orders.get(order);
    if (queues === undefined) this.#orders.set(order, queues = new Map());
    const queue = call.queue = queues.get(key);
    if (queue === undefined) {
      queues.set(key, call.queue = new SerialQueue(call, order, key));
      return true;
    }
    queue.waiting.push(call);
    this.waiting++;
    return false;
  }

  /** Removes a call that waits. */
  remove(call: C): void {
    call.queue?.waiting.remove(call);
    this.waiting--;
  }

  /** The current call of `queue` has finished or passed its turn. Returns the one that may run now. */
  startNext(queue: SerialQueue<C>): C | undefined {
    const next = queue.waiting.first;
    if (next === undefined) this.#orders.get(queue.order)?.delete(queue.key);
    else {
      this.remove(next);
      queue.current = next;
    }
    return next;
  }
}
