/**
 * How the library recognises its own classes where a process has it twice: one
 * copy from npm and one from JSR, say, or in two versions of a package tree.
 *
 * An object that one copy has made is recognised by every other copy. Neither a
 * `WeakMap` nor a private field decides what something is.
 *
 * The copies may be of two versions: where the members of such a class change,
 * its brand (or the name of its symbol) must change, too. The older copy then
 * treats its instances as values it does not know.
 *
 * @module
 */

/** A class whose instances every copy of the library recognises. */
export interface Branded {
  readonly prototype: object;
  /** The same in every copy. */
  readonly sluiceBrand: string;
}

/** A symbol that is the same in every copy of the library. */
export function shared(name: string): symbol {
  return Symbol.for(`@sluice/rpc/${name}`);
}

/**
 * What `value instanceof asked` is, for the `Symbol.hasInstance` of `type`: true
 * also for what another copy's class of this brand has made. A class that
 * extends `type` inherits the method and is compared as any other class.
 *
 * The brand is read from the constructor, which must be a function: no value
 * that a serializer has decoded can pass for an instance. (A bundler drops a
 * class that is not used if it has only methods and getters under names and
 * well-known symbols. It keeps one that has a `static` block.)
 */
export function isInstance(
  value: unknown,
  asked: unknown,
  type: Branded,
): boolean {
  const { isPrototypeOf } = Object.prototype;
  if (asked !== type) {
    return isPrototypeOf.call((asked as Branded).prototype, value as object);
  }
  if (typeof value !== "object" || value === null) return false;
  if (isPrototypeOf.call(type.prototype, value)) return true;
  const made: unknown = value.constructor;
  return typeof made === "function" &&
    (made as Partial<Branded>).sluiceBrand === type.sluiceBrand;
}
