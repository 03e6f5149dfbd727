/**
 * The options of a stage, the types of what it yields, and its error.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import { causeOf, type Outcome } from "../base/errors.ts";
import { messageOf } from "../base/user_code.ts";
import type { CallOptions } from "../types/call.ts";

/** What happens when a call fails: the stage fails, or it yields the error as an item. */
export type OnStageError = "fail" | "yield";

/** Options of {@linkcode stage} and {@linkcode map}. The options of a call apply to each of its calls. */
export interface StageOptions<
  Ordered extends boolean = boolean,
  OnError extends OnStageError = OnStageError,
> extends CallOptions {
  /** Ends the whole stage: the calls in flight are cancelled, and the stage fails with the signal's reason as its cause. */
  signal?: AbortSignal | undefined;
  /** The most inputs whose results were not yet delivered. Default 1,024. */
  window?: number | undefined;
  /** No further input is taken while their requests have this many bytes or more. Default 16 MiB. */
  windowBytes?: number | undefined;
  /** Whether results come in the order of the inputs; otherwise they come as the server replies, each with its input's index. Default true. */
  ordered?: Ordered | undefined;
  /** Whether a failed call fails the stage (`fail`), or is an item in place of the result (`yield`). Default `fail`. */
  onError?: OnError | undefined;
}

/** A result and the index of its input, with `ordered: false`. */
export interface StageItem<O> {
  /** The index of the input, from 0. */
  readonly index: number;
  /** The result. */
  readonly value: O;
}

/** The chunks of a stage: results; with `ordered: false` each in a {@linkcode StageItem}; with `onError: "yield"` a {@linkcode StageError} for each failed call. */
export type StageOutput<
  I,
  O,
  Ordered extends boolean,
  OnError extends OnStageError,
> =
  | (Ordered extends true ? O : StageItem<O>)
  | (OnError extends "yield" ? StageError<I> : never);

/** A method as a transform of streams, made by {@linkcode stage}. */
export interface Stage<I, O> {
  /** Yields the results. */
  readonly readable: ReadableStream<O>;
  /** Takes the params. */
  readonly writable: WritableStream<I>;
}

/** The options of a stage with defaults, checked. */
export interface StageSettings {
  readonly window: number;
  readonly windowBytes: number;
  readonly ordered: boolean;
  /** Whether a failed call is an item. */
  readonly yields: boolean;
  /** The signals that end the whole stage. */
  readonly signals: readonly AbortSignal[];
  /** The options of each call; undefined if there are none. */
  readonly each: CallOptions | undefined;
}

/**
 * Reads a stage's options.
 *
 * @throws {RangeError} If `window` or `windowBytes` is less than 1.
 */
export function toStageSettings(options: StageOptions): StageSettings {
  const {
    window = 1024,
    windowBytes = 16 * 1024 * 1024,
    ordered = true,
    onError,
    signal,
    ...each
  } = options;
  checkBound("window", window);
  checkBound("windowBytes", windowBytes);
  return {
    window,
    windowBytes,
    ordered,
    yields: onError === "yield",
    signals: [signal, each.ctx?.signal].filter((s) => s !== undefined),
    each: Object.keys(each).length > 0 ? each : undefined,
  };
}

function checkBound(name: string, value: number): void {
  if (value >= 1) return;
  throw new RangeError(
    `Cannot use ${name}: it must be 1 or more, received ${value}`,
  );
}

/** An input that was taken and whose result was not delivered. */
export interface Unacknowledged<I = unknown> {
  /** Its index among the stage's inputs, from 0. */
  readonly index: number;
  /** The input, as it was written. */
  readonly input: I;
  /** Whether its call may have run, as far as was known when the stage ended; `unknown` for a call that was cancelled in flight. */
  readonly outcome: Outcome;
}

/**
 * The error of a stage that failed or was cancelled; with `onError: "yield"`, the
 * error of one failed call.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { StageError } from "@sluice/rpc";
 *
 * const left = [{ index: 7, input: "x", outcome: "unknown" }] as const;
 * const error = new StageError(7, new Error("lost"), left);
 * assertEquals(error.message, "The stage failed at input 7: lost");
 * ```
 */
export class StageError<I = unknown> extends Error {
  /** The class name. Minifying does not change it. */
  override readonly name = "StageError";
  /** The index of the input whose call failed. If none failed (abort, cancel, an error of the source), the index of the first input without a delivered result. */
  readonly index: number;
  /** Every input that was taken and whose result was not delivered, in order; the failed one is among them. */
  readonly unacknowledged: readonly Unacknowledged<I>[];

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "StageError";
  }

  /** True also for an instance that another copy of the library has made. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, StageError);
  }

  /** Called by stages; `cause` is the error of the call or the source, or the reason of the reader or the signal. */
  constructor(
    index: number,
    cause: unknown,
    unacknowledged: readonly Unacknowledged<I>[],
  ) {
    const why = messageOf(cause, `a ${typeof cause}`);
    super(`The stage failed at input ${index}: ${why}`, causeOf({ cause }));
    this.index = index;
    this.unacknowledged = unacknowledged;
  }
}
