/**
 * What Go's methods take and return, where plain values do not say it.
 *
 * @module
 */

import { brand } from "../base/brand.ts";
import type { GobType } from "./gob/schema.ts";

/** A method's types; made by {@linkcode goMethod}. */
export class GoMethod<P, R> {
  /** Its argument. */
  readonly params: GobType<P>;
  /** Its reply. */
  readonly result: GobType<R>;

  static {
    brand(this, "GoMethod");
  }

  /** Use {@linkcode goMethod}. */
  constructor(params: GobType<P>, result: GobType<R>) {
    this.params = params;
    this.result = result;
  }
}

/** The types of `func (t *T) Name(args P, reply *R) error`. */
export function goMethod<P, R>(
  params: GobType<P>,
  result: GobType<R>,
): GoMethod<P, R> {
  return new GoMethod(params, result);
}

/** A tree of methods, as services are written: `{ Arith: { Multiply: goMethod(Args, int) } }`. */
export interface GoMethods {
  /** A service, or a method of one. */
  readonly [name: string]: GoMethods | GoMethod<unknown, unknown>;
}

/** The services that such a tree stands for, for `Client` and `Server`: `ServicesOf<typeof methods>`. */
export type ServicesOf<T> = {
  [K in keyof T]: T[K] extends GoMethod<infer P, infer R> ? (params: P) => R
    : ServicesOf<T[K]>;
};

/** Methods by dotted name. */
export type MethodTypes = ReadonlyMap<string, GoMethod<unknown, unknown>>;

/** A tree's methods by dotted name. */
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
