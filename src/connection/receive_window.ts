/**
 * Which of the peer's requests are accepted: their ids, and the window that was
 * granted to the peer.
 *
 * - Ids increase, by serial-number arithmetic (RFC 1982), and none is that of a
 *   call without a reply. Steps that all increase can still come round to an
 *   id that is in use, but only after 2^32 ids: until then a duplicate needs no
 *   look-up.
 * - A call occupies the window from its header until its reply is handed to the
 *   transport. So the receiver frees first: what looks free to a well-behaved
 *   caller is free here, and a peer that never reads uses up its window.
 * - Urgent calls may exceed the window by {@linkcode URGENT_CALLS} calls of
 *   {@linkcode URGENT_BYTES} bytes.
 * - A request that arrives in fragments counts, as does its id, from its first
 *   one on.
 *
 * @module
 */

import { ConnectionError, protocolError } from "../base/errors.ts";
import type { CallWindow } from "../types/connection.ts";
import type { WireFeatures } from "../wire/codec.ts";
import { CALL_CHARGE } from "../wire/connection_limits.ts";
import {
  EARLY_BYTES,
  EARLY_CALLS,
  URGENT_BYTES,
  URGENT_CALLS,
} from "../wire/protocol.ts";

/** The ids of calls that have no reply yet. */
export interface IdsInUse {
  readonly size: number;
  has(id: number): boolean;
}

/** A request of which some fragments have arrived. */
interface BegunRequest {
  readonly size: number;
  /** Whether it was accepted; false if the local GOAWAY excludes it. */
  readonly accepted: boolean;
}

/** How many ids there are. */
const IDS = 0x100000000;

/** The window of one connection, as the receiver of the calls counts it. */
export class ReceiveWindow {
  /** Calls that occupy the window. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** What params take beyond their bytes while handlers have them. */
  decoded = 0;
  /** What results take that are kept for dependent calls. */
  kept = 0;
  /** The latest id seen. */
  lastId: number | undefined;
  /** The request that has begun to arrive in fragments. */
  #begun: BegunRequest | undefined;
  /** Whether it is whole: then it is the one that is accepted next. */
  completing = false;
  /** Calls in the window whose replies are in the batch that is filling. */
  #answeredCalls = 0;
  #answeredBytes = 0;
  /** How far the ids have come since the oldest call that may still be in use. */
  #span = 0;
  /** The latest change of the window that the peer has confirmed. */
  confirmed: CallWindow | undefined;
  #maxCalls = EARLY_CALLS;
  #maxBytes = EARLY_BYTES;

  readonly #excess: WireFeatures["excess"];

  constructor(excess: WireFeatures["excess"]) {
    this.#excess = excess;
  }

  /**
   * Grants a window. What was granted before still holds where it is larger, the
   * protocol's constants to begin with: nobody knows when the peer reads this.
   */
  grant({ windowCalls, windowBytes }: CallWindow): void {
    this.#maxCalls = Math.max(windowCalls, this.#maxCalls);
    this.#maxBytes = Math.max(windowBytes, this.#maxBytes);
  }

  /** The peer has confirmed that it obeys this window from now on. */
  confirm(window: CallWindow): void {
    this.confirmed = window;
    this.#maxCalls = window.windowCalls;
    this.#maxBytes = window.windowBytes;
  }

  /**
   * Takes in a request whose header has been read, or that has become whole.
   * Returns whether it is accepted: while the local side drains, only those are
   * that had begun before. `check` is called before the id is recorded.
   *
   * @throws {ConnectionError} `protocol_error` for its id, or
   *   `resource_exhausted` if it exceeds what the peer was granted.
   */
  accept(
    id: number,
    size: number,
    inUse: IdsInUse,
    draining: boolean,
    urgent = false,
    check?: () => void,
  ): boolean {
    if (this.completing) {
      const begun = this.#begun;
      this.completing = false;
      this.#begun = undefined;
      return begun?.accepted === true;
    }
    this.#checkId(id, inUse);
    // First: the local GOAWAY then refuses a call that exceeds what was granted.
    if (!draining) this.#reserve(size, urgent);
    check?.();
    this.#recordId(id);
    return !draining;
  }

