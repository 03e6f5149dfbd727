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
import type { Opaque } from "../wire/codec.ts";
import { type Linked, List } from "../base/linked_list.ts";
import { exhausted } from "./errors.ts";

/** A call that waits, with its payload. */
export interface Waiting extends Linked<Waiting> {
  readonly call: Call;
  readonly draft: Opaque;
}

/** A bounded queue of calls. */
export class Queue {
  readonly #calls = new List<Waiting>();
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

  /** Bytes of those that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The call that has waited longest. */
  get first(): Call | undefined {
    return this.#calls.first?.call;
  }

  /**
   * Looks whether a call of this size may wait.
   *
   * @throws {RpcError} `resource_exhausted`, if the queue is full.
   */
  checkRoom(size: number): void {
    const bytes = this.#bytes + size;
    if (this.#calls.length >= this.#maxCalls || bytes > this.#maxBytes) {
      throw exhausted(
        `${this.#calls.length} calls of ${this.#bytes} bytes are waiting already`,
      );
    }
  }

  /** Enters a call, with its payload. */
  push(call: Call, draft: Opaque): void {
    call.waiting = { call, draft, before: undefined, after: undefined };
    this.#calls.push(call.waiting);
    this.#bytes += call.size;
  }

  /** Takes out a call that is in; returns its payload. */
  remove(call: Call): Opaque {
    const waiting = call.waiting as Waiting;
    call.waiting = undefined;
    this.#calls.remove(waiting);
    this.#bytes -= call.size;
    return waiting.draft;
  }

  /** All of them, in order; safe against changes meanwhile. */
  all(): Call[] {
    return this.#calls.all().map(({ call }) => call);
  }
}
