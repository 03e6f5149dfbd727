/**
 * Assertions on types: a wrong one does not compile.
 *
 * @module
 */

/** Whether two types are identical, modifiers included. That one is assignable to the other is not enough. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

/** Compiles only for `true`: `holds<Equal<typeof reply, string>>()`. */
export function holds<_Claim extends true>(): void {}
