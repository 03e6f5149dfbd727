/**
 * Whose turn it is, among the ordered calls of one connection.
 *
 * Invariants owned here:
 * - Of one order and key at most one call has the turn; the others wait in line
 *   behind it, in the order they asked, and get it one after the other.
 * - There is a line only while a call has its turn. So there are no more of
 *   them, and of those that wait, than calls that hold a place in the window.
 *
 * @module
 */

import type { Serving } from "./incoming_call.ts";
import { List } from "../base/linked_list.ts";
import type { Order, OrderKey } from "./order.ts";

/** The line of one order and key. */
export class OrderLine {
  /** The call that has its turn. */
  holder: Serving;
  /** Those that wait for theirs. */
  readonly behind: List<Serving> = new List();
  readonly order: Order;
  readonly key: OrderKey | undefined;

  constructor(holder: Serving, order: Order, key: OrderKey | undefined) {
    this.holder = holder;
    this.order = order;
    this.key = key;
  }
}

/** All lines of one connection. */
export class OrderLines {
  /** Calls that wait for their turn. */
  waiting = 0;
  readonly #orders = new Map<Order, Map<OrderKey | undefined, OrderLine>>();

  /** Gives a call its turn; or has it wait for that, and returns false. */
  take(serving: Serving, order: Order, key: OrderKey | undefined): boolean {
    let lines = this.#orders.get(order);
    if (lines === undefined) this.#orders.set(order, lines = new Map());
    const line = serving.line = lines.get(key);
    if (line === undefined) {
      lines.set(key, serving.line = new OrderLine(serving, order, key));
      return true;
    }
    line.behind.push(serving);
    this.waiting++;
    return false;
  }

  /** Takes out a call that waits. */
  remove(serving: Serving): void {
    serving.line?.behind.remove(serving);
    this.waiting--;
  }

  /** Takes the turn from the call that has it; returns the one that has it now. */
  pass(line: OrderLine): Serving | undefined {
    const next = line.behind.first;
    if (next === undefined) this.#orders.get(line.order)?.delete(line.key);
    else {
      this.remove(next);
      line.holder = next;
    }
    return next;
  }
}
