/**
 * The type behind `await using`, for compilers that know it and those that do
 * not.
 *
 * @module
 */

/** The type of `Symbol.asyncDispose`, or `never` where the compiler's libraries lack it (before TypeScript's `esnext.disposable`). */
export type AsyncDisposeKey = SymbolConstructor extends
  { readonly asyncDispose: infer Key extends symbol } ? Key : never;

/**
 * Can be used with `await using`: has a method under `Symbol.asyncDispose`
 * that does the same as `close()`. Where the compiler's libraries lack that
 * symbol, the type has no member.
 */
export type AsyncDisposal = {
  readonly [Key in AsyncDisposeKey]: () => Promise<void>;
};
