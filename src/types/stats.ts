/**
 * What a connection counts, and how in-flight calls are listed.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";

/**
 * The state of a call in a list of in-flight calls.
 *
 * Of outgoing calls:
 * - `away`: waits for a connection, on a reconnecting client.
 * - `queued`: waits for the peer's window.
 * - `batched`: written into the send buffer, and leaves with the next write.
 * - `sent`: waits for the reply.
 * - `streaming`: its result is a stream, which has not ended.
 * - `abandoned`: its caller has given up; it occupies a slot of the window until
 *   the peer replies.
 *
 * Of incoming calls:
 * - `waiting`: its handler has not been started.
 * - `validating`: its params are being checked with a schema.
 * - `running`: its handler runs.
 * - `streaming`: its result is a stream, which has not ended.
 * - `cancelled`: its caller has given up, and its handler still runs.
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

/**
 * A call in flight, as it was when the list was made.
 *
 * @example Find requests that hang
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Slow: { wait: () => new Promise<string>(() => {}) } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * const handle = client.go("Slow.wait");
 * await handle.sent;
 * const [call] = client.calls();
 * assertEquals([call.side, call.method, call.state], ["client", "Slow.wait", "sent"]);
 * await client.close({ timeout: 0 });
 * await server.close({ timeout: 0 });
 * ```
 */
export interface LiveCall {
  /** `client` if the local side made the call, `server` if it serves it. */
  readonly side: "client" | "server";
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection; `undefined` while an outgoing call waits to be sent. */
  readonly id: number | undefined;
  /** How far the call has come. */
  readonly state: LiveState;
  /** Whole milliseconds since the call was made, or arrived. May be too many by the time that it took to make up to 64 calls in a row. */
  readonly age: number;
  /** Milliseconds until its deadline, 0 once it has passed; `Infinity` without one. */
  readonly remaining: number;
  /** The bytes of its request. */
  readonly bytes: number;
  /** The peer's address, if the transport knows it. */
  readonly remote: string | undefined;
}

/** What a list of calls is made with. */
export interface LiveCallContext {
  /** The clock's `now`, in ms. */
  readonly now: number;
  /** The peer's address, if the transport knows it. */
  readonly remote: string | undefined;
}

/**
 * Numbers of one connection: gauges that say what is the case now, and counters
 * that only grow. A counter is marked "so far".
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
 *
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices());
 * server.accept(far);
 * const client = new Client<ReturnType<typeof echoServices>>(near);
 * await client.call("HelloService.Hello", "x");
 * const { state, inFlight, settled } = client.stats();
 * assertEquals([state, inFlight, settled.executed], ["open", 0, 1]);
 * await client.close();
 * await server.close();
 * ```
 */
