/**
 * How long a reconnecting client waits between dials: exponential, with full jitter, from `retry.base` to `retry.cap`.
 *
 * @module
 */

/** When a {@linkcode ReconnectingClient} dials again, and when it gives up. */
export interface RetryOptions {
  /** Upper bound of the first delay, in ms, from 1. Each delay is a random number from 1 to its bound. Default 100. */
  base?: number | undefined;
  /** Factor by which the bound grows with each delay, from 1. Default 2. */
  factor?: number | undefined;
  /** Largest value of the bound, in ms, from 1. Default 10,000. */
  cap?: number | undefined;
  /** Milliseconds, from 1, that a connection must live so that the next delay starts at `base` again. After a shorter connection the bound goes on growing, even if the server replied to calls. Default 5,000. */
  stableAfter?: number | undefined;
  /** The client gives up after so many dials in a row have failed, from 1. Default `Infinity`. */
  attempts?: number | undefined;
  /**
   * The client gives up after so many dials in a row, from 1, have failed for a
   * reason that another dial does not remove, and ends with the last error: the
   * peer uses another serializer or protocol version, or is no Sluice peer; or
   * `dial` or `credentials` threw a `TypeError`, `RangeError`, `ReferenceError`
   * or `SyntaxError`. Default 10.
   */
  fatalAttempts?: number | undefined;
  /** Returns a random number from 0 to 1; for tests. Default `Math.random`. */
  random?: (() => number) | undefined;
}

/** The options, with defaults for those that are not given. */
export type Retry = Required<RetryOptions>;

/** The range of each option, both ends included. */
const RANGES = {
  base: [1, 0x7fffffff],
  factor: [1, Infinity],
  cap: [1, 0x7fffffff],
  stableAfter: [1, 0x7fffffff],
  attempts: [1, Infinity],
  fatalAttempts: [1, Infinity],
} as const;

/**
 * Adds the defaults.
 *
 * @throws {RangeError} If an option is not a number in its range.
 */
export function toRetry(given: RetryOptions = {}): Retry {
  const retry: Retry = {
    base: given.base ?? 100,
    factor: given.factor ?? 2,
    cap: given.cap ?? 10_000,
    stableAfter: given.stableAfter ?? 5000,
    attempts: given.attempts ?? Infinity,
    fatalAttempts: given.fatalAttempts ?? 10,
    random: given.random ?? Math.random,
  };
  for (const name of Object.keys(RANGES) as (keyof typeof RANGES)[]) {
    const [least, most] = RANGES[name];
    if (retry[name] >= least && retry[name] <= most) continue;
    throw new RangeError(
      `Cannot use retry.${name}: give a number from ${least} to ${most}, received ${
        retry[name]
      }`,
    );
  }
  return retry;
}

/** Milliseconds before the next dial, after so many earlier delays: random, from 1 to the bound. */
export function backoff(delays: number, retry: Retry): number {
  const { base, factor, cap, random } = retry;
  const bound = Math.min(cap, base * factor ** delays);
  return Math.max(1, random() * bound);
}
