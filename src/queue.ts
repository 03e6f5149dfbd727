/**
 * The calls that wait for the window.
 *
 * Invariant owned here: at most `maxCalls` calls and `maxBytes` bytes wait,
 * outside the shared write buffer, in the order they were made. The bound is
 * what a loop that never looks at `ready` runs into instead of out of memory.
 *
 * @module
 */

import type { Call } from "./call.ts";
import { List } from "./list.ts";
import { exhausted } from "./refusals.ts";

/** A bounded queue of calls. */
export class Queue {
  readonly #calls = new List<Call>();
  #bytes = 0;
  readonly #maxCalls: number;
  readonly #maxBytes: number;

  constructor(maxCalls: number, maxBytes: number) {
    this.#maxCalls = maxCalls;
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** The call that has waited longest. */
  get first(): Call | undefined {
    return this.#calls.first;
  }

  /**
   * Enters a call.
   *
   * @throws {RpcError} `resource_exhausted`, if the queue is full.
   */
  push(call: Call): void {
    const bytes = this.#bytes + call.size;
    if (this.#calls.length >= this.#maxCalls || bytes > this.#maxBytes) {
      throw exhausted(
        `${this.#calls.length} calls of ${this.#bytes} bytes are waiting already`,
      );
    }
    this.#calls.push(call);
    this.#bytes = bytes;
  }

  /** Takes out a call that is in, with its payload. */
  remove(call: Call): void {
    this.#calls.remove(call);
    this.#bytes -= call.size;
  }

  /** All of them, in order; safe against changes meanwhile. */
  all(): Call[] {
    const calls: Call[] = [];
    for (let c = this.#calls.first; c !== undefined; c = c.after) calls.push(c);
    return calls;
  }
}