  /** Takes in a request of which the first fragment has arrived; see `accept`. */
  begin(
    id: number,
    size: number,
    inUse: IdsInUse,
    draining: boolean,
    urgent?: boolean,
  ): void {
    const accepted = this.accept(id, size, inUse, draining, urgent);
    this.#begun = { size, accepted };
  }

  /** The peer has given up the request that had begun. */
  abortBegun(): void {
    const begun = this.#begun;
    this.#begun = undefined;
    if (begun?.accepted) {
      this.calls--;
      this.bytes -= begun.size;
    }
  }

  /** How many requests have begun, are accepted and are not whole: 0 or 1. */
  get arriving(): number {
    return this.#begun?.accepted ? 1 : 0;
  }

  /**
   * Checks the id of a request.
   *
   * @throws {ConnectionError} `protocol_error`, if it does not increase, or is
   *   in use.
   */
  #checkId(id: number, inUse: IdsInUse): void {
    const last = this.lastId;
    if (last === undefined) return;
    const step = (id - last) | 0;
    if (step <= 0) {
      protocolError(`request id ${id} after ${last}: ids must increase`);
    }
    if (this.#span + step >= IDS) this.#checkFree(id, inUse);
  }

  /** The ids have come round: this one may be that of an older call. */
  #checkFree(id: number, inUse: IdsInUse): void {
    if (inUse.size === 0) this.#span = 0;
    else if (inUse.has(id)) {
      protocolError(
        `request id ${id} is that of a call that has no answer yet`,
      );
    }
  }

  /** Records the id of a request that was accepted. */
  #recordId(id: number): void {
    if (this.lastId !== undefined) this.#span += (id - this.lastId) | 0;
    this.lastId = id;
  }

  /**
   * Checks the id of a message about a call of the peer's that is not open
   * (any more); `what` names the message.
   *
   * @throws {ConnectionError} `protocol_error`, if no request had this id.
   */
  checkSeen(id: number, what: string): void {
    const last = this.lastId;
    if (last !== undefined && ((id - last) | 0) <= 0) return;
    protocolError(`${what} for call ${id}, which was never made`);
  }

  /** Whether no further call may be read; always false on a protocol that grants windows. */
  get full(): boolean {
    return this.#excess === "wait" &&
      (this.calls >= this.#maxCalls || this.bytes >= this.#maxBytes);
  }

  /**
   * Takes a call into the window.
   *
   * @throws {ConnectionError} `resource_exhausted`, if the peer exceeds what it
   *   was granted.
   */
  #reserve(size: number, urgent: boolean): void {
    this.calls++;
    this.bytes += size;
    const calls = urgent ? this.calls - URGENT_CALLS : this.calls;
    const bytes = urgent ? this.bytes - URGENT_BYTES : this.bytes;
    if (calls <= this.#maxCalls && bytes <= this.#maxBytes) return;
    if (this.#excess !== "close") return;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer has ${this.calls} calls of ${this.bytes} bytes in flight; ${this.#maxCalls} calls of ${this.#maxBytes} bytes were granted`,
    );
  }

  /** What the calls without a reply take, in bytes, with a charge for each. */
  get heldBytes(): number {
    // What has arrived of a request in fragments is counted by the codec.
    const arriving = this.#begun?.accepted ? this.#begun.size : 0;
    return this.bytes - arriving - this.#answeredBytes + this.decoded +
      this.kept +
      CALL_CHARGE * (this.calls - this.#answeredCalls);
  }

  /** The reply to a call of `size` bytes is in the batch. */
  answered(size: number): void {
    this.#answeredCalls++;
    this.#answeredBytes += size;
  }

  /** The connection is over: no call occupies the window any more. */
  end(): void {
    this.#begun = undefined;
    this.calls =
      this.bytes =
      this.#answeredCalls =
      this.#answeredBytes =
        0;
  }

  /** A batch was handed to the transport: the calls answered in it leave the window. */
  onFlush(): void {
    this.calls -= this.#answeredCalls;
    this.bytes -= this.#answeredBytes;
    this.#answeredCalls = this.#answeredBytes = 0;
  }
}
