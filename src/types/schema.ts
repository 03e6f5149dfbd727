/**
 * Standard Schema, and methods that validate their params with one.
 *
 * @module
 */

import type { CallContext } from "./handler.ts";

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

/** A handler whose params are validated before it starts; made by {@linkcode method}. */
export interface ValidatedMethod<Input, Output, Result> {
  /** Validates the params. */
  readonly schema: StandardSchema<Input, Output>;
  /** Runs with what the schema returned. */
  readonly handler: (params: Output, ctx: CallContext) => Result;
}
