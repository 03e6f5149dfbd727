/**
 * What is marked as ordered, and by which key.
 *
 * Invariant owned here: a mark is on the very object that `ordered` returned,
 * never on what its user passed in.
 *
 * @module
 */

import { shared } from "../base/brand.ts";
import { OrderLines } from "./order_lines.ts";

/** What tells calls of one order apart: those of different keys do not wait for each other. */
export type OrderKey = string | number | bigint;

/** What `ordered` can be told. */
export interface OrderedOptions<P> {
  /**
   * The key of a call: only calls of the same one wait for each other. It gets
   * the params as they came, before any schema has seen them. What it throws
   * fails that call, which is not started.
   */
  key?: ((params: P) => OrderKey) | undefined;
}

/** An order that calls are started and finished in; one for each time `ordered` is called. */
export class Order {
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
  lines(): OrderLines {
    return new OrderLines();
  }
}

/**
 * A user's key, if it is one. (An object would be another key each time, and
 * nothing would be ordered.)
 *
 * @throws {TypeError} If it is none.
 */
export function checkKey(key: OrderKey): OrderKey {
  const type = typeof key;
  if (type === "string" || type === "number" || type === "bigint") return key;
  throw new TypeError(
    `Cannot order a call by its key: not a string or number, received ${type}`,
  );
}

const MARK = shared("ordered");

/** Marks what `ordered` returns. */
export function mark<T extends object>(target: T, order: Order): T {
  return Object.defineProperty(target, MARK, { value: order });
}

/** The order that something was marked with. */
export function orderOf(target: object): Order | undefined {
  return Object.getOwnPropertyDescriptor(target, MARK)?.value;
}
