/**
 * Gets connections: one dial after another, and the waits between them.
 *
 * Invariants owned here:
 * - At most one dial or wait is under way.
 * - There is no loop without delay: what led nowhere is followed by a wait, and
 *   after so many in a row, or two denials, by nothing.
 *
 * @module
 */

import { backoff, type Retry } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import type { Timer } from "./deadlines.ts";
import { ConnectionError } from "./errors.ts";
import { isA } from "./user_code.ts";
import { Attempt, type Dial, type Link, type LinkSetup } from "./link.ts";

/** How it dials. */
export interface DialerSetup {
  readonly dial: Dial;
  readonly dialTimeout: number;
  readonly retry: Retry;
  readonly clock: Clock;
  readonly connection: LinkSetup;
}

/** What it tells. */
export interface DialerEvents {
  /** A dial has begun. */
  dialling(): void;
  /** The next one is to come in so many milliseconds, and why. */
  waiting(cause: unknown, delay: number): void;
  /** There is a connection, whose peer has said HELLO. */
  opened(connection: Connection): void;
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
  /** Of the dial, or of the wait for the next one. */
  readonly #timer: Timer;
  #attempt: Attempt | undefined;
  /** Whether connections keep the process alive. */
  #held = true;
  #waits = false;
  /** Dials in a row that led nowhere; those of them that were told `unauthenticated`, last. */
  #failures = 0;
  #denials = 0;

  constructor(setup: DialerSetup, timer: Timer, events: DialerEvents) {
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

  /** Dials now. */
  dial(): void {
    const { dial, dialTimeout: timeout, connection } = this.#setup;
    const events = this.#events;
    this.#waits = false;
    this.dials++;
    events.dialling();
    this.#attempt = new Attempt(
      { dial, timeout, connection, timer: this.#timer, held: this.#held },
      {
        opened: (connection) => {
          this.#attempt = undefined;
          events.opened(connection);
        },
        failed: (error) => this.#failed(error),
        left: (connection, reason) => events.left(connection, reason),
      },
    );
  }

  /** Somebody needs a connection: dials after a wait, unless that is under way. */
  want(): void {
    if (this.#attempt === undefined && !this.#waits) {
      this.backOff(undefined, false);
    }
  }

  #failed(error: unknown): void {
    this.#attempt = undefined;
    this.#denials = codeOf(error) === "unauthenticated" ? this.#denials + 1 : 0;
    this.backOff(error, true);
  }

  /** Takes note of a connection that takes no calls any more; returns whether it was of use. */
  note(link: Link, cause: ConnectionError | undefined): boolean {
    const { retry, clock } = this.#setup;
    const lasted = clock.now() - link.since >= retry.cap;
    const useful = link.served || lasted;
    if (useful) this.#failures = this.#denials = 0;
    if (cause?.code === "unauthenticated") this.#denials++;
    return useful;
  }

  /** Waits for the next dial; or gives up, if what there was counts as a dial that led nowhere, and was the last. */
  backOff(cause: unknown, counts: boolean): void {
    const { retry } = this.#setup;
    if (counts) this.#failures++;
    if (this.#denials >= 2) {
      this.#events.gaveUp(cause as ConnectionError);
      return;
    }
    if (this.#failures >= retry.attempts) {
      const text = `${this.#failures} dials in a row have failed`;
      const reason = new ConnectionError("unavailable", text, { cause });
      this.#events.gaveUp(reason);
      return;
    }
    const delay = backoff(Math.max(0, this.#failures - 1), retry);
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
