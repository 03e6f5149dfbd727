/**
 * The promise behind `ready`.
 *
 * Invariants owned here:
 * - Every waiter of one round shares one promise, so each wakes once.
 * - A rejection nobody waits for is never reported as unhandled.
 *
 * @module
 */

const OPEN = Promise.resolve();

/** Opens and shuts as the window does. */
export class ReadyGate {
  /** Shared by all who ask while there is room. */
  readonly #open: Promise<void> = OPEN;
  #round: PromiseWithResolvers<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Whether somebody waits for `wake`. */
  get waited(): boolean {
    return this.#round !== undefined;
  }

  /** The promise for somebody who asks now. */
  wait(open: boolean): Promise<void> {
    if (this.#closed !== undefined) return this.#closed;
    if (open && this.#round === undefined) return this.#open;
    return (this.#round ??= Promise.withResolvers()).promise;
  }

  /** There is room: all who wait are told. */
  wake(): void {
    this.#round?.resolve();
    this.#round = undefined;
  }

  /** There will be no room any more. The first reason stays. */
  close(reason: unknown): void {
    if (this.#closed !== undefined) return;
    const round = this.#round ?? Promise.withResolvers<void>();
    round.promise.catch(() => {});
    round.reject(reason);
    this.#closed = round.promise;
    this.#round = undefined;
  }
}
