/**
 * The limits of a server as a whole, which all of its connections share, and
 * the memory budget that enforces one of them.
 *
 * @module
 */

import { type Clock, systemClock } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import { LargeReads } from "../base/large_reads.ts";
import type { Limits } from "../types/connection.ts";
import type { Optional } from "../types/optional.ts";
import { checkLimit, toLimits } from "../wire/connection_limits.ts";
import type {
  MemoryHolder,
  MemoryPool,
  MemoryShare,
} from "../connection/contract.ts";
import { FairShare } from "./fair_share.ts";

/** The limits that all connections of a server share. */
export interface ServerLimits {
  /** Open connections. The next client receives `resource_exhausted`, and its connection is closed. Default 16,384. */
  readonly maxConnections: number;
  /** Handlers that run at the same time. When it is reached, calls wait, and the connections share what becomes free, round robin. The last quarter is reserved for connections that run no handler. A handler that never settles keeps its slot, even when its caller has left. Default 16,384, or twice `maxRunning` if that is more. */
  readonly maxTotalRunning: number;
  /** Bytes held in memory for all clients: calls without a reply, incomplete messages, unsent replies, stream items that wait, and a charge for each call and stream (docs/semantics.md has the full account). When it is exceeded, the server closes the connection that has gone longest without progress, with `resource_exhausted`. Default 256 MiB, or `maxSendBuffer` if that is more. */
  readonly maxTotalBuffered: number;
}

/** The defaults. A test compares them with docs/limits.md. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxConnections: 16_384,
  maxTotalRunning: 16_384,
  maxTotalBuffered: 256 * 1024 * 1024,
};

/** What the connections of a server share. */
export class ServerResources {
  readonly maxConnections: number;
  readonly fairShare: FairShare;
  readonly memory: MemoryBudget;
  readonly largeReads: LargeReads;

  /**
   * Reads the limits.
   *
   * @throws {RangeError} If one of them is not a whole number from 1.
   */
  constructor(
    options: Optional<ServerLimits & Limits>,
    clock: Clock = systemClock,
  ) {
    // A default is never less than what one connection may use by its own limits.
    const read = (name: keyof ServerLimits, least = 0) => {
      const value = options[name] ??
        Math.max(DEFAULT_SERVER_LIMITS[name], least);
      return checkLimit(name, value, 1, Infinity);
    };
    this.maxConnections = read("maxConnections");
    const running = read("maxTotalRunning", 2 * (options.maxRunning ?? 0));
    this.fairShare = new FairShare(running, clock);
    this.largeReads = new LargeReads(clock);
    const { maxSendBuffer } = toLimits(options);
    this.memory = new MemoryBudget(read("maxTotalBuffered", maxSendBuffer));
  }
}

/** A connection reports what it holds when its outgoing bytes have grown by this many. */
const STEP = 16 * 1024;

/**
 * The bytes that a server holds for its clients.
 *
 * When they exceed `max`, it closes the connection that has gone longest
 * without progress, among those that hold at least three quarters of the
 * average, until they do not. A connection makes progress when it has released
 * as many bytes as it held when it last made progress.
 */
export class MemoryBudget implements MemoryPool {
  readonly step = STEP;
  /** Counts the progress of all connections: a larger count is later. */
  progress = 0;
  #total = 0;
  #scheduled = false;
  readonly #shares = new Set<BudgetShare>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  share(holder: MemoryHolder): BudgetShare {
    const share = new BudgetShare(this, holder);
    this.#shares.add(share);
    return share;
  }

  /** A connection holds `delta` bytes more than it last reported. */
  grew(delta: number): void {
    this.#total += delta;
    if (this.#total <= this.#max || this.#scheduled) return;
    this.#scheduled = true;
    // Not now: the connection may be in the middle of a frame.
    queueMicrotask(() => this.#relieve());
  }

  /** A connection has ended. */
  remove(share: BudgetShare): void {
    this.#shares.delete(share);
  }

  #relieve(): void {
    // Some may have released much since they last reported.
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
      if (stalest === undefined || share.progressAt < stalest.progressAt) {
        stalest = share;
      }
    }
    // There is one: not all can be below the average.
    return stalest as BudgetShare;
  }
}

/** The part of one connection. */
class BudgetShare implements MemoryShare {
  /** What it holds, as last reported. */
  bytes = 0;
  /** The budget's `progress` when it last made some. */
  progressAt = 0;
  /** Bytes that it has yet to release until that counts as progress. */
  #untilProgress = 0;
  readonly #budget: MemoryBudget;
  readonly #holder: MemoryHolder;
  #ended = false;

  constructor(budget: MemoryBudget, holder: MemoryHolder) {
    this.#budget = budget;
    this.#holder = holder;
  }

  recordProgress(): void {
    if (!this.#ended) this.#set(this.#holder.bytesHeld());
  }

  /** Closes the connection. */
  evict(reason: ConnectionError): void {
    if (this.#holder.evict(reason)) this.end();
    else this.recordProgress();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#set(0);
    this.#budget.remove(this);
  }

  #set(bytes: number): void {
    const delta = bytes - this.bytes;
    if (delta === 0) return;
    this.bytes = bytes;
    if (delta < 0) this.#untilProgress += delta;
    if (this.#untilProgress <= 0) {
      this.#untilProgress = bytes;
      this.progressAt = ++this.#budget.progress;
    }
    this.#budget.grew(delta);
  }
}
