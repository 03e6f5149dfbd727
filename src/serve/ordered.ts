/**
 * Ordered methods: calls of them run one at a time, in the order in which they
 * arrived, unless a handler passes its turn.
 *
 * - `ordered` does not change its argument; it returns a copy.
 * - The mark is on each method, not on the service around it: a method stays
 *   ordered where its service is spread, merged or taken apart.
 *
 * @module
 */

import { shared } from "../base/brand.ts";
import { isClass, isPlain, type OrderKey, typeName } from "../base/inspect.ts";
import type { CallContext } from "../types/handler.ts";
import type { ValidatedMethod } from "../types/schema.ts";
import type { MethodAt, MethodName, ParamsOf } from "../types/services.ts";
import { SchemaMethod } from "./method.ts";
import { CallOrder } from "./serial_queue.ts";

/** The params of all methods of a service, as a union. */
export type ParamsIn<S> = ParamsOf<MethodAt<S, MethodName<S>>>;

/** Options of {@linkcode ordered}. */
export interface OrderedOptions<P> {
  /**
   * Returns the key of a call: only calls with the same key wait for each other.
   * It receives the params as the caller sent them, before a schema validates
   * them. If it throws, that call fails and has not started.
   */
  key?: ((params: P) => OrderKey) | undefined;
}

/**
 * Makes a method, or all methods of a service, ordered: on each connection, a
 * call starts when the one before it has finished, in the order in which they
 * arrived. The methods of one service share one order. With a `key`, only calls
 * with the same key wait for each other. All other calls run beside them.
 *
 * The result is a copy with a mark on each method: the methods stay in their
 * order when you spread the copy into another service or take it apart. A
 * function that you wrap around an ordered one is not ordered.
 *
 * A call that is cancelled, or whose deadline passes, while it waits is skipped,
 * and is `refused`. A call that runs delays the next one until its handler has
 * settled, even if its caller has given up. So a handler that ignores its signal
 * holds up the calls behind it, which `stats()` counts as `ordered`.
 *
 * A handler that calls `ctx.passTurn()` lets the next call start while it goes
 * on: see {@linkcode CallContext.passTurn}. Calls then still start in their
 * order, but may finish in another one.
 *
 * Calls of two connections do not wait for each other. A handler must not await
 * a call on `ctx.connection` whose answer needs another call of the same order:
 * it would wait for itself.
 *
 * @throws {TypeError} If it is not a function, a method or a plain object of
 *   these, or if it has a getter.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, ordered, Server } from "@sluice/rpc";
 *
 * const log: string[] = [];
 * const services = {
 *   Log: {
 *     append: ordered(async (line: string) => {
 *       await new Promise((resolve) => setTimeout(resolve, 5 - line.length));
 *       log.push(line);
 *     }),
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * await Promise.all(["a", "bb", "ccc"].map((line) => client.call("Log.append", line)));
 * assertEquals(log, ["a", "bb", "ccc"]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @example One call at a time for each account
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, ordered, Server } from "@sluice/rpc";
 *
 * interface Transfer { account: string; cents: number }
 * const balances = new Map<string, number>();
 * const add = ({ account, cents }: Transfer) =>
 *   void balances.set(account, (balances.get(account) ?? 0) + cents);
 * const services = {
 *   Account: ordered({
 *     deposit: add,
 *     withdraw: ({ account, cents }: Transfer) => add({ account, cents: -cents }),
 *   }, { key: ({ account }) => account }),
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * await Promise.all([
 *   client.call("Account.deposit", { account: "a", cents: 100 }),
 *   client.call("Account.withdraw", { account: "a", cents: 30 }),
 *   client.call("Account.deposit", { account: "b", cents: 5 }),
 * ]);
 * assertEquals([...balances], [["a", 70], ["b", 5]]);
 * await client.close();
 * await server.close();
 * ```
 */
export function ordered<
  F extends (params: never, ctx: CallContext) => unknown,
>(handler: F, options?: OrderedOptions<ParamsOf<F>>): F;
/** Makes a validated {@linkcode method} ordered; its key receives the params before the schema does. */
export function ordered<Input, Output, Result>(
  method: ValidatedMethod<Input, Output, Result>,
  options?: OrderedOptions<Input>,
): ValidatedMethod<Input, Output, Result>;
/** Makes all methods of a service ordered, in one order. */
export function ordered<S extends object>(
  service: S,
  options?: OrderedOptions<ParamsIn<S>>,
): S;
export function ordered(
  target: unknown,
  options: { key?: (params: never) => OrderKey } = {},
): object {
  const { key } = options;
  if (key !== undefined && typeof key !== "function") {
    throw new TypeError(
      `Cannot order by key: not a function, received ${typeName(key)}`,
    );
  }
  const order = new CallOrder(key);
  const copy = copyMethod(target, order) ?? copyService(target, order, []);
  if (copy !== undefined) return copy;
  throw new TypeError(
    `Cannot order: not a function or a plain object of functions, received ${
      typeName(target)
    }`,
  );
}

/** Returns a marked copy of a method; undefined if `target` is not a method. */
function copyMethod(target: unknown, order: CallOrder): object | undefined {
  if (target instanceof SchemaMethod) {
    return mark(new SchemaMethod(target.schema, target.handler), order);
  }
  if (typeof target !== "function" || isClass(target)) return undefined;
  return mark(
    function (this: unknown, params: unknown, ctx: CallContext): unknown {
      return Reflect.apply(target, this, [params, ctx]);
    },
    order,
  );
}

/** Returns a copy of a service with marked methods; undefined if `target` is not a service. What no server accepts is copied as it is, so that the server reports it. */
function copyService(
  target: unknown,
  order: CallOrder,
  above: readonly object[],
): object | undefined {
  if (typeof target !== "object" || target === null) return undefined;
  if (!isPlain(target) || above.includes(target)) return undefined;
  const path = [...above, target];
  const properties = Object.getOwnPropertyDescriptors(target);
  for (const [name, property] of Object.entries(properties)) {
    const { value, get, set } = property;
    // No server accepts one either, and a copy of its value could not be marked.
    if (get !== undefined || set !== undefined) {
      throw new TypeError(`Cannot order ${name}: it is a getter`);
    }
    // The innermost mark applies.
    if (isObject(value) && orderOf(value) !== undefined) continue;
    property.value &&= copyMethod(value, order) ??
      copyService(value, order, path) ?? value;
  }
  return Object.create(Object.getPrototypeOf(target), properties);
}

function isObject(value: unknown): value is object {
  return typeof value === "function" ||
    (typeof value === "object" && value !== null);
}

const MARK = shared("ordered");

/** Marks a method that `ordered` returns. */
export function mark<T extends object>(target: T, order: CallOrder): T {
  return Object.defineProperty(target, MARK, { value: order });
}

/** The order of a marked method. */
export function orderOf(target: object): CallOrder | undefined {
  return Object.getOwnPropertyDescriptor(target, MARK)?.value;
}
