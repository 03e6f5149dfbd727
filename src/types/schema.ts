/**
 * Standard Schema, and methods that validate their params with one.
 *
 * @module
 */

import type { CallContext } from "./handler.ts";

/** A schema of any library that implements Standard Schema v1, such as Zod or Valibot; the part that {@linkcode method} uses. */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The one property that the specification defines. */
  readonly "~standard": {
    /** The version of the specification. */
    readonly version: 1;
    /** The name of the schema library. */
    readonly vendor: string;
    /** Checks a value. A result without `issues` has the `value` to use. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** The types of input and output; not there at run time. */
    readonly types?:
      | { readonly input: Input; readonly output: Output }
      | undefined;
  };
}

/** The result of a check: the value, or what is wrong with it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One fault of a value. */
export interface SchemaIssue {
  /** What is wrong, for people. */
  readonly message: string;
  /** Where it is wrong: keys from the value down to the faulty member, or objects that hold one each. */
  readonly path?:
    | ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>
    | undefined;
}

/**
 * A handler whose params are validated before it starts; made by
 * {@linkcode method}. A call with invalid params fails with
 * `invalid_argument`, and the handler does not run.
 */
export interface ValidatedMethod<Input, Output, Result> {
  /** The schema of the params. */
  readonly schema: StandardSchema<Input, Output>;
  /** The handler; receives the value that the schema returned. */
  readonly handler: (params: Output, ctx: CallContext<never>) => Result;
}
