/**
 * How the library knows its own classes where a process has it twice: one copy
 * from npm and one from JSR, say, or in two versions of a package tree.
 *
 * Invariant owned here: what one copy makes, another one recognises, by a
 * symbol that is registered for all of them. No `WeakMap` and no private field
 * decides what something is.
 *
 * The copies may be of two versions: where what such an object has is changed,
 * its symbol gets a new name, and then the older copy takes it for a stranger.
 *
 * @module
 */

const ordinary = Function.prototype[Symbol.hasInstance];

/** A symbol that is the same in every copy of the library. */
export function shared(name: string): symbol {
  return Symbol.for(`@sluice/rpc/${name}`);
}

/**
 * Makes `instanceof` hold for what another copy's class of this name has made.
 * A class that extends it is compared as any other class is.
 */
export function brand(
  made: { readonly prototype: object },
  name: string,
): void {
  const key = shared(name);
  Object.defineProperty(made.prototype, key, { value: true });
  Object.defineProperty(made, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== made) return ordinary.call(this, value);
      return typeof value === "object" && value !== null && key in value;
    },
  });
}
