/**
 * The types of references to results: see `ref`.
 *
 * @module
 */

/** Marks references. No value has this member. */
declare const RESULT: unique symbol;

/** Stands for a `T` that is, or is in, the result of another call: see {@linkcode ref}. */
export type Ref<T> = RefTo<T>;

/** placeholder */
export interface RefTo<T> {
  readonly [RESULT]?: T;
}
