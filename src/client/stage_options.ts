/**
 * What a user can say of a stage, and what it makes of the types.
 *
 * @module
 */

import type { CallOptions } from "../call/options.ts";
import type { StageError } from "./stage_error.ts";

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
