/**
 * The connections of a listener between their arrival and the loop that accepts
 * them.
 *
 * Invariants:
 * - A connection is either in the queue or an iterator's. `close` destroys those
 *   in the queue, and ends every iterator.
 * - At most {@linkcode MAX_UNACCEPTED} connections are in the queue; more are
 *   destroyed.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { callHook } from "../base/user_code.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import type { ListenerEvents } from "./sockets/listener_backend.ts";

/** Connections that may wait for an iterator. */
export const MAX_UNACCEPTED = 1024;

/** What a queue calls of its user's. */
export interface AcceptHooks {
  /** Called with each fault of a connection that was not accepted. Exceptions it throws are ignored. */
  readonly onError?: ((error: ConnectionError) => void) | undefined;
}

/** A queue of connections for any number of iterators. */
export class AcceptQueue
  implements ListenerEvents, AsyncIterable<Duplex & DuplexInfo> {
  readonly #hooks: AcceptHooks;
  /** Connections that wait for an iterator; empty while iterators wait. */
  readonly #unaccepted: (Duplex & DuplexInfo)[] = [];
  /** Iterators that wait for a connection. */
  readonly #waiting: ((result: IteratorResult<Duplex & DuplexInfo>) => void)[] =
    [];
  #closed = false;

  constructor(hooks: AcceptHooks) {
    this.#hooks = hooks;
  }

  get full(): boolean {
    return this.#closed || this.#unaccepted.length >= MAX_UNACCEPTED;
  }

  accept(duplex: Duplex & DuplexInfo): void {
    const resolve = this.#waiting.shift();
    if (resolve) {
      resolve({ done: false, value: duplex });
    } else if (!this.full) {
      this.#unaccepted.push(duplex);
    } else {
      destroy(duplex);
      this.fault(
        new ConnectionError(
          "resource_exhausted",
          `Cannot accept a connection: ${MAX_UNACCEPTED} others wait to be accepted`,
        ),
      );
    }
  }

  fault(error: ConnectionError): void {
    if (!this.#closed) callHook(this.#hooks, "onError", error);
  }

  [Symbol.asyncIterator](): AsyncIterator<Duplex & DuplexInfo> {
    return { next: () => this.#next() };
  }

  #next(): Promise<IteratorResult<Duplex & DuplexInfo>> {
    const duplex = this.#unaccepted.shift();
    if (duplex) return Promise.resolve({ done: false, value: duplex });
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.#closed = true;
    for (const duplex of this.#unaccepted.splice(0)) destroy(duplex);
    for (const resolve of this.#waiting.splice(0)) {
      resolve({ done: true, value: undefined });
    }
  }
}

function destroy(duplex: Duplex): void {
  duplex.writable.abort(new Error("Nobody accepted the connection"))
    .catch(() => {});
}
