/**
 * Reads services: makes a table of methods of a tree of functions.
 *
 * A peer can call exactly the functions that are own data properties of a plain
 * object: nothing inherited, no getter, no method of a class instance unless
 * `expose` names it. The table is a `Map`, so that no name reaches a prototype.
 *
 * @module
 */

import { isClass, isPlain, typeName } from "../base/inspect.ts";
import type { CallContext } from "../types/handler.ts";
import type { StandardSchema } from "../types/schema.ts";
import { type MethodEntry, type MethodTable, SchemaMethod } from "./method.ts";
import { mark, orderOf } from "./ordered.ts";
import type { CallOrder } from "./serial_queue.ts";

/** A handler; TypeScript has checked its types where it was written. */
type AnyHandler = (params: unknown, ctx: CallContext) => unknown;

/**
 * Makes the table of a tree of services.
 *
 * @throws {TypeError} If a part of it is not a plain object of functions; the
 *   message says what to write instead.
 */
export function toMethodTable(services: object): MethodTable {
  const methodTable = new Map<string, MethodEntry>();
  addAll(methodTable, services, "", []);
  return methodTable;
}

function addAll(
  methodTable: Map<string, MethodEntry>,
  node: object,
  path: string,
  above: object[],
): void {
  if (above.includes(node)) {
    throw new TypeError(`Cannot serve ${path}: it contains itself`);
  }
  if (!isPlain(node)) {
    throw new TypeError(
      `Cannot serve ${
        path || "the services"
      }: it is a class instance; name its methods with expose(instance, ["Hello"])`,
    );
  }
  const properties = Object.getOwnPropertyDescriptors(node);
  for (const [key, property] of Object.entries(properties)) {
    if (!property.enumerable) continue;
    const name = above.length === 0 ? key : `${path}.${key}`;
    if (property.get !== undefined || property.set !== undefined) {
      throw new TypeError(
        `Cannot serve ${name}: it is a getter; name its methods with expose(instance, ["Hello"])`,
      );
    }
    const value: unknown = property.value;
    if (typeof value !== "object" || value === null) {
      addMethod(methodTable, name, value, node, undefined, undefined);
    } else if (value instanceof SchemaMethod) {
      const { handler, schema } = value;
      addMethod(methodTable, name, handler, node, schema, orderOf(value));
    } else addAll(methodTable, value, name, [...above, node]);
  }
}

function addMethod(
  methodTable: Map<string, MethodEntry>,
  name: string,
  handler: unknown,
  owner: object,
  schema: StandardSchema | undefined,
  order: CallOrder | undefined,
): void {
  if (typeof handler !== "function") {
    throw new TypeError(
      `Cannot serve ${name}: not a function, received ${typeName(handler)}`,
    );
  }
  if (isClass(handler)) {
    throw new TypeError(
      `Cannot serve ${name}: it is a class; make an instance and name its methods with expose(instance, ["Hello"])`,
    );
  }
  if (methodTable.has(name)) {
    throw new TypeError(`Cannot serve ${name}: two methods have this name`);
  }
  const fn = handler as AnyHandler;
  const run: AnyHandler = (params, ctx) => fn.call(owner, params, ctx);
  methodTable.set(name, {
    name,
    schema,
    order: orderOf(handler) ?? order,
    run,
  });
}

/**
 * Makes a service of a class instance. A peer can call the named methods, and
 * no others; they run as methods of the instance.
 *
 * @throws {TypeError} If `names` is not a list, or one of the names is not that
 *   of a method of the instance.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, expose, memoryPair, Server } from "@sluice/rpc";
 *
 * class Counter {
 *   #n = 0;
 *   add(by: number): number {
 *     return this.#n += by;
 *   }
 * }
 * const services = { Counter: expose(new Counter(), ["add"]) };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * assertEquals(await client.call("Counter.add", 2), 2);
 * await client.close();
 * await server.close();
 * ```
 */
export function expose<T extends object, K extends keyof T & string>(
  instance: T,
  names: readonly K[],
): Pick<T, K> {
  const list: unknown = names;
  if (!Array.isArray(list)) {
    throw new TypeError(
      `Cannot expose: not a list of names, received ${
        typeName(list)
      }; write expose(instance, ["Hello"])`,
    );
  }
  const service: Record<string, unknown> = {};
  for (const name of names) {
    const method: unknown = instance[name];
    const inherited = (Object.prototype as Record<string, unknown>)[name];
    if (
      typeof method !== "function" || method === inherited || isClass(method)
    ) {
      throw new TypeError(
        `Cannot expose ${name}: not a method of the instance, received ${
          typeName(method)
        }`,
      );
    }
    const bound = (params: unknown, ctx: CallContext) =>
      method.call(instance, params, ctx);
    const order = orderOf(method);
    service[name] = order === undefined ? bound : mark(bound, order);
  }
  return service as Pick<T, K>;
}
