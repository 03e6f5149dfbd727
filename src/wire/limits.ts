/**
 * Every number that bounds a connection, with its default.
 *
 * Invariant owned here: a connection never runs with a limit that cannot hold.
 *
 * @module
 */

import { HEADER_SIZE } from "./frame.ts";
import { MAX_MESSAGE, MAX_WINDOW_CALLS, MIN_MESSAGE } from "./hello.ts";
import { MAX_WINDOW, MIN_CREDIT } from "./terms.ts";
import type { Optional } from "../types/services.ts";

/** The limits of one connection; each end has its own. */
export interface Limits {
  /** Largest message body accepted, in bytes. Default 4 MiB; at least 16 KiB, at most 1 GiB. */
  readonly maxMessage: number;
  /** Calls the peer may have with us at once. Default 4,096; at most 2^24; 0 serves nothing. */
  readonly windowCalls: number;
  /** Bytes of such calls, headers included. Default 16 MiB, or room for one message of `maxMessage` if that is more; at most 2^32 - 1. */
  readonly windowBytes: number;
  /** Handlers that run at once. Default 1,024. */
  readonly maxRunning: number;
  /** Calls of ours that may wait for the peer's window. Default 1,048,576. */
  readonly maxQueuedCalls: number;
  /** Bytes of such calls. Default 256 MiB. */
  readonly maxQueuedBytes: number;
  /** Outgoing bytes above which no new handler is started. Default 1 MiB. */
  readonly highWaterMark: number;
  /** Most outgoing bytes: the frame that would pass it is not kept, and the connection ends. Default 64 MiB, or twice `maxMessage` if that is more; at least 64 KiB. */
  readonly maxOutbox: number;
  /** Bytes of each stream that the peer may send before its reader reads. Default 64 KiB; 16 KiB to 1 MiB. */
  readonly streamCredit: number;
  /** Streams that may be open towards us at once. Default 1,024; 0 takes none; at most 2^32 - 1. */
  readonly maxStreams: number;
  /** Bytes that the windows of all streams may grow by, for readers that keep up and for large items. Default 16 MiB. */
  readonly streamBudget: number;
  /** Milliseconds for the peer's first message to come. Default 10,000. */
  readonly handshakeTimeout: number;
  /** Milliseconds without a byte from the peer after which it is sent a PING. Default 30,000; `Infinity` for never. */
  readonly keepaliveTime: number;
  /** Milliseconds for that PING to be answered by any byte at all; else the peer counts as gone. Default 20,000. */
  readonly keepaliveTimeout: number;
  /** Milliseconds for the transport to take a batch; a peer that does not read is let go. Default 60,000. */
  readonly writeTimeout: number;
  /** Milliseconds for a message that has begun to arrive whole. Default 60,000. */
  readonly messageTimeout: number;
  /** Milliseconds for the calls of a peer that has closed its half in order, and so answers no PING. Default 300,000; `Infinity` for no limit. */
  readonly halfCloseTimeout: number;
  /** Milliseconds without a call in either direction after which the connection is closed. Default `Infinity`. */
  readonly idleTimeout: number;
}

/** The defaults, as README's table has them. */
export const DEFAULT_LIMITS: Limits = {
  maxMessage: 4 * 1024 * 1024,
  windowCalls: 4096,
  windowBytes: 16 * 1024 * 1024,
  maxRunning: 1024,
  maxQueuedCalls: 1024 * 1024,
  maxQueuedBytes: 256 * 1024 * 1024,
  highWaterMark: 1024 * 1024,
  maxOutbox: 64 * 1024 * 1024,
  streamCredit: 64 * 1024,
  maxStreams: 1024,
  streamBudget: 16 * 1024 * 1024,
  handshakeTimeout: 10_000,
  keepaliveTime: 30_000,
  keepaliveTimeout: 20_000,
  writeTimeout: 60_000,
  messageTimeout: 60_000,
  halfCloseTimeout: 300_000,
  idleTimeout: Infinity,
};

/** The least room for outgoing bytes: a frame of a stream, or an error with its text, always fits. */
const MIN_OUTBOX = 64 * 1024;

/** What each limit may be. */
const RANGES: Record<keyof Limits, readonly [number, number]> = {
  maxMessage: [MIN_MESSAGE, MAX_MESSAGE],
  windowCalls: [0, MAX_WINDOW_CALLS],
  windowBytes: [0, 0xffffffff],
  maxRunning: [1, Infinity],
  maxQueuedCalls: [0, Infinity],
  maxQueuedBytes: [0, Infinity],
  highWaterMark: [1, Infinity],
  maxOutbox: [MIN_OUTBOX, Infinity],
  streamCredit: [MIN_CREDIT, MAX_WINDOW],
  maxStreams: [0, 0xffffffff],
  streamBudget: [0, Infinity],
  handshakeTimeout: [1, Infinity],
  keepaliveTime: [1, Infinity],
  keepaliveTimeout: [1, Infinity],
  writeTimeout: [1, Infinity],
  messageTimeout: [1, Infinity],
  halfCloseTimeout: [1, Infinity],
  idleTimeout: [1, Infinity],
};

/**
 * The defaults with what is given in their place.
 *
 * @throws {RangeError} If a limit is not a whole number in its range.
 */
export function toLimits(
  given: Optional<Limits>,
): Record<keyof Limits, number> {
  const limits: Record<keyof Limits, number> = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(RANGES) as (keyof Limits)[]) {
    const value = given[name];
    if (value === undefined) continue;
    limits[name] = checkLimit(name, value, ...RANGES[name]);
  }
  // Who accepts larger messages means to get and to answer them.
  const message = limits.maxMessage + HEADER_SIZE;
  if (given.windowBytes === undefined) {
    limits.windowBytes = Math.max(limits.windowBytes, message);
  }
  if (given.maxOutbox === undefined) {
    limits.maxOutbox = Math.max(limits.maxOutbox, 2 * message);
  }
  return limits;
}

/**
 * Looks at the window of a wire on which the peer grants none.
 *
 * @throws {RangeError} If it is given, and no whole number from 1.
 */
export function checkWindow(window: number | undefined): void {
  if (window !== undefined) checkLimit("window", window, 1, MAX_WINDOW_CALLS);
}

/**
 * A limit's value, as it is.
 *
 * @throws {RangeError} If it is not a whole number in its range.
 */
export function checkLimit(
  name: string,
  value: number,
  least: number,
  most: number,
): number {
  const whole = Number.isInteger(value) || value === Infinity;
  if (whole && value >= least && value <= most) return value;
  throw new RangeError(
    `Cannot use ${name}: a whole number from ${least} to ${most}, received ${value}`,
  );
}
