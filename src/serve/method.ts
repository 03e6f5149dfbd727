/**
 * Methods whose params are validated before their handler starts.
 *
 * The schema is anything that implements Standard Schema version 1
 * (https://standardschema.dev): Zod, Valibot, ArkType and others.
 *
 * Invariant owned here: a handler with a schema never sees params that the
 * schema did not return; a call it refuses was not started.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import type { CallContext } from "../types/handler.ts";
import type { StandardSchema, ValidatedMethod } from "../types/schema.ts";
import type { CallOrder } from "./serial_queue.ts";

/** What {@linkcode method} makes; its brand tells it from a plain object. */
export class SchemaMethod<Input, Output, Result>
  implements ValidatedMethod<Input, Output, Result> {
  /** Checks the params. */
  readonly schema: StandardSchema<Input, Output>;
  /** Runs with what the schema returned. */
  readonly handler: (params: Output, ctx: CallContext) => Result;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "ValidatedMethod";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, SchemaMethod);
  }

  /** Use {@linkcode method}. */
  constructor(
    schema: StandardSchema<Input, Output>,
    handler: (params: Output, ctx: CallContext) => Result,
  ) {
    this.schema = schema;
    this.handler = handler;
  }
}

/**
 * A handler whose params are validated first: a call with others is answered
 * `invalid_argument`, outcome `refused`, the schema's issues as `data`.
 *
 * Without it, params are what the peer sent: the types are the compiler's word
 * about honest peers only.
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { Client, memoryPair, method, RpcError, Server } from "@sluice/rpc";
 * import * as v from "valibot";
 *
 * const services = { Math: { half: method(v.number(), (n) => n / 2) } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * assertEquals(await client.call("Math.half", 4), 2);
 * await assertRejects(() => client.call("Math.half", "4" as unknown as number), RpcError);
 * await client.close();
 * await server.close();
 * ```
 */
export function method<Input, Output, Result>(
  schema: StandardSchema<Input, Output>,
  handler: (params: Output, ctx: CallContext) => Result,
): ValidatedMethod<Input, Output, Result> {
  if (typeof schema?.["~standard"]?.validate !== "function") {
    throw new TypeError(
      `Cannot validate params: not a Standard Schema, received ${typeof schema}`,
    );
  }
  return new SchemaMethod(schema, handler);
}

/** One method, ready to be called. */
export interface MethodEntry {
  /** Its dotted name. */
  readonly name: string;
  /** What checks its params, if anything. */
  readonly schema: StandardSchema | undefined;
  /** What its calls wait for each other in, if anything. */
  readonly order: CallOrder | undefined;
  /** Calls it, on the object it was written in. */
  readonly run: (params: unknown, ctx: CallContext) => unknown;
}

/** Methods by dotted name. */
export type MethodTable = ReadonlyMap<string, MethodEntry>;
