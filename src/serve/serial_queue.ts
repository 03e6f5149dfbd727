/**
 * The queues of ordered calls: those of one order and key run one at a time, in the order they came.
 *
 * @module
 */

import { checkKey, type OrderKey } from "../base/inspect.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";

/** A call that can wait in a {@linkcode SerialQueue}. */
export interface SerialCall<C extends ListNode<C>> extends ListNode<C> {
  /** The queue it is in: it runs, or waits for the calls before it. */
  line: { readonly behind: LinkedList<C> } | undefined;
}

/** An order that calls are started and finished in; one for each time `ordered` is called. */
export class CallOrder {
  /** Whether it takes a look at the params to tell whose turn it is. */
  readonly keyed: boolean;
  readonly #key: ((params: never) => OrderKey) | undefined;

  constructor(key: ((params: never) => OrderKey) | undefined) {
    this.keyed = key !== undefined;
    this.#key = key;
  }

  /**
   * A call's key; undefined in an order without one.
   *
   * @throws {TypeError} If it is none; else what the user's function throws.
   */
  keyOf(params: unknown): OrderKey | undefined {
    return this.#key && checkKey(this.#key(params as never));
  }

  /** What a connection keeps of all its orders: made by the first that it needs, so that who has none does not carry the code. */
  lines<C extends SerialCall<C>>(): SerialQueues<C> {
    return new SerialQueues();
  }
}

/** The line of one order and key. */
export class SerialQueue<C extends SerialCall<C>> {
  /** The call that has its turn. */
  holder: C;
  /** Those that wait for theirs. */
  readonly behind: LinkedList<C> = new LinkedList();
  readonly order: CallOrder;
  readonly key: OrderKey | undefined;

  constructor(holder: C, order: CallOrder, key: OrderKey | undefined) {
    this.holder = holder;
    this.order = order;
    this.key = key;
  }
}

/** All lines of one connection. */
export class SerialQueues<C extends SerialCall<C>> {
  /** Calls that wait for their turn. */
  waiting = 0;
  readonly #orders = new Map<
    CallOrder,
    Map<OrderKey | undefined, SerialQueue<C>>
  >();

  /** Gives a call its turn; or has it wait for that, and returns false. */
  take(call: C, order: CallOrder, key: OrderKey | undefined): boolean {
    let lines = this.#orders.get(order);
    if (lines === undefined) this.#orders.set(order, lines = new Map());
    const line = call.line = lines.get(key);
    if (line === undefined) {
      lines.set(key, call.line = new SerialQueue(call, order, key));
      return true;
    }
    line.behind.push(call);
    this.waiting++;
    return false;
  }

  /** Takes out a call that waits. */
  remove(call: C): void {
    call.line?.behind.remove(call);
    this.waiting--;
  }

  /** Takes the turn from the call that has it; returns the one that has it now. */
  startNext(line: SerialQueue<C>): C | undefined {
    const next = line.behind.first;
    if (next === undefined) this.#orders.get(line.order)?.delete(line.key);
    else {
      this.remove(next);
      line.holder = next;
    }
    return next;
  }
}
