/**
 * A helper of option types.
 *
 * @module
 */

/** A type of options: every member of `T` may be left out, or be `undefined`. (With `exactOptionalPropertyTypes`, `Partial` does not allow `undefined`.) */
export type Optional<T> = { [K in keyof T]?: T[K] | undefined };
