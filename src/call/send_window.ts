/**
 * The window that the peer grants: how many calls, and how many bytes of calls,
 * may be in flight at once. Before the peer's HELLO is read, the constants of
 * the protocol hold.
 *
 * @module
 */

import type { PeerHello } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import {
  EARLY_BYTES,
  EARLY_CALLS,
  EARLY_MESSAGE,
  URGENT_BYTES,
  URGENT_CALLS,
} from "../wire/protocol.ts";
import { noServicesError, queueFullError } from "./errors.ts";

/** Calls and bytes in flight against what the peer grants. */
export class SendWindow {
  /** Calls that occupy a slot. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** What the peer's HELLO grants. Calls in flight when it is read stay counted. */
  granted = EARLY;
  readonly #overhead: number;
  readonly #granter: string;

  constructor({ overhead, features }: Codec) {
    this.#overhead = overhead;
    // On a protocol without windows the local limits hold.
    this.#granter = features.window ? "the peer's" : "the local";
  }

  /** The peer's HELLO; undefined before it is read. */
  get helloReceived(): PeerHello | undefined {
    return this.granted === EARLY ? undefined : this.granted;
  }

  /** Whether a call of this size may be sent now. Urgent ones may exceed the window by some calls. */
  canSend(size: number, urgent = false): boolean {
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    const calls = urgent ? windowCalls + URGENT_CALLS : windowCalls;
    const bytes = urgent ? windowBytes + URGENT_BYTES : windowBytes;
    return this.calls < calls && this.bytes + size <= bytes &&
      size <= maxMessage + this.#overhead;
  }

  /** How many calls it has room for. */
  get free(): number {
    const { windowCalls, windowBytes } = this.granted;
    return this.bytes < windowBytes ? Math.max(0, windowCalls - this.calls) : 0;
  }

  /** Whether it has room for a good many calls: an eighth of the window, at most 512 calls and 32 KiB. */
  get roomy(): boolean {
    const { windowCalls, windowBytes } = this.granted;
    return windowCalls - this.calls >= Math.min(512, windowCalls >>> 3) &&
      windowBytes - this.bytes >= Math.min(32_768, windowBytes / 8);
  }

  /**
   * Checks that a call of this size can be sent at some time; passes before the
   * peer's HELLO is read.
   *
   * @throws {RpcError} `unavailable` if the peer serves nothing, else
   *   `resource_exhausted`.
   */
  checkFit(size: number): void {
    const { granted } = this;
    if (granted === EARLY) return;
    if (granted.windowCalls === 0) throw noServicesError();
    const most = granted.maxMessage + this.#overhead;
    if (size <= Math.min(most, granted.windowBytes)) return;
    const limit = size > most ? "maxMessage" : "windowBytes";
    throw queueFullError(
      `a call of ${size} bytes exceeds ${this.#granter} ${limit}, ${
        granted[limit]
      } bytes`,
    );
  }

  acquire(size: number): void {
    this.calls++;
    this.bytes += size;
  }

  release(calls: number, bytes: number): void {
    this.calls -= calls;
    this.bytes -= bytes;
  }
}

/** What the protocol lets a caller assume before the peer's HELLO is read. */
const EARLY: PeerHello = {
  maxMessage: EARLY_MESSAGE,
  windowCalls: EARLY_CALLS,
  windowBytes: EARLY_BYTES,
};
