/**
 * What of the peer's calls is let in: ids, and places in the window we granted.
 *
 * Invariants owned here:
 * - Ids increase, by serial-number arithmetic (RFC 1982): so a duplicate needs
 *   no look-up.
 * - A call holds its place from its header until its answer is handed to the
 *   writer. So this end frees first: what looks free to an honest caller is
 *   free here, and a peer that never reads uses up its window.
 *
 * @module
 */

import { CALL_CHARGE } from "./buffers.ts";
import type { Features } from "./codec.ts";
import { ConnectionError } from "./errors.ts";
import { EARLY_BYTES, EARLY_CALLS } from "./hello.ts";
import type { Limits } from "./limits.ts";

/** The window of one connection, as its callee counts it. */
export class Admission {
  /** Calls that hold a place. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** What params take beyond their bytes while handlers have them. */
  decoded = 0;
  /** The latest id seen. */
  lastId: number | undefined;
  /** Places of calls whose answers are in the batch that is filling. */
  #answeredCalls = 0;
  #answeredBytes = 0;
  #maxCalls = EARLY_CALLS;
  #maxBytes = EARLY_BYTES;

  readonly #excess: Features["excess"];

  constructor(excess: Features["excess"]) {
    this.#excess = excess;
  }

  /**
   * Grants a window; before, the protocol's constants are one. They hold where
   * they are larger, too: nobody knows when the peer reads what our HELLO
   * grants.
   */
  grant({ windowCalls, windowBytes }: Limits): void {
    this.#maxCalls = Math.max(windowCalls, EARLY_CALLS);
    this.#maxBytes = Math.max(windowBytes, EARLY_BYTES);
  }

  /**
   * Looks at a request's id.
   *
   * @throws {ConnectionError} `protocol_error`, if it does not increase.
   */
  checkId(id: number): void {
    const last = this.lastId;
    if (last !== undefined && ((id - last) | 0) <= 0) {
      throw new ConnectionError(
        "protocol_error",
        `request id ${id} after ${last}: ids must increase`,
      );
    }
  }

  /** Takes note of a request that is let in. */
  note(id: number): void {
    this.lastId = id;
  }

  /** Whether a request with this id has come, or could have. */
  seen(id: number): boolean {
    return this.lastId !== undefined && ((id - this.lastId) | 0) <= 0;
  }

  /** Whether no further call may be read; never, on a wire where both ends call. */
  get full(): boolean {
    return this.#excess === "wait" &&
      (this.calls >= this.#maxCalls || this.bytes >= this.#maxBytes);
  }

  /**
   * Takes a place.
   *
   * @throws {ConnectionError} `resource_exhausted`, if the peer was granted none.
   */
  hold(size: number): void {
    this.calls++;
    this.bytes += size;
    if (this.calls <= this.#maxCalls && this.bytes <= this.#maxBytes) return;
    if (this.#excess !== "close") return;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer has ${this.calls} calls of ${this.bytes} bytes in flight; ${this.#maxCalls} calls of ${this.#maxBytes} bytes were granted`,
    );
  }

  /** What the calls without an answer take, with a charge each. */
  get heldBytes(): number {
    return this.bytes - this.#answeredBytes + this.decoded +
      CALL_CHARGE * (this.calls - this.#answeredCalls);
  }

  /** The call's answer is in the batch. */
  answered(size: number): void {
    this.#answeredCalls++;
    this.#answeredBytes += size;
  }

  /** It is over: nobody holds a place any more. */
  end(): void {
    this.calls =
      this.bytes =
      this.#answeredCalls =
      this.#answeredBytes =
        0;
  }

  /** A batch has gone: the calls answered in it free their places. */
  batchHandedOver(): void {
    this.calls -= this.#answeredCalls;
    this.bytes -= this.#answeredBytes;
    this.#answeredCalls = this.#answeredBytes = 0;
  }
}
