/**
 * What can be set of a connection, and what it tells of itself.
 *
 * @module
 */

import type { BytePath } from "../transport/byte_path.ts";
import type { Callable } from "../serve/services.ts";
import type { Clock } from "../base/clock.ts";
import type { WireProtocol } from "../wire/codec.ts";
import type { Credentials } from "../serve/credentials.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { Limits } from "../wire/limits.ts";
import type { Observing } from "../types/observe.ts";
import type { Serializer } from "../wire/payload.ts";
import type { OutcomeCounts, ServedCounts } from "./totals.ts";
import type { StreamNumbers } from "../streams/stream_table.ts";
import type { Shared } from "../serve/server_limits.ts";
import type { Verdict } from "../serve/authorize.ts";
import type { Optional } from "../types/services.ts";

/** What a call that failed on our side was, for `onError`. */
export interface CallInfo {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
}

/** What both ends of a connection can set. */
export interface ConnectionOptions extends Optional<Limits> {
  /** Replaces JSON; both ends must have one of the same name. */
  serializer?: Serializer | undefined;
  /** Another wire than the native one; both ends must speak the same. */
  wire?: WireProtocol | undefined;
  /** Time, for tests. */
  clock?: Clock | undefined;
  /** Who is told of each call that begins and ends, either way; see {@linkcode observing}. */
  observe?: Observing | undefined;
  /** The first call's id, for tests. Default 1. */
  firstId?: number | undefined;
}

/** What only the library sets. */
export interface ConnectionSetup extends ConnectionOptions {
  /** What the peer may call. */
  services?: Callable | undefined;
  /** What our HELLO shows of us. */
  credentials?: Credentials | undefined;
  /** Makes what decides on the peer; a factory, so that only servers load it. */
  verdict?: ((path: BytePath) => Verdict) | undefined;
  /** What the connections of a server have in common. */
  shared?: Shared | undefined;
  /** The peer's HELLO has been read: it serves this connection. */
  onHello?: (() => void) | undefined;
  /** The peer has said goodbye: it takes no calls any more, those it refuses have been settled. */
  onGoaway?: ((reason: ConnectionError) => void) | undefined;
}

/**
 * How a connection is closed.
 *
 * @example A feed that would never end
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Feed: {
 *     async *ticks(_: undefined, { draining }: CallContext) {
 *       for (let n = 1;; n++) {
 *         yield n;
 *         if (n === 3) await new Promise((resolve) => draining.onabort = resolve);
 *       }
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const seen: number[] = [];
 * for await (const n of await client.call("Feed.ticks")) {
 *   seen.push(n);
 *   if (n === 3) server.close({ streams: "end" });
 * }
 * assertEquals(seen.slice(0, 3), [1, 2, 3]);
 * await client.close();
 * ```
 */
export interface CloseOptions {
  /**
   * Milliseconds for accepted calls and running handlers to finish. Default
   * 5,000. It holds whatever the connection's state is, and the shortest that
   * was asked for holds; 1,000 ms later the connection is over in any case.
   */
  timeout?: number | undefined;
  /**
   * What becomes of results that are streams: a drain lets them `finish` (the
   * default), or `end`s them in order. Then each source is asked for no more
   * (an iterator's `return` is called, a `ReadableStream` cancelled), and its
   * reader finds the end behind what had come; `ctx.draining` has fired before.
   */
  streams?: "finish" | "end" | undefined;
  /** The `ctx` of the handler that closes its own connection: it is not waited for. */
  ctx?: object | undefined;
}

/** A connection in numbers, as of now. */
export interface ConnectionStats extends StreamNumbers {
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
  readonly held: number;
  /** Bytes of those. */
  readonly heldBytes: number;
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
export type MadeNumbers = Pick<
  ConnectionStats,
  | "inFlight"
  | "inFlightBytes"
  | "queued"
  | "queuedBytes"
  | "settled"
  | "lateReplies"
>;

/** And of those that it serves. */
export type ServedNumbers = Pick<
  ConnectionStats,
  "held" | "heldBytes" | "running" | "waiting" | "ordered" | "served"
>;
