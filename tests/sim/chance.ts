/**
 * The random choices: limits of a world, methods, and params of calls.
 *
 * @module
 */

import type { CallContext, ConnectionOptions } from "../../mod.ts";
import type { TestClock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";
import type { Grant } from "./link.ts";

/** Methods to call. The common ones are listed several times. */
const METHODS = [
  "echo",
  "echo",
  "echo",
  "held",
  "held",
  "held",
  "nested",
  "fail",
  "crash",
  "big",
  "closer",
  "none",
] as const;
/** Methods to call with streams, and whether their params are a stream. */
const STREAMED = [
  ["down", false],
  ["down", false],
  ["up", true],
  ["up", true],
  ["both", true],
  ["both", true],
  ["fail", true],
  ["big", true],
  ["none", true],
] as const;

/** A method, and whether its params are to be a stream. */
export function methodOf(
  random: Random,
  streamed: boolean,
): readonly [string, boolean] {
  return streamed ? random.pick(STREAMED) : [random.pick(METHODS), false];
}

/** Small limits, so that all of them are reached; in a fair world wide ones, except those of streams. */
export function limitsOf(
  random: Random,
  clock: TestClock,
  fair: boolean,
): ConnectionOptions & Grant {
  const some = (small: number[], wide: number[]) =>
    random.pick(fair ? wide : [...small, ...wide]);
  return {
    clock,
    maxMessage: 16_384,
    windowCalls: some([1, 2, 5], [16, 64, 200]),
    windowBytes: some([200, 1000], [10_000, 1_000_000]),
    maxRunning: some([1, 2], [4, 16]),
    maxQueuedCalls: some([0, 3], [40, 1000]),
    maxQueuedBytes: some([500], [1_000_000]),
    highWaterMark: random.pick([1, 100, 5000]),
    handshakeTimeout: some([50, 1000], [10_000]),
    streamCredit: random.pick([16_384, 16_384, 65_536]),
    connectionCredit: random.pick([65_536, 200_000, 2_200_000, 16_777_216]),
    maxStreams: some([0, 1], [3, 1000, 1000]),
  };
}

/** The first id of a connection, often just below where ids wrap or become negative in 32 bits. */
export function firstId(random: Random): number {
  return random.pick([1, 1, 0x7ffffff0, 0xffffffe0]);
}

/** Params that contain the call's number. */
export function payload(random: Random, n: number): unknown {
  switch (random.below(5)) {
    case 0:
      return n;
    case 1:
      return `${n}é`;
    case 2:
      return Uint8Array.of(n >>> 16, n >>> 8, n);
    case 3:
      return { n, pad: "x".repeat(random.below(400)) };
    default:
      return `${n} ${"y".repeat(random.below(40))}`;
  }
}

/** Whether params have, or had, a reference. */
export function isDependent(params: unknown): boolean {
  return typeof params === "object" && params !== null && "depends" in params;
}

/** The number of a call, read from its params or metadata. */
export function numberOf(params: unknown, { metadata }: CallContext): number {
  const n = metadata.get("n");
  if (n !== undefined) return parseInt(n);
  if (typeof params === "number") return params;
  if (typeof params === "string") return parseInt(params);
  if (params instanceof Uint8Array) {
    return (params[0] << 16) | (params[1] << 8) | params[2];
  }
  return (params as { n: number }).n;
}
