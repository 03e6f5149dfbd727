/**
 * A helper of option types.
 *
 * @module
 */

/** Options: any member may be left out, or be `undefined`. (`Partial` allows the second only without `exactOptionalPropertyTypes`.) */
export type Optional<T> = { [K in keyof T]?: T[K] | undefined };
