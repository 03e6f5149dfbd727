/**
 * The boundary to code that is not the library's: values that its users hand
 * over, and functions of theirs that it calls.
 *
 * Invariants owned here:
 * - To ask what a value is never throws. (A revoked Proxy throws on
 *   `instanceof`; so may any Proxy with traps, and any object with getters.)
 * - What a hook throws, or rejects with, ends nothing: there is nobody to tell.
 *
 * @module
 */

/** Whether `value` is an instance of `type`; false for one that throws when it is asked. */
export function isA<T>(
  value: unknown,
  type: abstract new (...args: never) => T,
): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** A reason that a platform's stream can be failed with: Deno's throw where nobody can catch it if the reason does on being looked at. */
export function tame(reason: unknown): unknown {
  try {
    void (reason instanceof Error);
    return reason;
  } catch (cause) {
    return new TypeError("the reason given cannot be looked at", { cause });
  }
}

/** What a thrown value says: an error's message, or the value as text; `fallback` if it cannot even say that. */
export function messageOf(thrown: unknown, fallback: string): string {
  try {
    return String(isA(thrown, Error) ? thrown.message : thrown);
  } catch {
    return fallback;
  }
}

/**
 * Calls a hook: `target[name]`, which may be missing, with `args`. Its
 * exceptions are ignored, and so is the rejection of whatever it returns: a
 * promise, also one of another realm, or any thenable.
 */
export function tellHook<N extends string>(
  target: { readonly [K in N]?: unknown },
  name: N,
  ...args: readonly unknown[]
): void {
  try {
    const hook = target[name];
    if (typeof hook !== "function") return;
    const told: unknown = Reflect.apply(hook, target, args);
    if (typeof told === "object" && told !== null) ignore(told);
  } catch {
    return;
  }
}

/** Handles the rejection of something that may be a promise. (By `catch` alone it would be looked at twice.) */
function ignore(told: object): void {
  new Promise((resolve) => resolve(told)).then(nothing, nothing);
}

function nothing(): void {}
