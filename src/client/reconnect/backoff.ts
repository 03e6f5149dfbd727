/**
 * How long to wait before the next dial.
 *
 * Invariant owned here: full jitter. A delay is drawn evenly from 0 to a bound
 * that grows from dial to dial up to a cap, so that a thousand clients that
 * lost one server do not come back in step; and it is never 0, so that no
 * clock or generator makes a loop without delay.
 *
 * @module
 */

/** How a {@linkcode ReconnectingClient} waits between dials. */
export interface RetryOptions {
  /** Bound of the first wait, in ms. Default 100. */
  base?: number | undefined;
  /** What the bound grows by with each dial that fails. Default 2. */
  factor?: number | undefined;
  /** The bound's largest value, in ms. Default 10,000. */
  cap?: number | undefined;
  /** Milliseconds that a connection has to live before the waits begin anew at `base`. A shorter one, whatever it answered, is followed by a longer wait than the one before it. Default 5,000. */
  stableAfter?: number | undefined;
  /** Dials in a row that may fail; the client ends with the last of them. Default `Infinity`. */
  attempts?: number | undefined;
  /**
   * Dials in a row that may fail for a reason that another dial does not
   * remove: the peer has another serializer or version, or is no Sluice peer;
   * or `dial` or `credentials` threw a `TypeError`, `RangeError`,
   * `ReferenceError` or `SyntaxError`. The client ends with the last of them,
   * and with its error. Default 10.
   */
  fatalAttempts?: number | undefined;
  /** Numbers from 0 to 1, for tests. Default `Math.random`. */
  random?: (() => number) | undefined;
}

/** The defaults with what is given in their place. */
export type Retry = Required<RetryOptions>;

/** Every least and most. */
const RANGES = {
  base: [1, 0x7fffffff],
  factor: [1, Infinity],
  cap: [1, 0x7fffffff],
  stableAfter: [1, 0x7fffffff],
  attempts: [1, Infinity],
  fatalAttempts: [1, Infinity],
} as const;

/**
 * The defaults with what is given in their place.
 *
 * @throws {RangeError} If one of them is not a number in its range.
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
      `Cannot use retry.${name}: a number from ${least} to ${most}, received ${
        retry[name]
      }`,
    );
  }
  return retry;
}

/** Milliseconds to wait after `failures` dials in a row have failed; from 1 to the cap. */
export function backoff(failures: number, retry: Retry): number {
  const { base, factor, cap, random } = retry;
  const bound = Math.min(cap, base * factor ** failures);
  return Math.max(1, random() * bound);
}
