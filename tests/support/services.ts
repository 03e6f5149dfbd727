/**
 * Handlers that tests hold in their hands.
 *
 * @module
 */

import type { CallContext } from "../../mod.ts";

/** One call that a {@linkcode HeldWrite} handler was given. */
export interface HeldCall {
  readonly params: unknown;
  readonly ctx: CallContext;
  /** Ends the call. */
  resolve(value?: unknown): void;
  reject(error: unknown): void;
}

/** A service whose calls end when the test says so. */
export class Held {
  /** Calls started so far, in order. */
  readonly calls: HeldCall[] = [];
  /** The services: `Held.work` waits for the test, `Held.echo` does not. */
  readonly services = {
    Held: {
      work: (params: unknown, ctx: CallContext): Promise<unknown> =>
        new Promise((resolve, reject) => {
          this.calls.push({ params, ctx, resolve, reject });
        }),
      echo: (params: unknown): unknown => params,
    },
  };

  /** Ends all calls that are still open. */
  release(value?: unknown): void {
    for (const call of this.calls) call.resolve(value);
  }
}
