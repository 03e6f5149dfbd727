/**
 * What of the peer's calls is let in: ids, and places in the window we granted.
 *
 * Invariants owned here:
 * - Ids increase, by serial-number arithmetic (RFC 1982), and none is that of a
 *   call without an answer. Steps that all increase can still come round to an
 *   id that is in use, but only after 2^32 ids: until then a duplicate needs no
 *   look-up.
 * - A call holds its place from its header until its answer is handed to the
 *   writer. So this end frees first: what looks free to an honest caller is
 *   free here, and a peer that never reads uses up its window.
 *
 * @module
 */

import { CALL_CHARGE } from "../wire/limits.ts";
import type { WireFeatures } from "../wire/codec.ts";
import { ConnectionError } from "../base/errors.ts";
import { EARLY_BYTES, EARLY_CALLS } from "../wire/protocol.ts";
import type { Limits } from "../types/connection.ts";

/** The ids of calls that have no answer yet. */
export interface IdsInUse {
  readonly size: number;
  has(id: number): boolean;
}

/** How many ids there are. */
const IDS = 2 ** 32;

/** The window of one connection, as its callee counts it. */
export class ReceiveWindow {
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
  /** How far the ids have come since the oldest call that may still be in use. */
  #span = 0;
  #maxCalls = EARLY_CALLS;
  #maxBytes = EARLY_BYTES;

  readonly #excess: WireFeatures["excess"];

  constructor(excess: WireFeatures["excess"]) {
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
   * @throws {ConnectionError} `protocol_error`, if it does not increase, or is
   *   in use.
   */
  checkId(id: number, inUse: IdsInUse): void {
    const last = this.lastId;
    if (last === undefined) return;
    const step = (id - last) | 0;
    if (step <= 0) {
      throw new ConnectionError(
        "protocol_error",
        `request id ${id} after ${last}: ids must increase`,
      );
    }
    if (this.#span + step >= IDS) this.#checkFree(id, inUse);
  }

  /** The ids have come round: this one may be that of an older call. */
  #checkFree(id: number, inUse: IdsInUse): void {
    if (inUse.size === 0) this.#span = 0;
    else if (inUse.has(id)) {
      throw new ConnectionError(
        "protocol_error",
        `request id ${id} is that of a call that has no answer yet`,
      );
    }
  }

  /** Takes note of a request that is let in. */
  recordId(id: number): void {
    if (this.lastId !== undefined) this.#span += (id - this.lastId) | 0;
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
  reserve(size: number): void {
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
  onFlush(): void {
    this.calls -= this.#answeredCalls;
    this.bytes -= this.#answeredBytes;
    this.#answeredCalls = this.#answeredBytes = 0;
  }
}
