/**
 * What the page and its process say to each other: the services, their params,
 * and the layout of a call's bytes.
 *
 * The calls of the lanes go to {@linkcode WorkServices}, each lane over a delayed
 * connection of its own. {@linkcode LabServices} is reached over a connection
 * without delay, and sets up the runs.
 *
 * @module
 */

import type { CallContext } from "../../mod.ts";

/** The lanes, in the order in which the page shows them. */
export const LANES = ["sync", "tasks", "pipelined"] as const;

/** A way of making the calls of a run. */
export type Lane = (typeof LANES)[number];

/** Tasks of the lane `tasks`, each of which waits for its replies. */
export const TASKS = 64;

/** What the process needs to know of a run. */
export interface RunSettings {
  /** Round-trip time in ms, half of it in each direction. */
  readonly rtt: number;
  /** Calls in flight that the server accepts on each connection. */
  readonly window: number;
  /** Mean time of a handler in ms. */
  readonly handler: number;
}

/** The handlers of one lane, as the process saw them: times in ms of its own clock, by number of the call; `null` if there is none. */
export interface HandlerLog {
  readonly started: readonly (number | null)[];
  readonly ended: readonly (number | null)[];
}

/** What happens to the connections of a run. */
export type Strike = "cut" | "drain";

/** The services of the control connection. */
export interface LabServices {
  readonly Lab: {
    /** The time of the process's clock, in ms. */
    readonly now: () => number;
    /** Ends the run before, and makes servers for a new one; returns its id. */
    readonly prepare: (settings: RunSettings, ctx: CallContext) => string;
    /** `cut` destroys the connections of the run, `drain` closes its servers gracefully. Returns the time. */
    readonly strike: (strike: Strike, ctx: CallContext) => number;
    /** Which handlers of the run have started and ended. */
    readonly handlers: (
      _: undefined,
      ctx: CallContext,
    ) => Record<Lane, HandlerLog>;
  };
}

/** The services of a lane's connection. */
export interface WorkServices {
  readonly Work: {
    /** Waits for the handler time, and returns the params. The reply's metadata has the handler's times. */
    readonly run: (params: Uint8Array, ctx: CallContext) => Promise<Uint8Array>;
  };
}

/** The fewest bytes of a call. */
export const LEAST_BYTES = 4;

/** The params of call `i`: its number, and zeros up to `size` bytes. */
export function encodeCall(i: number, size: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(size, LEAST_BYTES));
  new DataView(bytes.buffer).setUint32(0, i);
  return bytes;
}

/** The number of a call. */
export function decodeCall(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/**
 * How long the handler of call `i` takes: from half of the mean to one and a half
 * of it, spread evenly, and the same in every lane.
 */
export function handlerTime(i: number, mean: number): number {
  const golden = (i * 0.618033988749895) % 1;
  return mean * (0.5 + golden);
}

/** The name under which the reply's metadata has the times of the handler. */
const TIMES = "handler";

/** The handler's start and end as metadata. */
export function encodeTimes(started: number, ended: number) {
  return { [TIMES]: `${started} ${ended}` };
}

/** The handler's start and end; undefined if the metadata lacks them. */
export function decodeTimes(
  metadata: ReadonlyMap<string, string> | undefined,
): [started: number, ended: number] | undefined {
  const [started, ended] = (metadata?.get(TIMES) ?? "").split(" ").map(Number);
  return ended === undefined ? undefined : [started, ended];
}
