/**
 * What bounds a server as a whole, beside the limits of each connection.
 *
 * @module
 */

import { type Clock, systemClock } from "../base/clock.ts";
import { LargeReads } from "../base/large_reads.ts";
import { checkLimit, toLimits } from "../wire/limits.ts";
import type { Limits } from "../types/connection.ts";
import { FairShare } from "./fair_share.ts";
import type { Optional } from "../types/optional.ts";
import type {
  MemoryHolder,
  MemoryPool,
  MemoryShare,
} from "../connection/contract.ts";
import { ConnectionError } from "../base/errors.ts";

/** The limits that all connections of a server share. */
export interface ServerLimits {
  /** Connections at once; the next is told `resource_exhausted` and closed. Default 16,384. */
  readonly maxConnections: number;
  /** Handlers that run at once, over all connections, the last quarter of them of connections that run no other; past it calls wait, and connections take turns. A handler that never settles keeps its place, also when its caller is gone. Default 16,384, or twice `maxRunning` if that is more. */
  readonly maxTotalRunning: number;
  /** Bytes that all connections hold for their peers: calls that are not answered, unfinished messages, unsent answers, items of streams that wait, and a charge for each call and stream (see docs/semantics.md). When it is exceeded, the connection that has gone longest without progress is closed, `resource_exhausted`. Default 256 MiB, or `maxSendBuffer` if that is more. */
  readonly maxTotalBuffered: number;
}

/** The defaults; docs/limits.md has the same numbers. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxConnections: 16_384,
  maxTotalRunning: 16_384,
  maxTotalBuffered: 256 * 1024 * 1024,
};

/** What the connections of a server have in common. */
export class ServerResources {
  readonly maxConnections: number;
  readonly turns: FairShare;
  readonly buffers: MemoryBudget;
  readonly largeReads: LargeReads;

  /**
   * Reads the limits.
   *
   * @throws {RangeError} If one is not a whole number from 1.
   */
  constructor(
    given: Optional<ServerLimits & Limits>,
    clock: Clock = systemClock,
  ) {
    // What one connection may have by its own limits fits into those of all.
    const of = (name: keyof ServerLimits, one = 0) => {
      const value = given[name] ?? Math.max(DEFAULT_SERVER_LIMITS[name], one);
      return checkLimit(name, value, 1, Infinity);
    };
    this.maxConnections = of("maxConnections");
    const running = 2 * (given.maxRunning ?? 0);
    this.turns = new FairShare(of("maxTotalRunning", running), clock);
    this.largeReads = new LargeReads(clock);
    const { maxSendBuffer } = toLimits(given);
    this.buffers = new MemoryBudget(of("maxTotalBuffered", maxSendBuffer));
  }
}

/** A connection says again what it holds when its outgoing bytes have grown by this many. */
const STEP = 16 * 1024;

/** The bytes of one server. */
export class MemoryBudget implements MemoryPool {
  readonly step = STEP;
  /** Counts progress, over all connections. */
  moment = 0;
  #total = 0;
  #scheduled = false;
  readonly #shares = new Set<BudgetShare>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** Enters a connection. */
  share(holder: MemoryHolder): BudgetShare {
    const share = new BudgetShare(this, holder);
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
  remove(share: BudgetShare): void {
    this.#shares.delete(share);
  }

  #relieve(): void {
    // Some may have let go of much since they last said what they hold.
    for (const share of this.#shares) share.recordProgress();
    while (this.#total > this.#max && this.#shares.size > 0) {
      const text = `the server's connections hold more than ${this.#max} ` +
        "bytes, and this one has gone longest without progress";
      this.#stalest().evict(new ConnectionError("resource_exhausted", text));
    }
    this.#scheduled = false;
  }

  #stalest(): BudgetShare {
    let holders = 0;
    for (const { bytes } of this.#shares) if (bytes > 0) holders++;
    const least = this.#total / holders * 3 / 4;
    let stalest: BudgetShare | undefined;
    for (const share of this.#shares) {
      if (share.bytes < least) continue;
      if (stalest === undefined || share.since < stalest.since) stalest = share;
    }
    // Not all can be below the average.
    return stalest as BudgetShare;
  }
}

/** What one connection holds. */
class BudgetShare implements MemoryShare {
  /** As it last said. */
  bytes = 0;
  /** The moment of its last progress. */
  since = 0;
  /** What it has to let go of for the next. */
  #left = 0;
  readonly #buffers: MemoryBudget;
  readonly #holder: MemoryHolder;
  #over = false;

  constructor(buffers: MemoryBudget, holder: MemoryHolder) {
    this.#buffers = buffers;
    this.#holder = holder;
  }

  /** Takes note of what it holds now. */
  recordProgress(): void {
    if (!this.#over) this.#set(this.#holder.bytesHeld());
  }

  /** Closes its connection to free the memory. */
  evict(reason: ConnectionError): void {
    if (this.#holder.evict(reason)) this.end();
    else this.recordProgress();
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
