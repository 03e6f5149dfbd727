/**
 * Gets connections: one dial after another, and the waits between them.
 *
 * Invariants owned here:
 * - At most one dial or wait is under way.
 * - There is no loop without delay: a dial follows another at once only if the
 *   connection between them lived for `stableAfter`. All others are preceded by
 *   waits that grow, whatever the connections between them have answered.
 * - It gives up after so many dials in a row that led nowhere, so many of them
 *   for a reason that lasts, or two denials.
 *
 * @module
 */

import { scopeOfNow } from "../../base/async_context.ts";

import type { Clock } from "../../base/clock.ts";
import type { Connection } from "../../types/connection.ts";
import type { RpcConnection } from "../../connection/connection.ts";
import type { Timeout } from "../../base/timers.ts";
import { ConnectionError } from "../../base/errors.ts";
import { isA } from "../../base/user_code.ts";
import {
  type ActiveConnection,
  type ActiveConnectionSetup,
  type Dial,
  DialAttempt,
} from "./dial.ts";

/** How it dials. */
export interface DialerSetup {
  readonly dial: Dial;
  readonly dialTimeout: number;
  readonly retry: Retry;
  readonly clock: Clock;
  readonly connection: ActiveConnectionSetup;
}

/** What it tells. */
export interface DialerEvents {
  /** A dial has begun. */
  dialling(): void;
  /** The next one is to come in so many milliseconds, and why. */
  waiting(cause: unknown, delay: number): void;
  /** There is a connection, whose peer has said HELLO. */
  opened(connection: RpcConnection): void;
  /** Later, of such a connection: its peer says goodbye. */
  left(connection: Connection, reason: ConnectionError): void;
  /** There will be none, unless somebody asks for one. */
  gaveUp(reason: ConnectionError): void;
}

/** Dials, and waits. */
export class Dialer {
  /** Dials so far. */
  dials = 0;
  readonly #setup: DialerSetup;
  readonly #events: DialerEvents;
  /** The async context of whoever made the client; not that of the call which finds no connection. */
  readonly #scope = scopeOfNow();
  /** Of the dial, or of the wait for the next one. */
  readonly #timer: Timeout;
  #attempt: DialAttempt | undefined;
  /** Whether connections keep the process alive. */
  #held = true;
  #waits = false;
  /** Waits since a connection has lived for `stableAfter`: how long the next one may be. */
  #steps = 0;
  /** Dials in a row that led nowhere; of the latest of them, those that failed for a reason that lasts, and those that were told `unauthenticated`. */
  #failures = 0;
  #fatal = 0;
  #denials = 0;
  /** Why there is no connection: what the latest dial or connection failed with. */
  #cause: unknown;

  constructor(setup: DialerSetup, timer: Timeout, events: DialerEvents) {
    this.#setup = setup;
    this.#timer = timer;
    this.#events = events;
  }

  /** Dials in a row that have led nowhere. */
  get failures(): number {
    return this.#failures;
  }

  /** Says whether connections keep the process alive, that being made included. */
  hold(on: boolean): void {
    this.#held = on;
    this.#attempt?.hold(on);
  }

  /** Why there is no connection; undefined while there is one, and before the first dial has failed. */
  get cause(): unknown {
    return this.#cause;
  }

  /** Dials now. */
  dial(): void {
    const { dial, dialTimeout: timeout, connection } = this.#setup;
    const events = this.#events;
    this.#waits = false;
    this.dials++;
    events.dialling();
    const begin = () =>
      new DialAttempt(
        { dial, timeout, connection, timer: this.#timer, held: this.#held },
        {
          opened: (connection) => {
            this.#attempt = undefined;
            this.#cause = undefined;
            events.opened(connection);
          },
          failed: (error) => this.#failed(error),
          left: (connection, reason) => events.left(connection, reason),
        },
      );
    const scope = this.#scope;
    this.#attempt = scope === undefined ? begin() : scope(begin);
  }

  /** Somebody needs a connection: dials after a wait, unless that is under way. */
  want(): void {
    if (this.#attempt === undefined && !this.#waits) {
      this.backOff(undefined, false);
    }
  }

  #failed(error: unknown): void {
    this.#attempt = undefined;
    this.#note(error);
    this.backOff(error, true);
  }

  /** Takes note of a connection that takes no calls any more; `useful` says that it did not lead nowhere, `stable` that it lived for a while. */
  note(
    link: ActiveConnection,
    cause: ConnectionError | undefined,
  ): { readonly useful: boolean; readonly stable: boolean } {
    const { retry, clock } = this.#setup;
    const stable = clock.now() - link.connectedAt >= retry.stableAfter;
    const useful = link.hasReplied || stable;
    if (stable) this.#steps = 0;
    if (useful) this.#failures = this.#fatal = this.#denials = 0;
    if (cause !== undefined) this.#note(cause);
    return { useful, stable };
  }

  #note(cause: unknown): void {
    this.#cause = cause;
    const code = codeOf(cause);
    const denied = code === "unauthenticated";
    this.#denials = denied ? this.#denials + 1 : 0;
    this.#fatal = isFatal(code, cause) ? this.#fatal + 1 : 0;
  }

  /** Waits for the next dial; or gives up, if what there was counts as a dial that led nowhere, and was the last. */
  backOff(cause: unknown, counts: boolean): void {
    const { retry } = this.#setup;
    if (counts) this.#failures++;
    if (this.#denials >= 2 || this.#fatal >= retry.fatalAttempts) {
      this.#events.gaveUp(toReason(cause ?? this.#cause));
      return;
    }
    if (this.#failures >= retry.attempts) {
      const text = `${this.#failures} dials in a row have failed`;
      const reason = new ConnectionError("unavailable", text, { cause });
      this.#events.gaveUp(reason);
      return;
    }
    const delay = backoff(this.#steps++, retry);
    this.#waits = true;
    this.#timer.set(delay, () => this.dial());
    this.#events.waiting(cause, delay);
  }

  /** Neither dials nor waits any more. */
  rest(reason: ConnectionError | undefined): void {
    this.#attempt?.cancel(reason);
    this.#attempt = undefined;
    this.#waits = false;
    this.#timer.clear();
  }
}

function codeOf(error: unknown): string | undefined {
  return isA(error, ConnectionError) ? error.code : undefined;
}

/** Codes that the next dial of the same peer is told as well, as long as nobody changes one of the two programs. */
const LASTING: ReadonlySet<string | undefined> = new Set([
  "not_sluice",
  "serializer_mismatch",
  "version_mismatch",
]);

/** What a program throws by mistake. */
const MISTAKES = [TypeError, RangeError, ReferenceError, SyntaxError];

/** Whether another dial would most likely fail in the same way. */
function isFatal(code: string | undefined, error: unknown): boolean {
  return LASTING.has(code) || MISTAKES.some((mistake) => isA(error, mistake));
}

/** Why the client ends. */
function toReason(cause: unknown): ConnectionError {
  if (isA(cause, ConnectionError)) return cause;
  const text = "dial or credentials threw the same mistake again and again";
  return new ConnectionError("internal", text, { cause });
}

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
