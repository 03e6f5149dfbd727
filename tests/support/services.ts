/**
 * A service whose handlers end only when the test ends them.
 *
 * @module
 */

import type { CallContext } from "../../mod.ts";

/** One call of the method `Held.work` of {@linkcode Held}. */
export interface HeldCall {
  readonly params: unknown;
  readonly ctx: CallContext;
  /** Ends the handler with a result. */
  resolve(value?: unknown): void;
  /** Ends the handler with an error. */
  reject(error: unknown): void;
}

/** Makes the service, and holds its open calls. */
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

  /** Ends all handlers that still run. */
  release(value?: unknown): void {
    for (const call of this.calls) call.resolve(value);
  }
}
