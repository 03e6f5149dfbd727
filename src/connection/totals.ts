/**
 * Sums of statistics over many connections: counters go on counting when their
 * connection is over, gauges leave the sum with it.
 *
 * @module
 */

import {
  type ConnectionStats,
  NO_STREAMS,
  noneServed,
  noOutcomes,
  type TotalStats,
} from "../types/stats.ts";

type Key = keyof TotalStats;

/** The counters; all others are gauges. */
const COUNTERS: readonly Key[] = [
  "settled",
  "served",
  "lateReplies",
  "chunksWritten",
  "bytesWritten",
  "bytesRead",
];

type Sum = Partial<Record<Key, number | Record<string, number>>>;

/** Adds up the connections that live, and keeps the counters of those that are over. */
export class Totals {
  readonly #ended: Sum = {};

  /** A connection is over. */
  end(stats: ConnectionStats): void {
    add(this.#ended, stats, COUNTERS);
  }

  /** Returns the sum over all connections so far; `live` are those that are not over. */
  sum(live: readonly ConnectionStats[]): TotalStats {
    const sum: Sum = structuredClone(this.#ended);
    for (const stats of [ZERO, ...live]) {
      add(sum, stats, Object.keys(ZERO) as Key[]);
    }
    return sum as unknown as TotalStats;
  }
}

function add(sum: Sum, stats: TotalStats, keys: readonly Key[]): void {
  for (const key of keys) {
    const value = stats[key];
    if (typeof value === "number") {
      sum[key] = (sum[key] as number ?? 0) + value;
    } else {
      const counts = (sum[key] ??= {}) as Record<string, number>;
      for (const [name, count] of Object.entries(value)) {
        counts[name] = (counts[name] ?? 0) + count;
      }
    }
  }
}

const ZERO: TotalStats = {
  inFlight: 0,
  inFlightBytes: 0,
  peerWindowCalls: 0,
  peerWindowBytes: 0,
  queued: 0,
  queuedBytes: 0,
  settled: noOutcomes(),
  lateReplies: 0,
  receiving: 0,
  receivingBytes: 0,
  windowCalls: 0,
  windowBytes: 0,
  running: 0,
  waiting: 0,
  ordered: 0,
  served: noneServed(),
  kept: 0,
  outgoingBytes: 0,
  bufferedBytes: 0,
  chunksWritten: 0,
  bytesWritten: 0,
  bytesRead: 0,
  listeners: 0,
  timers: 0,
  ...NO_STREAMS,
};
