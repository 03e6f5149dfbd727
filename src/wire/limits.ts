/**
 * Every number that bounds a connection, with its default.
 *
 * Invariant owned here: a connection never runs with a limit that cannot hold.
 *
 * @module
 */

import { HEADER_SIZE } from "./frame.ts";
import {
  MAX_MESSAGE,
  MAX_WINDOW,
  MAX_WINDOW_CALLS,
  MIN_CREDIT,
  MIN_MESSAGE,
} from "./protocol.ts";
import type { Optional } from "../types/optional.ts";
import type { Limits } from "../types/connection.ts";

/** The defaults; docs/limits.md has the same numbers. */
export const DEFAULT_LIMITS: Limits = {
  maxMessage: 4 * 1024 * 1024,
  windowCalls: 4096,
  windowBytes: 16 * 1024 * 1024,
  maxRunning: 1024,
  maxQueuedCalls: 1024 * 1024,
  maxQueuedBytes: 256 * 1024 * 1024,
  highWaterMark: 1024 * 1024,
  maxSendBuffer: 64 * 1024 * 1024,
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
  maxSendBuffer: [MIN_OUTBOX, Infinity],
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
  if (given.maxSendBuffer === undefined) {
    limits.maxSendBuffer = Math.max(limits.maxSendBuffer, 2 * message);
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

/** What a call counts beside its bytes, from its arrival to its answer, in bytes. */
export const CALL_CHARGE = 512;

/** What an open stream counts beside its items, in bytes. */
export const STREAM_CHARGE = 4096;