export interface ConnectionStats extends StreamStats {
  /**
   * Where the connection is in its life: `open`; `draining`, as either side
   * closes it gracefully and calls finish; `finishing`, as the last bytes are
   * sent; `closed`.
   */
  readonly state: "open" | "draining" | "finishing" | "closed";
  /** Outgoing calls that occupy a slot of the peer's window. */
  readonly inFlight: number;
  /** Request bytes of those calls. */
  readonly inFlightBytes: number;
  /** Calls that the peer lets the local side have in flight: as its HELLO or the latest change of its window says; the protocol's constant before HELLO. */
  readonly peerWindowCalls: number;
  /** Request bytes of those calls. */
  readonly peerWindowBytes: number;
  /** Outgoing calls that wait for the peer's window. */
  readonly queued: number;
  /** Request bytes of those calls. */
  readonly queuedBytes: number;
  /** Outgoing calls that have ended so far, by outcome. */
  readonly settled: OutcomeCounts;
  /** Replies that arrived so far for calls whose caller had given up. */
  readonly lateReplies: number;
  /** Incoming calls that occupy a slot of the local window. */
  readonly receiving: number;
  /** Request bytes of those calls. */
  readonly receivingBytes: number;
  /** Calls that the peer may have in flight: the limit, or the latest {@linkcode Connection.setWindow} that the peer has confirmed. */
  readonly windowCalls: number;
  /** Request bytes of those calls. */
  readonly windowBytes: number;
  /** Handlers that have not settled, those of cancelled calls included. */
  readonly running: number;
  /** Incoming calls whose handler has not been started. */
  readonly waiting: number;
  /** Those of them that wait for an earlier call of the same key: see {@linkcode ordered}. */
  readonly ordered: number;
  /** Incoming calls that have ended so far, by how they ended. */
  readonly served: ServedCounts;
  /** Results of incoming calls that are kept for dependent calls: see {@linkcode ref}. */
  readonly kept: number;
  /** Bytes that the transport has not taken yet. */
  readonly outgoingBytes: number;
  /**
   * Bytes that the connection holds in memory, as a server's `maxTotalBuffered`
   * counts them: `outgoingBytes`, the params of calls without a reply in either
   * direction, items of streams that wait to be read or sent, and the part of an
   * unfinished message that has arrived. Each call counts 512 bytes more, and
   * each open stream 4,096.
   */
  readonly bufferedBytes: number;
  /** Chunks handed to the transport so far. */
  readonly chunksWritten: number;
  /** Bytes handed to the transport so far. */
  readonly bytesWritten: number;
  /** Bytes read from the transport so far. */
  readonly bytesRead: number;
  /** Abort signals of outgoing calls that the connection listens to. */
  readonly listeners: number;
  /** Deadlines and other timers that are set. */
  readonly timers: number;
  /** The round-trip time of the latest PING, in ms; `undefined` until one was answered. */
  readonly rtt: number | undefined;
}

/** The numbers that count outgoing calls. */
export type OutgoingCallStats = Pick<
  ConnectionStats,
  | "inFlight"
  | "inFlightBytes"
  | "peerWindowCalls"
  | "peerWindowBytes"
  | "queued"
  | "queuedBytes"
  | "settled"
  | "lateReplies"
>;

/** The numbers that count incoming calls. */
export type IncomingCallStats = Pick<
  ConnectionStats,
  | "receiving"
  | "receivingBytes"
  | "running"
  | "waiting"
  | "ordered"
  | "served"
  | "kept"
>;

/** Calls by outcome. An aborted call counts once its final outcome is known. */
export type OutcomeCounts = Record<Outcome, number>;

/** Incoming calls by how they ended. */
export interface ServedCounts {
  /** The reply was a result. */
  ok: number;
  /** The reply was an error, and the handler had been started. */
  failed: number;
  /** The reply was an error, and the handler was never started. */
  refused: number;
  /** The connection ended before the reply. */
  lost: number;
}

/** Makes counts of 0. */
export function noOutcomes(): OutcomeCounts {
  return { not_sent: 0, refused: 0, executed: 0, unknown: 0 };
}

/** Makes counts of 0. */
export function noneServed(): ServedCounts {
  return { ok: 0, failed: 0, refused: 0, lost: 0 };
}

/** Numbers of many connections, added up. Counters include the connections that are over. */
export type TotalStats = Omit<ConnectionStats, "state" | "rtt">;

/** Numbers of the streams of a connection. */
export interface StreamStats {
  /** Open streams, in both directions. */
  readonly streams: number;
  /** Bytes that have arrived and wait to be read. */
  readonly streamHeld: number;
  /** Bytes of credit that the peer has: it may still send as many. */
  readonly streamGranted: number;
  /** Bytes of credit that the local side has. */
  readonly streamCredit: number;
  /** Bytes that the peer may still send over all streams together; 0 before the connection has had one. */
  readonly connectionGranted: number;
  /** Bytes that the local side may still send over all streams together; 0 before the connection has had one. */
  readonly connectionCredit: number;
}

/** The numbers of a connection that never had a stream. */
export const NO_STREAMS: StreamStats = {
  streams: 0,
  streamHeld: 0,
  streamGranted: 0,
  streamCredit: 0,
  connectionGranted: 0,
  connectionCredit: 0,
};
