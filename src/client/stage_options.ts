/**
 * What a user can say of a stage, and what it makes of the types.
 *
 * @module
 */

import type { CallOptions } from "../types/call.ts";

import { isInstance } from "../base/brand.ts";
import { causeOf, type Outcome } from "../base/errors.ts";
import { messageOf } from "../base/user_code.ts";

/** What a call that fails does to its stage. */
export type OnStageError = "fail" | "yield";

/** Options of {@linkcode Client.stage} and {@linkcode Client.map}; those of a call hold for each of its calls. */
export interface StageOptions<
  Ordered extends boolean = boolean,
  OnError extends OnStageError = OnStageError,
> extends CallOptions {
  /** Ends the whole stage: what is in flight is cancelled, and the stage fails with the signal's reason as its cause. */
  signal?: AbortSignal | undefined;
  /** Inputs taken and not yet delivered, at most. Default 1,024. */
  window?: number | undefined;
  /** Bytes of their requests from which on no further input is taken. Default 16 MiB. */
  windowBytes?: number | undefined;
  /** Whether results come in the order of the inputs (the default), or as they are answered, each with its input's index. */
  ordered?: Ordered | undefined;
  /** Whether a failed call fails the stage (`fail`, the default), or is an item in its place (`yield`). */
  onError?: OnError | undefined;
}

/** A result with the number of its input, from 0. */
export interface StageItem<O> {
  /** The number of the input. */
  readonly index: number;
  /** The result. */
  readonly value: O;
}

/** What a stage yields: results; with `ordered: false` with their indexes; with `onError: "yield"` failures between them. */
export type StageOutput<
  I,
  O,
  Ordered extends boolean,
  OnError extends OnStageError,
> =
  | (Ordered extends true ? O : StageItem<O>)
  | (OnError extends "yield" ? StageError<I> : never);

/** A method as a transform of streams: each chunk written is a call's params, each chunk read its result. */
export interface Stage<I, O> {
  /** The results. */
  readonly readable: ReadableStream<O>;
  /** The params. */
  readonly writable: WritableStream<I>;
}

/** The settings of a stage, checked. */
export interface StageSettings {
  readonly window: number;
  readonly windowBytes: number;
  readonly ordered: boolean;
  readonly yields: boolean;
  /** Those that end the whole of it. */
  readonly signals: readonly AbortSignal[];
  /** Those of each call; undefined if there are none. */
  readonly each: CallOptions | undefined;
}

/**
 * Reads a stage's options.
 *
 * @throws {RangeError} If a bound is out of its range.
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
    `Cannot use ${name}: a number from 1, received ${value}`,
  );
}

/** An input whose result was not delivered. */
export interface Unacknowledged<I = unknown> {
  /** Its number among the stage's inputs, from 0. */
  readonly index: number;
  /** The input itself, as it was written. */
  readonly input: I;
  /** Whether its call may have run, as known when the stage ended: of one that was cancelled in flight `unknown`. */
  readonly outcome: Outcome;
}

/**
 * A stage has failed, or was given up; or, with `onError: "yield"`, one of its
 * calls has failed.
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
  /** The class name, fixed so that minifying does not change it. */
  override readonly name = "StageError";
  /** The input whose call failed; where none did (abort, cancel, the source's own error), the first that was not delivered. */
  readonly index: number;
  /** Every input that was taken and not delivered, in order; the failed one is among them. */
  readonly unacknowledged: readonly Unacknowledged<I>[];

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "StageError";
  }

  /** True also for an instance that another copy of the library has made. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, StageError);
  }

  /** Made by stages; `cause` is what the call, the source, the reader or the signal gave as its reason. */
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
