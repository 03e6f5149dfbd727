/**
 * What bounds a server as a whole, beside the limits of each connection.
 *
 * @module
 */

import { Buffers } from "./buffers.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { LargeReads } from "../connection/large_reads.ts";
import { checkLimit, type Limits, toLimits } from "../wire/limits.ts";
import { Turns } from "./fair_share.ts";
import type { Optional } from "../types/services.ts";

/** The limits that all connections of a server share. */
export interface ServerLimits {
  /** Connections at once; the next is told `resource_exhausted` and closed. Default 16,384. */
  readonly maxConnections: number;
  /** Handlers that run at once, over all connections, the last quarter of them of connections that run no other; past it calls wait, and connections take turns. A handler that never settles keeps its place, also when its caller is gone. Default 16,384, or twice `maxRunning` if that is more. */
  readonly maxTotalRunning: number;
  /** Bytes that all connections hold for their peers: calls that are not answered, unfinished messages, unsent answers, items of streams that wait, and a charge for each call and stream (see docs/semantics.md). When it is exceeded, the connection that has gone longest without progress is closed, `resource_exhausted`. Default 256 MiB, or `maxOutbox` if that is more. */
  readonly maxTotalBuffered: number;
}

/** The defaults, as README's table has them. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxConnections: 16_384,
  maxTotalRunning: 16_384,
  maxTotalBuffered: 256 * 1024 * 1024,
};

/** What the connections of a server have in common. */
export class Shared {
  readonly maxConnections: number;
  readonly turns: Turns;
  readonly buffers: Buffers;
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
    this.turns = new Turns(of("maxTotalRunning", running), clock);
    this.largeReads = new LargeReads(clock);
    const { maxOutbox } = toLimits(given);
    this.buffers = new Buffers(of("maxTotalBuffered", maxOutbox));
  }
}
