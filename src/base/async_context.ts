/**
 * Async context: what an `AsyncLocalStorage` of the user's holds while code
 * runs, on the runtimes that have it.
 *
 * - No handler runs in the context in which its connection was opened, nor in
 *   that of another call. Reading, and the start of calls that have waited,
 *   begin {@linkcode outside} of all contexts.
 * - A context is kept only for code that is called later: a source of items, a
 *   dial.
 *
 * The context outside is the one in which this module was loaded; there is none
 * unless it was imported within the `run` of a storage.
 *
 * @module
 */

/** Runs a function in a context that was kept. */
export type Scope = <A extends unknown[], R>(
  fn: (...args: A) => R,
  ...args: A
) => R;

/** The part of `node:async_hooks` that is used here. */
interface AsyncHooks {
  readonly AsyncLocalStorage: { snapshot?(): Scope };
  readonly AsyncResource: new (type: string) => {
    runInAsyncScope<A extends unknown[], R>(
      fn: (...args: A) => R,
      thisArg: undefined,
      ...args: A
    ): R;
  };
}

const hooks = /* @__PURE__ */ loadHooks();

function loadHooks(): AsyncHooks | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return process?.getBuiltinModule?.("node:async_hooks") as
    | AsyncHooks
    | undefined;
}

/** The current context; undefined on a runtime that has none. */
export function scopeOfNow(): Scope | undefined {
  return hooks?.AsyncLocalStorage.snapshot?.();
}

/** Runs a function outside of all contexts. */
export const outside: Scope = /* @__PURE__ */ outermost();

function outermost(): Scope {
  return scopeOfNow() ?? ((fn, ...args) => fn(...args));
}

/**
 * The same, with a context of its own: a store that the function enters for
 * good (`enterWith`) does not show in what is run outside later. (On Node 22
 * it would: there `enterWith` changes the very context that was kept.)
 */
export const isolated: Scope = hooks === undefined
  ? outside
  : (fn, ...args) => outside(inResource, hooks, fn, args);

function inResource<A extends unknown[], R>(
  { AsyncResource }: AsyncHooks,
  fn: (...args: A) => R,
  args: A,
): R {
  return new AsyncResource("SluiceCall").runInAsyncScope(
    fn,
    undefined,
    ...args,
  );
}
