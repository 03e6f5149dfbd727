/**
 * The memory account: what each connection holds for its peer, and the sum of
 * it over all connections of a server.
 *
 * A connection holds, in bytes: params of the peer's calls from their arrival
 * to their answer (metadata included), what JSON has been decoded to while a
 * handler runs, messages that have begun, items of streams that nobody has read
 * or that the peer has no credit for, calls of its own that wait, and what the
 * transport has not taken. To these come {@linkcode CALL_CHARGE} bytes for each
 * call and {@linkcode STREAM_CHARGE} for each stream: an idle call of 24 bytes
 * takes about 460.
 *
 * Invariants owned here:
 * - When all hold more than `max` in all, one is closed, and as often as it
 *   takes: of those that hold at least three quarters of the average, the one
 *   that has gone longest without progress. A connection makes progress when it
 *   has let go of as many bytes as it held at its last progress. (Not the one
 *   that holds most: that may be an honest one with a large message, beside
 *   hundreds that never finish theirs. Nor simply the oldest: one that holds
 *   little must not go for one that holds much.)
 * - One that is closing already is ended at once: what its peer does not read
 *   would be held until its farewell is over.
 * - Nothing here runs per message: connections say what they hold once a chunk
 *   and a batch, and while bytes pile up every {@linkcode STEP} bytes. That is
 *   what they may be past `max` each.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";

/** A connection says again what it holds when its outgoing bytes have grown by this many. */
const STEP = 16 * 1024;

/** What a call counts beside its bytes, from its arrival to its answer, in bytes. */
export const CALL_CHARGE = 512;

/** What an open stream counts beside its items, in bytes. */
export const STREAM_CHARGE = 4096;

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
  /** Counts progress, over all connections. */
  moment = 0;
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
        "bytes, and this one has gone longest without progress";
      this.#stalest().shed(new ConnectionError("resource_exhausted", text));
    }
    this.#scheduled = false;
  }

  #stalest(): Share {
    let holders = 0;
    for (const { bytes } of this.#shares) if (bytes > 0) holders++;
    const least = this.#total / holders * 3 / 4;
    let stalest: Share | undefined;
    for (const share of this.#shares) {
      if (share.bytes < least) continue;
      if (stalest === undefined || share.since < stalest.since) stalest = share;
    }
    // Not all can be below the average.
    return stalest as Share;
  }
}

/** What one connection holds. */
export class Share {
  /** As it last said. */
  bytes = 0;
  /** The moment of its last progress. */
  since = 0;
  /** What it has to let go of for the next. */
  #left = 0;
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
    if (delta < 0) this.#left += delta;
    if (this.#left <= 0) {
      this.#left = bytes;
      this.since = ++this.#buffers.moment;
    }
    this.#buffers.grew(delta);
  }
}
