/**
 * Methods whose calls run one at a time, in the order they came.
 *
 * Invariants owned here:
 * - `ordered` changes nothing of what it is given; it returns a copy.
 * - The mark is on each method, not on the service around it: it goes along
 *   where a service is spread, merged or taken apart.
 *
 * @module
 */

import type { CallContext } from "../types/handler.ts";
import { SchemaMethod } from "./method.ts";
import type { ValidatedMethod } from "../types/schema.ts";

import { isClass, isPlain, type OrderKey, typeName } from "../base/inspect.ts";
import type { MethodAt, MethodName, ParamsOf } from "../types/services.ts";
import { shared } from "../base/brand.ts";

import { CallOrder } from "./serial_queue.ts";

/** What the methods of a service are called with. */
export type ParamsIn<S> = ParamsOf<MethodAt<S, MethodName<S>>>;

/**
 * A method, or a whole service, whose calls are started and finished one at a
 * time, in the order they came, for each connection. All methods of a service
 * marked as one share one order; with a `key`, only calls of the same key do.
 * Calls of everything else run beside them.
 *
 * The result is a copy whose methods are marked, each for itself: they stay in
 * their order where the copy is spread into another service or taken apart. A
 * function that you put around an ordered one is not ordered.
 *
 * A call that is cancelled or late before its turn is skipped: `refused`. The
 * turn ends when the handler has settled, not when its caller has given up: a
 * handler that ignores its signal holds up what is behind it, which `stats()`
 * shows as `ordered`.
 *
 * Two connections do not wait for each other. What a call of an ordered method
 * does by `ctx.connection` may not be answered by way of the same order: it
 * would wait for itself.
 *
 * @throws {TypeError} If it is no function, method or plain object of these, or
 *   has a getter.
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
 * @example By a key of the params: one account at a time
 * ```ts
 * import { ordered, Server } from "@sluice/rpc";
 *
 * interface CallOrder { account: string; cents: number }
 * const balances = new Map<string, number>();
 * const add = ({ account, cents }: CallOrder) =>
 *   void balances.set(account, (balances.get(account) ?? 0) + cents);
 * const services = {
 *   Account: ordered({
 *     deposit: add,
 *     withdraw: ({ account, cents }: CallOrder) => add({ account, cents: -cents }),
 *   }, { key: ({ account }) => account }),
 * };
 * await new Server(services).close();
 * ```
 */
export function ordered<
  F extends (params: never, ctx: CallContext) => unknown,
>(handler: F, options?: OrderedOptions<ParamsOf<F>>): F;
/** The same of a {@linkcode method}; its key gets the params before its schema does. */
export function ordered<Input, Output, Result>(
  method: ValidatedMethod<Input, Output, Result>,
  options?: OrderedOptions<Input>,
): ValidatedMethod<Input, Output, Result>;
/** The same of a whole service. */
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
    `Cannot order: neither a function nor a plain object of functions, received ${
      typeName(target)
    }`,
  );
}

/** A marked copy of a method; undefined if it is none. */
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

/** A copy of a service whose methods are marked; undefined if it is none. What no server takes stays as it is, for the server to say so. */
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
    // No server takes one either; but a copy of its value could not be marked.
    if (get !== undefined || set !== undefined) {
      throw new TypeError(`Cannot order ${name}: it is a getter`);
    }
    // The innermost mark is the one that counts.
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

/** What `ordered` can be told. */
export interface OrderedOptions<P> {
  /**
   * The key of a call: only calls of the same one wait for each other. It gets
   * the params as they came, before any schema has seen them. What it throws
   * fails that call, which is not started.
   */
  key?: ((params: P) => OrderKey) | undefined;
}

const MARK = shared("ordered");

/** Marks what `ordered` returns. */
export function mark<T extends object>(target: T, order: CallOrder): T {
  return Object.defineProperty(target, MARK, { value: order });
}

/** The order that something was marked with. */
export function orderOf(target: object): CallOrder | undefined {
  return Object.getOwnPropertyDescriptor(target, MARK)?.value;
}
