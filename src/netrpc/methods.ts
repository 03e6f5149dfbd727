/**
 * The Go types of methods' arguments and replies, for values that do not
 * determine their types themselves.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import type { GobType } from "./gob/schema.ts";

/** The types of one Go method's argument and reply. Create it with {@linkcode goMethod}. */
export class GoMethod<P, R> {
  /** The type of the argument. */
  readonly params: GobType<P>;
  /** The type of the reply. */
  readonly result: GobType<R>;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "GoMethod";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, GoMethod);
  }

  /** For {@linkcode goMethod}. */
  constructor(params: GobType<P>, result: GobType<R>) {
    this.params = params;
    this.result = result;
  }
}

/**
 * Declares the types of a Go method
 * `func (t *T) Name(args P, reply *R) error`, for the `methods` of
 * {@linkcode netrpc}.
 *
 * @param params The type of the argument.
 * @param result The type of the reply.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { float, goMethod, slice } from "@sluice/rpc/netrpc";
 *
 * // func (s *Stats) Mean(values []float64, reply *float64) error
 * const mean = goMethod(slice(float), float);
 * assertEquals(mean.params.kind, "slice");
 * ```
 */
export function goMethod<P, R>(
  params: GobType<P>,
  result: GobType<R>,
): GoMethod<P, R> {
  return new GoMethod(params, result);
}

/** A tree of methods in the form of the services: `{ Arith: { Multiply: goMethod(Args, int) } }`. */
export interface GoMethods {
  /** A method, or a service with its methods. */
  readonly [name: string]: GoMethods | GoMethod<unknown, unknown>;
}

/**
 * The type of the services that a tree of methods describes, for `Client` and
 * `Server`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { goMethod, int, type ServicesOf, struct } from "@sluice/rpc/netrpc";
 *
 * const Args = struct({ A: int, B: int }, "Args");
 * const methods = { Arith: { Multiply: goMethod(Args, int) } };
 *
 * const services: ServicesOf<typeof methods> = {
 *   Arith: { Multiply: ({ A, B }) => A * B },
 * };
 * assertEquals(services.Arith.Multiply({ A: 2, B: 3 }), 6);
 * ```
 */
export type ServicesOf<T> = {
  [K in keyof T]: T[K] extends GoMethod<infer P, infer R> ? (params: P) => R
    : ServicesOf<T[K]>;
};

/** Methods by dotted name, such as `Arith.Multiply`. */
export type MethodTypes = ReadonlyMap<string, GoMethod<unknown, unknown>>;

/** Returns the methods of a tree by dotted name. */
export function toMethodTypes(methods: GoMethods): MethodTypes {
  const types = new Map<string, GoMethod<unknown, unknown>>();
  const add = (node: GoMethods, path: string) => {
    for (const [key, value] of Object.entries(node)) {
      if (value instanceof GoMethod) types.set(path + key, value);
      else add(value, `${path}${key}.`);
    }
  };
  add(methods, "");
  return types;
}
