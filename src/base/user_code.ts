/**
 * The boundary to code of the user: values that users pass, and functions of
 * theirs that the library calls.
 *
 * - Inspecting a value never throws. (A revoked Proxy throws on `instanceof`; so
 *   may any Proxy with traps, and any object with getters.)
 * - What a hook throws, or rejects with, is ignored.
 *
 * @module
 */

/** Whether `value` is an instance of `type`; false for a value that throws when it is inspected. */
export function isInstanceOf<T>(
  value: unknown,
  type: abstract new (...args: never) => T,
): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** A reason that the platform's streams can fail with: if the reason throws when it is inspected, so do Deno's streams, where nobody can catch it. */
export function toInspectable(reason: unknown): unknown {
  try {
    void (reason instanceof Error);
    return reason;
  } catch (cause) {
    return new TypeError("the reason throws when it is inspected", { cause });
  }
}

/** An error's message, or the thrown value as text; `fallback` if that throws. */
export function messageOf(thrown: unknown, fallback: string): string {
  try {
    return String(isInstanceOf(thrown, Error) ? thrown.message : thrown);
  } catch {
    return fallback;
  }
}

/**
 * Calls a hook: `target[name]`, which may be missing, with `args`. Its
 * exceptions are ignored, and so is the rejection of whatever it returns: a
 * promise, also one of another realm, or any thenable.
 */
export function callHook<N extends string>(
  target: { readonly [K in N]?: unknown },
  name: N,
  ...args: readonly unknown[]
): void {
  try {
    const hook = target[name];
    if (typeof hook !== "function") return;
    const result: unknown = Reflect.apply(hook, target, args);
    if (typeof result === "object" && result !== null) ignore(result);
  } catch {
    return;
  }
}

/** Handles the rejection of something that may be a promise. (`catch` alone would read `then` twice.) */
function ignore(result: object): void {
  new Promise((resolve) => resolve(result)).then(nothing, nothing);
}

function nothing(): void {}
