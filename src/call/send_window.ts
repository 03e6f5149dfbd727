/**
 * The window that the peer grants: how many calls, and how many bytes of calls,
 * may be in flight at once. Before the peer's HELLO is read, the constants of
 * the protocol hold. The peer may move the window at any time: calls that are
 * above it then stay counted, and no other is sent until they fit.
 *
 * @module
 */

import type { CallWindow, PeerHello } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import { illegalWindow, leastWindowBytes } from "../wire/connection_limits.ts";
import {
  EARLY_BYTES,
  EARLY_CALLS,
  EARLY_MESSAGE,
  MAX_WINDOW_CALLS,
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
  /** What the peer grants now. Calls in flight when that changes stay counted. */
  granted = EARLY;
  /** The peer's HELLO; undefined before it is read. How large a call can be, and whether the peer serves any, stays as it says. */
  helloReceived: PeerHello | undefined;
  /** The number of the latest update, and the batch that has its ACK. */
  #updates = 0;
  #ackBatch = -1;
  readonly #overhead: number;
  readonly #granter: string;

  constructor({ overhead, features }: Codec) {
    this.#overhead = overhead;
    // On a protocol without windows the local limits hold.
    this.#granter = features.window ? "the peer's" : "the local";
  }

  onHello(hello: PeerHello): void {
    this.granted = this.helloReceived = hello;
  }

  /**
   * Moves the window; `batch` is the one that is going to have the ACK.
   *
   * @throws {ConnectionError} `protocol_error`, if the peer could not have read
   *   the ACK of the update before, or has skipped one, or grants what is not
   *   legal.
   */
  move(
    id: number,
    { windowCalls, windowBytes }: CallWindow,
    batch: number,
  ): void {
    const hello = this.helloReceived as PeerHello;
    const legal = id === ++this.#updates && batch !== this.#ackBatch &&
      hello.windowCalls > 0 && windowCalls <= MAX_WINDOW_CALLS &&
      windowBytes >= leastWindowBytes(hello);
    if (!legal) illegalWindow(id);
    this.#ackBatch = batch;
    this.granted = { ...this.granted, windowCalls, windowBytes };
  }

  /** Whether a call of this size may be sent now. Urgent ones may exceed the window by some calls. */
  canSend(size: number, urgent = false): boolean {
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    // A window of no calls is for urgent ones, too.
    const more = urgent && windowCalls > 0;
    const calls = more ? windowCalls + URGENT_CALLS : windowCalls;
    const bytes = more ? windowBytes + URGENT_BYTES : windowBytes;
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
   * Checks that a call of this size can be sent at some time: that it fits what
   * HELLO grants, which no update takes away for good. Passes before HELLO is
   * read.
   *
   * @throws {RpcError} `unavailable` if the peer serves nothing, else
   *   `resource_exhausted`.
   */
  checkFit(size: number): void {
    const granted = this.helloReceived;
    if (granted === undefined) return;
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
