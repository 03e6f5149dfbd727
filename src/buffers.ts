/**
 * The bytes that all connections of a server hold for their peers: params of
 * calls that wait, messages that have begun, what the transport has not taken.
 *
 * Invariants owned here:
 * - Past `max` in all, whoever holds most is closed, and as often as it takes.
 *   One that is closing already, and still holds most, is ended at once: what
 *   its peer does not read would be held until its farewell is over.
 * - Nothing here runs per message: connections say what they hold once a chunk
 *   and a batch, and while outgoing bytes pile up every {@linkcode STEP} bytes.
 *   That is what they may be past `max` each, for the rest of a turn.
 *
 * @module
 */

import { ConnectionError } from "./errors.ts";

/** A connection says again what it holds when its outgoing bytes have grown by this many. */
const STEP = 16 * 1024;

/** A connection, as one that holds bytes. */
export interface Holder {
  /** How many, now. */
  bytes(): number;
  /** Closes it, without what can still be taken back; at once, if it is closing already. Returns whether it ended at once. */
  shed(reason: ConnectionError): boolean;
}

/** The bytes of one server. */
export class Buffers {
  readonly step = STEP;
  #total = 0;
  #scheduled = false;
  readonly #shares = new Set<Share>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** Enters a connection. */
  share(holder: Holder): Share {
    const share = new Share(this, holder);
    this.#shares.add(share);
    return share;
  }

  /** A connection holds `delta` bytes more than it last said. */
  grew(delta: number): void {
    this.#total += delta;
    if (this.#total <= this.#max || this.#scheduled) return;
    this.#scheduled = true;
    // Not now: whoever says so may be in the middle of a frame.
    queueMicrotask(() => this.#relieve());
  }

  /** A connection is over. */
  remove(share: Share): void {
    this.#shares.delete(share);
  }

  #relieve(): void {
    // Some may have let go of much since they last said what they hold.
    for (const share of this.#shares) share.note();
    while (this.#total > this.#max && this.#shares.size > 0) {
      const text = `the server's connections hold more than ${this.#max} ` +
        "bytes, and this one most of them";
      this.#most().shed(new ConnectionError("resource_exhausted", text));
    }
    this.#scheduled = false;
  }

  #most(): Share {
    let most: Share | undefined;
    for (const share of this.#shares) {
      if (most === undefined || share.bytes > most.bytes) most = share;
    }
    return most as Share;
  }
}

/** What one connection holds. */
export class Share {
  /** As it last said. */
  bytes = 0;
  readonly #buffers: Buffers;
  readonly #holder: Holder;
  #over = false;

  constructor(buffers: Buffers, holder: Holder) {
    this.#buffers = buffers;
    this.#holder = holder;
  }

  /** Takes note of what it holds now. */
  note(): void {
    if (!this.#over) this.#set(this.#holder.bytes());
  }

  /** Makes it let go. */
  shed(reason: ConnectionError): void {
    if (this.#holder.shed(reason)) this.end();
    else this.note();
  }

  /** It is over. Idempotent. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#set(0);
    this.#buffers.remove(this);
  }

  #set(bytes: number): void {
    const delta = bytes - this.bytes;
    if (delta === 0) return;
    this.bytes = bytes;
    this.#buffers.grew(delta);
  }
}
