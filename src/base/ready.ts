/**
 * The promise behind `ready`.
 *
 * Invariants owned here:
 * - Every waiter of one round shares one promise, so each wakes once.
 * - A rejection nobody waits for is never reported as unhandled, and its reason
 *   not even made: an error with its stack is 1 KiB, and most connections never
 *   call.
 *
 * @module
 */

const OPEN = Promise.resolve();

/** Opens and shuts as the window does. */
export class ReadyGate {
  /** Shared by all who ask while there is room. */
  readonly #open: Promise<void> = OPEN;
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
    if (open && this.#round === undefined) return this.#open;
    return (this.#round ??= Promise.withResolvers()).promise;
  }

  /** There is room: all who wait are told. */
  wake(): void {
    this.#round?.resolve();
    this.#round = undefined;
  }

  /** There will be no room any more. The first reason stays. */
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
