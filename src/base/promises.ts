/**
 * Promises of other code, such as what a handler or a schema returns, and the
 * promises of `ready`.
 *
 * What is waited for calls back once, and never in the turn in which it is
 * asked.
 *
 * @module
 */

/** Whether to wait for it. Throws what it throws on being looked at, which is the handler's failure. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

const then = /* @__PURE__ */ (() => Promise.prototype.then)();

/**
 * Calls `kept` or `broken` back, once and later, whatever the thenable does: a
 * user's may call back twice or at once, and so may a promise that was tampered
 * with; a Proxy of a promise is none, and cannot be waited for at all.
 */
export function whenSettled(
  thenable: PromiseLike<unknown>,
  kept: (value: unknown) => void,
  broken: (error: unknown) => void,
): void {
  try {
    if (
      thenable.then === then && (thenable as object).constructor === Promise
    ) {
      // What throws here has not begun to wait.
      then.call(thenable as Promise<unknown>, kept, broken);
      return;
    }
  } catch {
    // Waited for below, which rejects with what it throws.
  }
  new Promise((resolve) => resolve(thenable)).then(kept, broken);
}

/** Shared by all who ask while there is room. */
const OPEN: Promise<void> = /* @__PURE__ */ Promise.resolve();

/** The promises of `ready`: resolved while there is room. */
export class ReadySignal {
  #round: PromiseWithResolvers<void> | undefined;
  #reason: (() => unknown) | undefined;
  #closed: Promise<void> | undefined;

  /** Whether somebody waits for `wake`. */
  get waited(): boolean {
    return this.#round !== undefined;
  }

  /** The promise for somebody who asks now. */
  wait(open: boolean): Promise<void> {
    if (this.#reason !== undefined) {
      return this.#closed ??= this.#reject(this.#reason());
    }
    if (open && this.#round === undefined) return OPEN;
    return (this.#round ??= Promise.withResolvers()).promise;
  }

  /** There is room: resolves the promise of all who wait. */
  wake(): void {
    this.#round?.resolve();
    this.#round = undefined;
  }

  /** There will be no room any more: rejects. The first reason stays. */
  close(reason: () => unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    if (this.#round !== undefined) this.#closed = this.#reject(reason());
  }

  #reject(reason: unknown): Promise<void> {
    const round = this.#round ?? Promise.withResolvers<void>();
    this.#round = undefined;
    round.promise.catch(() => {});
    round.reject(reason);
    return round.promise;
  }
}
