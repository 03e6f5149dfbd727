/**
 * Methods: the entries of a method table, and methods whose params a schema
 * validates before their handler starts.
 *
 * A schema is any object that implements Standard Schema version 1
 * (https://standardschema.dev): those of Zod, Valibot, ArkType and others do.
 *
 * A handler with a schema receives only what the schema returned. A call whose
 * params the schema refuses has not started.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import { RpcError } from "../base/errors.ts";
import { typeName } from "../base/inspect.ts";
import type { CallContext } from "../types/handler.ts";
import type {
  SchemaIssue,
  StandardSchema,
  ValidatedMethod,
} from "../types/schema.ts";
import type { CallOrder } from "./serial_queue.ts";

/** One method that a peer may call. */
export interface MethodEntry {
  /** Its dotted name. */
  readonly name: string;
  /** Validates its params, if they are validated. */
  readonly schema: StandardSchema | undefined;
  /** The order in which its calls run, if it is ordered. */
  readonly order: CallOrder | undefined;
  /** Calls its handler, as a method of the object in which it was written. */
  readonly run: (params: unknown, ctx: CallContext) => unknown;
}

/** Methods by dotted name. */
export type MethodTable = ReadonlyMap<string, MethodEntry>;

/** What {@linkcode method} makes. Its brand tells it from a plain object. */
export class SchemaMethod<Input, Output, Result>
  implements ValidatedMethod<Input, Output, Result> {
  /** Validates the params. */
  readonly schema: StandardSchema<Input, Output>;
  /** Receives what the schema returned. */
  readonly handler: (params: Output, ctx: CallContext<never>) => Result;

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
    handler: (params: Output, ctx: CallContext<never>) => Result,
  ) {
    this.schema = schema;
    this.handler = handler;
  }
}

/**
 * Makes a method whose params a schema validates before the handler starts.
 *
 * A call whose params the schema refuses fails with `invalid_argument`, with
 * the outcome `refused` and the schema's issues as `data` (at most 32).
 *
 * Without a schema a handler receives whatever the peer sent: its parameter
 * type is checked only for callers that were compiled with it.
 *
 * @throws {TypeError} If `schema` is not a Standard Schema.
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
export function method<Input, Output, Result, Body = unknown>(
  schema: StandardSchema<Input, Output>,
  handler: (params: Output, ctx: CallContext<Body>) => Result,
): ValidatedMethod<Input, Output, Result> {
  if (typeof schema?.["~standard"]?.validate !== "function") {
    throw new TypeError(
      `Cannot validate params: not a Standard Schema, received ${
        typeName(schema)
      }`,
    );
  }
  return new SchemaMethod(schema, handler);
}

/** Most issues that travel with an error. */
const MAX_ISSUES = 32;

/** The error of a call whose params have these issues. */
export function validationError(issues: readonly SchemaIssue[]): RpcError {
  const data = issues.slice(0, MAX_ISSUES).map(({ message, path }) => ({
    message: `${message}`,
    path: path?.map((p) => String(typeof p === "object" ? p.key : p)),
  }));
  const text = data[0]?.message ?? "the params are not valid";
  return new RpcError("invalid_argument", text, { data });
}
