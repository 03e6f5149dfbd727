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

import { brand } from "../base/brand.ts";
import type { CallContext } from "./incoming_call.ts";

/** The part of Standard Schema v1 that is used here; the specification's own names. */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The specification's one property. */
  readonly "~standard": {
    /** Version of the specification. */
    readonly version: 1;
    /** Who made the schema library. */
    readonly vendor: string;
    /** Checks a value; a result without `issues` carries the `value` to use. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Types only; nothing at run time. */
    readonly types?:
      | { readonly input: Input; readonly output: Output }
      | undefined;
  };
}

/** What a schema says of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** What is wrong with a value, and where. */
export interface SchemaIssue {
  /** For people. */
  readonly message: string;
  /** Keys on the way to the place, or objects that hold one. */
  readonly path?:
    | ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>
    | undefined;
}

/** A handler with a schema; made by {@linkcode method}. */
export class ValidatedMethod<Input, Output, Result> {
  /** Checks the params. */
  readonly schema: StandardSchema<Input, Output>;
  /** Runs with what the schema returned. */
  readonly handler: (params: Output, ctx: CallContext) => Result;

  static {
    brand(this, "ValidatedMethod");
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
  return new ValidatedMethod(schema, handler);
}
