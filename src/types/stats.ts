/**
 * What a connection, a client and a server count, and how in-flight calls are listed.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";

/**
 * Where a call is. Of those this end made: `away` (a reconnecting client has no
 * connection for it), `queued` (the peer's window is full), `batched` (to leave
 * with the next write), `sent`, `streaming` (its caller has the stream that is
 * its result), `abandoned` (its caller has been told, its place is held until
 * the peer answers). Of those it serves: `waiting` to be started, `validating`
 * its params, `running`, `streaming` its result, `cancelled` (its caller has
 * given up, its handler runs on).
 */
export type LiveState =
  | "away"
  | "queued"
  | "batched"
  | "sent"
  | "streaming"
  | "abandoned"
  | "waiting"
  | "validating"
  | "running"
  | "cancelled";

/** A call that has not ended, as of when the list was made. */
export interface LiveCall {
  /** Whether this end made it (`client`) or serves it (`server`). */
  readonly side: "client" | "server";
  /** The method called. */
  readonly method: string;
  /** The id on the wire; `undefined` while a call of ours waits to be sent. */
  readonly id: number | undefined;
  /** Where it is. */
  readonly state: LiveState;
  /** Whole milliseconds since it was made, or came; may be too many by the time that up to 64 calls in a row took to be made. */
  readonly age: number;
  /** What is left of its deadline, in ms; `Infinity` without one. */
  readonly remaining: number;
  /** What its request counts in bytes. */
  readonly bytes: number;
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
}

/** What a list of calls is made with. */
export interface LiveCallContext {
  /** The clock's `now`. */
  readonly now: number;
  readonly remote: string | undefined;
}

/** A connection in numbers, as of now. */
export interface ConnectionStats extends StreamStats {
  /** Where it is in its life. */
  readonly state: "open" | "draining" | "finishing" | "closed";
  /** Calls of ours that hold a place in the peer's window, and their bytes. */
  readonly inFlight: number;
  /** Bytes of those. */
  readonly inFlightBytes: number;
  /** Calls of ours that wait for the window. */
  readonly queued: number;
  /** Bytes of those. */
  readonly queuedBytes: number;
  /** Calls of ours that have ended so far, by outcome. */
  readonly settled: OutcomeCounts;
  /** Answers that came after their caller had been told otherwise. */
  readonly lateReplies: number;
  /** The peer's calls that hold a place in our window. */
  readonly receiving: number;
  /** Bytes of those. */
  readonly receivingBytes: number;
  /** Handlers that have not settled. */
  readonly running: number;
  /** The peer's calls that wait to be started. */
  readonly waiting: number;
  /** Those of them that wait for an earlier call of their order: see {@linkcode ordered}. */
  readonly ordered: number;
  /** The peer's calls that have ended so far, by how. */
  readonly served: ServedCounts;
  /** Bytes not taken by the transport yet. */
  readonly outgoingBytes: number;
  /** What counts towards a server's `maxTotalBuffered`: those; calls that are not answered, in either direction, with what their params take; items of streams that wait to be read or sent; and what has come of an unfinished message. Each call counts 512 bytes more, each open stream 4,096. */
  readonly bufferedBytes: number;
  /** Chunks handed to the transport so far. */
  readonly chunksWritten: number;
  /** Bytes of those. */
  readonly bytesWritten: number;
  /** Bytes read so far. */
  readonly bytesRead: number;
  /** Abort signals listened to. */
  readonly listeners: number;
  /** Deadlines and other times waited for. */
  readonly timers: number;
  /** The latest round-trip time, in ms; undefined until a PING was answered. */
  readonly rtt: number | undefined;
}

/** What of that tells of the calls that this end made. */
export type OutgoingCallStats = Pick<
  ConnectionStats,
  | "inFlight"
  | "inFlightBytes"
  | "queued"
  | "queuedBytes"
  | "settled"
  | "lateReplies"
>;

/** And of those that it serves. */
export type IncomingCallStats = Pick<
  ConnectionStats,
  "receiving" | "receivingBytes" | "running" | "waiting" | "ordered" | "served"
>;

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
export type TotalStats = Omit<ConnectionStats, "state" | "rtt">;

/** Streams in numbers, for the connection's `stats`. */
export interface StreamStats {
  /** Open ones, both ways. */
  readonly streams: number;
  /** Bytes that came and wait to be read. */
  readonly streamHeld: number;
  /** Bytes that the peer may still send. */
  readonly streamGranted: number;
  /** Bytes that may still be sent. */
  readonly streamCredit: number;
}

/** Where there never was one. */
export const NO_STREAMS: StreamStats = {
  streams: 0,
  streamHeld: 0,
  streamGranted: 0,
  streamCredit: 0,
};
