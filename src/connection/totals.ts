/**
 * What is counted, and the sum of it over many connections.
 *
 * Invariant owned here: a number that only grows goes on counting when its
 * connection is over; one that tells of now does not.
 *
 * @module
 */

import type { ClientState } from "../client/reconnect/client_state.ts";
import type { ConnectionStats } from "./contract.ts";
import type { Outcome } from "../base/errors.ts";

/** Calls by outcome; an aborted one counts once its final outcome is known. */
export type OutcomeCounts = Record<Outcome, number>;

/** Served calls by how they ended. */
export interface ServedCounts {
  /** Answered with a result. */
  ok: number;
  /** Answered with an error, after the handler was started. */
  failed: number;
  /** Answered with an error, and never started. */
  refused: number;
  /** Under way when their connection ended: nobody was left to answer. */
  lost: number;
}

/** No calls. */
export function noOutcomes(): OutcomeCounts {
  return { not_sent: 0, refused: 0, executed: 0, unknown: 0 };
}

/** No calls. */
export function noneServed(): ServedCounts {
  return { ok: 0, failed: 0, refused: 0, lost: 0 };
}

/** The numbers of many connections, added up. */
export type SummedStats = Omit<ConnectionStats, "state" | "rtt">;

/** A reconnecting client in numbers, as of now: those of its connections added up; what only grows, over those that are gone as well. */
export interface ReconnectingStats
  extends
    Omit<SummedStats, "held" | "heldBytes" | "running" | "waiting" | "served"> {
  /** Where it is. */
  readonly state: ClientState;
  /** Dials so far. */
  readonly dials: number;
  /** Dials in a row that have led nowhere. */
  readonly failures: number;
  /** Connections that live: the one that takes calls, and older ones that finish theirs. */
  readonly connections: number;
  /** Connections made so far. */
  readonly connected: number;
  /** Calls that wait for a connection. */
  readonly waiting: number;
  /** Bytes of those, about. */
  readonly waitingBytes: number;
  /** Calls that a connection handed back to be sent again, so far. */
  readonly resent: number;
  /** The latest round-trip time of the connection that takes calls, in ms; undefined until a PING was answered. */
  readonly rtt: number | undefined;
}

type Key = keyof SummedStats;

/** Those that only grow. */
const LASTING: readonly Key[] = [
  "settled",
  "served",
  "lateReplies",
  "chunksWritten",
  "bytesWritten",
  "bytesRead",
];

type Sum = Partial<Record<Key, number | Record<string, number>>>;

/** Adds up connections that live, and remembers of others what lasts. */
export class Totals {
  readonly #past: Sum = {};

  /** A connection is over. */
  end(stats: ConnectionStats): void {
    add(this.#past, stats, LASTING);
  }

  /** The sum of all that were, and of those that live. */
  sum(live: readonly ConnectionStats[]): SummedStats {
    const sum: Sum = structuredClone(this.#past);
    for (const stats of [ZERO, ...live]) {
      add(sum, stats, Object.keys(ZERO) as Key[]);
    }
    return sum as unknown as SummedStats;
  }
}

function add(sum: Sum, stats: SummedStats, keys: readonly Key[]): void {
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

const ZERO: SummedStats = {
  inFlight: 0,
  inFlightBytes: 0,
  queued: 0,
  queuedBytes: 0,
  settled: { not_sent: 0, refused: 0, executed: 0, unknown: 0 },
  lateReplies: 0,
  held: 0,
  heldBytes: 0,
  running: 0,
  waiting: 0,
  ordered: 0,
  served: { ok: 0, failed: 0, refused: 0, lost: 0 },
  outgoingBytes: 0,
  bufferedBytes: 0,
  chunksWritten: 0,
  bytesWritten: 0,
  bytesRead: 0,
  listeners: 0,
  timers: 0,
  streams: 0,
  streamHeld: 0,
  streamGranted: 0,
  streamCredit: 0,
};
