/**
 * The limits of a connection, with their defaults and ranges.
 *
 * Invariant owned here: no connection has a limit outside its range.
 *
 * @module
 */

import { protocolError } from "../base/errors.ts";
import type { Limits } from "../types/connection.ts";
import type { Optional } from "../types/optional.ts";
import { HEADER_SIZE } from "./frame.ts";
import {
  MAX_CREDIT,
  MAX_MESSAGE,
  MAX_WINDOW,
  MAX_WINDOW_CALLS,
  MIN_CONNECTION_CREDIT,
  MIN_CREDIT,
  MIN_MESSAGE,
} from "./protocol.ts";

/** The default of each limit; docs/limits.md has the same numbers. */
export const DEFAULT_LIMITS: Limits = /* @__PURE__ */ (() => ({
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
  connectionCredit: 16 * 1024 * 1024,
  handshakeTimeout: 10_000,
  keepaliveTime: 30_000,
  keepaliveTimeout: 20_000,
  writeTimeout: 60_000,
  messageTimeout: 60_000,
  halfCloseTimeout: 300_000,
  idleTimeout: Infinity,
}))();

/** The least send buffer, in bytes: a frame of a stream, or an error with its text, always fits. */
const MIN_SEND_BUFFER = 64 * 1024;

/** The least and the largest value of each limit, where that is not 1 to `Infinity`. */
const RANGES: { readonly [K in keyof Limits]?: readonly [number, number] } = {
  maxMessage: [MIN_MESSAGE, MAX_MESSAGE],
  windowCalls: [0, MAX_WINDOW_CALLS],
  windowBytes: [0, 0xffffffff],
  maxQueuedCalls: [0, Infinity],
  maxQueuedBytes: [0, Infinity],
  maxSendBuffer: [MIN_SEND_BUFFER, Infinity],
  streamCredit: [MIN_CREDIT, MAX_WINDOW],
  maxStreams: [0, 0xffffffff],
  connectionCredit: [MIN_CONNECTION_CREDIT, MAX_CREDIT],
};

/**
 * Returns the defaults, with the given limits in their place.
 *
 * @throws {RangeError} If a limit is not a whole number in its range.
 */
export function toLimits(
  given: Optional<Limits>,
): Record<keyof Limits, number> {
  const limits: Record<keyof Limits, number> = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(limits) as (keyof Limits)[]) {
    const [least, most] = RANGES[name] ?? [1, Infinity];
    const { [name]: value = limits[name] } = given;
    limits[name] = checkLimit(name, value, least, most);
  }
  // A user who accepts larger messages wants to receive and to send them.
  const message = limits.maxMessage + HEADER_SIZE;
  if (given.windowBytes === undefined) {
    limits.windowBytes = Math.max(limits.windowBytes, message);
  }
  if (given.maxSendBuffer === undefined) {
    limits.maxSendBuffer = Math.max(limits.maxSendBuffer, 2 * message);
  }
  return limits;
}

/** The least window of bytes that an update may grant: no call that fits what HELLO granted may become too large. */
export function leastWindowBytes(
  { maxMessage, windowBytes }: Pick<Limits, "maxMessage" | "windowBytes">,
): number {
  return Math.min(maxMessage + HEADER_SIZE, windowBytes);
}

/** Ends the connection with a peer that sends a WINDOW, or its ACK, that breaks the rules. */
export function illegalWindow(id: number): never {
  protocolError(`WINDOW ${id} is not legal here`);
}

/**
 * Checks the window of a protocol in which the peer grants none.
 *
 * @throws {RangeError} If it is given, and not a whole number from 1 to 2^24.
 */
export function checkWindow(window: number | undefined): void {
  if (window !== undefined) checkLimit("window", window, 1, MAX_WINDOW_CALLS);
}

/**
 * Returns the value of a limit.
 *
 * @throws {RangeError} If it is not a whole number in its range, or `Infinity`.
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
    `Cannot use ${name}: expected a whole number from ${least} to ${most}, received ${value}`,
  );
}

/** What a call counts besides its bytes, from its arrival to its reply, in bytes. */
export const CALL_CHARGE = 512;

/** What an open stream counts besides its items, in bytes. */
export const STREAM_CHARGE = 4096;
