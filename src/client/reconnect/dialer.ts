/**
 * Gets connections: one dial after another, with delays between them.
 *
 * Invariants:
 * - At most one dial, or one delay before a dial, is in progress.
 * - A dial follows a connection without delay only if that connection lived for
 *   `stableAfter`. Before every other dial there is a delay, and delays grow,
 *   even if the connections in between replied to calls.
 * - It gives up after `attempts` dials in a row that failed, `fatalAttempts` in a
 *   row that failed for a lasting reason, or two in a row that the server
 *   rejected as `unauthenticated`.
 *
 * @module
 */

import { scopeOfNow } from "../../base/async_context.ts";
import type { Clock } from "../../base/clock.ts";
import type { Connection } from "../../types/connection.ts";
import type { RpcConnection } from "../../connection/connection.ts";
import type { Timeout } from "../../base/timers.ts";
import { ConnectionError } from "../../base/errors.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import {
  type ActiveConnection,
  type ActiveConnectionSetup,
  type Dial,
  DialAttempt,
} from "./dial_attempt.ts";
import { backoff, type Retry } from "./backoff.ts";

/** Settings of a dialer. */
export interface DialerSetup {
  readonly dial: Dial;
  /** Milliseconds for one dial. */
  readonly dialTimeout: number;
  readonly retry: Retry;
  readonly clock: Clock;
  readonly connection: ActiveConnectionSetup;
}

/** What a dialer reports. */
export interface DialerEvents {
  /** A dial has started. */
  onDial(): void;
  /** The next dial starts in `delay` ms, because of `cause`. */
  onDelay(cause: unknown, delay: number): void;
  /** There is a connection whose peer has sent its HELLO. */
  onReady(connection: RpcConnection): void;
  /** The peer of a connection that was ready has sent GOAWAY. */
  onGoaway(connection: Connection, reason: ConnectionError): void;
  /** The dialer has given up. */
  onGiveUp(reason: ConnectionError): void;
}

/** Dials, with delays. */
export class Dialer {
  /** Dials so far. */
  dials = 0;
  /** Dials in a row that failed, or led to a connection of no use. */
  failures = 0;
  /** Why there is no connection: what the latest dial or connection failed with; undefined while there is one, and before the first failure. */
  cause: unknown;
  readonly #setup: DialerSetup;
  readonly #events: DialerEvents;
  /** The async context in which the client was made. `dial` runs in it, not in that of a call which finds no connection. */
  readonly #scope = scopeOfNow();
  /** Limits the dial, or waits for the next one. */
  readonly #timer: Timeout;
  #attempt: DialAttempt | undefined;
  /** Whether the next dial waits for its delay to pass. */
  #delayed = false;
  /** Whether connections keep the process alive. */
  #referenced = true;
  /** Delays since a connection lived for `stableAfter`. */
  #delays = 0;
  /** Of the latest failures, those in a row with a lasting reason. */
  #fatalFailures = 0;
  /** Of the latest failures, those in a row with the code `unauthenticated`. */
  #denials = 0;

  constructor(setup: DialerSetup, timer: Timeout, events: DialerEvents) {
    this.#setup = setup;
    this.#timer = timer;
    this.#events = events;
  }

  /** Sets whether connections, and the one that is being made, keep the process alive. */
  setReferenced(on: boolean): void {
    this.#referenced = on;
    this.#attempt?.setReferenced(on);
  }

  /** Dials now. */
  dial(): void {
    const { dial, dialTimeout: timeout, connection } = this.#setup;
    const events = this.#events;
    this.#delayed = false;
    this.dials++;
    events.onDial();
    const timer = this.#timer;
    const referenced = this.#referenced;
    const start = () =>
      new DialAttempt({ dial, timeout, connection, timer, referenced }, {
        onReady: (connection) => {
          this.#attempt = undefined;
          this.cause = undefined;
          events.onReady(connection);
        },
        onFailure: (error) => {
          this.#attempt = undefined;
          this.#recordFailure(error);
          this.backOff(error, true);
        },
        onGoaway: (connection, reason) => events.onGoaway(connection, reason),
      });
    const scope = this.#scope;
    this.#attempt = scope === undefined ? start() : scope(start);
  }

  /** Dials after a delay, unless a dial or a delay is in progress. */
  ensureDialing(): void {
    if (this.#attempt === undefined && !this.#delayed) {
      this.backOff(undefined, false);
    }
  }

  /** Records how a connection was that takes no further calls: `useful` if it was no failed dial, `stable` if it lived for `stableAfter`. */
  recordConnection(
    { connectedAt, hasReplied, lossReason }: ActiveConnection,
  ): { readonly useful: boolean; readonly stable: boolean } {
    const { retry, clock } = this.#setup;
    const stable = clock.now() - connectedAt >= retry.stableAfter;
    const useful = hasReplied || stable;
    if (stable) this.#delays = 0;
    if (useful) this.failures = this.#fatalFailures = this.#denials = 0;
    if (lossReason !== undefined) this.#recordFailure(lossReason);
    return { useful, stable };
  }

  #recordFailure(cause: unknown): void {
    this.cause = cause;
    const code = isInstanceOf(cause, ConnectionError) ? cause.code : undefined;
    const denied = code === "unauthenticated";
    this.#denials = denied ? this.#denials + 1 : 0;
    this.#fatalFailures = isFatal(code, cause) ? this.#fatalFailures + 1 : 0;
  }

  /** Dials after a delay, or gives up. `failed` says whether the latest dial counts as failed. */
  backOff(cause: unknown, failed: boolean): void {
    const { retry } = this.#setup;
    if (failed) this.failures++;
    if (this.#denials >= 2 || this.#fatalFailures >= retry.fatalAttempts) {
      this.#events.onGiveUp(toReason(cause ?? this.cause, this.#fatalFailures));
      return;
    }
    if (this.failures >= retry.attempts) {
      const text = `${this.failures} dials in a row have failed`;
      const reason = new ConnectionError("unavailable", text, { cause });
      this.#events.onGiveUp(reason);
      return;
    }
    const delay = backoff(this.#delays++, retry);
    this.#delayed = true;
    this.#timer.set(delay, () => this.dial());
    this.#events.onDelay(cause, delay);
  }

  /** Stops a dial or a delay that is in progress. */
  stop(reason: ConnectionError | undefined): void {
    this.#attempt?.cancel(reason);
    this.#attempt = undefined;
    this.#delayed = false;
    this.#timer.clear();
  }
}

/** Codes that the next dial fails with as well, until somebody changes one of the two programs. */
const LASTING: ReadonlySet<string | undefined> = new Set([
  "not_sluice",
  "serializer_mismatch",
  "version_mismatch",
]);

/** Errors that a program throws by mistake. */
const MISTAKES = [TypeError, RangeError, ReferenceError, SyntaxError];

/** Whether another dial would most likely fail in the same way. */
function isFatal(code: string | undefined, error: unknown): boolean {
  return LASTING.has(code) ||
    MISTAKES.some((mistake) => isInstanceOf(error, mistake));
}

/** What the client ends with. */
function toReason(cause: unknown, failures: number): ConnectionError {
  if (isInstanceOf(cause, ConnectionError)) return cause;
  const text =
    `dial or credentials have thrown a programming error ${failures} times in a row: see the cause`;
  return new ConnectionError("internal", text, { cause });
}
