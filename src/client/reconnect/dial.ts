/**
 * One of a reconnecting client's connections, and one try to get one.
 *
 * Invariants owned here:
 * - A try ends once: with a connection whose peer has said HELLO, or with why
 *   there is none. Waiting for HELLO costs a round trip per connection, and is
 *   what makes calls safe: what was sent to a listener's backlog, or before a
 *   denial, would be `unknown` for ever.
 * - A duplex that comes too late is destroyed, never used and never leaked.
 *
 * @module
 */

import { RpcConnection } from "../../connection/connection.ts";
import type { Keepalive } from "../../connection/contract.ts";
import { keepalive } from "../../connection/watchdog.ts";
import { STREAM_SUPPORT } from "../../streams/support.ts";
import type { ConnectionSetup } from "../../connection/contract.ts";
import type { Credentials, CredentialsSource } from "../../types/connection.ts";
import type { Timeout } from "../../base/timers.ts";
import { toDuplex } from "../../transport/deno_conn.ts";
import type { Duplex } from "../../types/duplex.ts";
import { ConnectionError, printMs } from "../../base/errors.ts";
import type { PendingCalls } from "../../call/pending_calls.ts";

/**
 * Makes a duplex. It is given a signal that fires when the duplex is not wanted
 * any more: a dial that ignores it is only slower to be forgotten.
 *
 * What it throws fails the dial, and another one follows. A `TypeError`,
 * `RangeError`, `ReferenceError` or `SyntaxError` counts as a mistake in the
 * program, and ends the client after `retry.fatalAttempts` in a row. `fetch`
 * throws a `TypeError` when the network is down: a dial that uses it should
 * throw a {@linkcode ConnectionError} `unavailableError` in its place.
 */
export type Dial = (signal: AbortSignal) => Duplex | Promise<Duplex>;

/** A connection whose peer has said HELLO. */
export class ActiveConnection {
  readonly connection: RpcConnection;
  readonly pending: PendingCalls;
  /** When it was made, by the clock's `now`. */
  readonly connectedAt: number;
  /** Whether it has answered a call. */
  hasReplied = false;
  /** Whether it takes no calls any more, and only finishes what it has. */
  retired = false;
  /** What took its calls along, if anything has. */
  reason: ConnectionError | undefined;

  constructor(connection: RpcConnection, since: number) {
    this.connection = connection;
    this.pending = connection.pending;
    this.connectedAt = since;
  }
}

/** What a try tells: one of the first two, once. */
export interface DialAttemptEvents {
  opened(connection: RpcConnection): void;
  failed(error: unknown): void;
  /** Later, of a connection that was opened: its peer says goodbye. */
  left(connection: RpcConnection, reason: ConnectionError): void;
}

/** What its connection is made with; credentials may be a function, which is asked for each try. */
export interface ActiveConnectionSetup
  extends Omit<ConnectionSetup, "credentials"> {
  readonly credentials?: Credentials | CredentialsSource;
}

/** How a try is made. */
export interface DialAttemptSetup {
  readonly dial: Dial;
  /** Milliseconds for the dial. */
  readonly timeout: number;
  readonly connection: ActiveConnectionSetup;
  /** Nobody else's while the try lasts. */
  readonly timer: Timeout;
  /** Whether its connection keeps the process alive. */
  readonly held: boolean;
}

/** One dial, and the wait for the peer's HELLO. */
export class DialAttempt {
  readonly #setup: DialAttemptSetup;
  readonly #events: DialAttemptEvents;
  readonly #controller = new AbortController();
  #connection: RpcConnection | undefined;
  #over = false;
  #held: boolean;

  /** Begins it; nothing is told in this turn. */
  constructor(setup: DialAttemptSetup, events: DialAttemptEvents) {
    this.#setup = setup;
    this.#events = events;
    this.#held = setup.held;
    const { timeout, timer } = setup;
    timer.set(timeout, () => {
      const text = `the dial did not finish within ${printMs(timeout)}`;
      this.#fail(new ConnectionError("deadline_exceeded", text));
    });
    this.#run();
  }

  /** Says whether its connection keeps the process alive. */
  hold(on: boolean): void {
    this.#held = on;
    if (this.#connection !== undefined) hold(this.#connection, on);
  }

  /** Gives up, and tells nothing. */
  cancel(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#setup.timer.clear();
    this.#controller.abort(reason);
    this.#connection?.abort(reason);
  }

  async #run(): Promise<void> {
    try {
      // A turn later: a dial may call back into the client that is being made.
      await undefined;
      if (this.#over) return;
      const { signal } = this.#controller;
      const { dial, connection: { credentials: given } } = this.#setup;
      // First: a server that is dialled already would wait for them.
      const credentials = typeof given === "function"
        ? await given(signal)
        : given;
      if (this.#over) return;
      const duplex = await dial(signal);
      if (this.#over) discard(duplex);
      else this.#open(duplex, credentials);
    } catch (error) {
      this.#fail(error);
    }
  }

  #open(duplex: Duplex, credentials: Credentials | undefined): void {
    const { connection: setup, timer } = this.#setup;
    // From here on the connection's own handshake timeout counts.
    timer.clear();
    // On a wire without a HELLO it has come before there is a connection.
    let greeted = false;
    const connection = new RpcConnection(toDuplex(duplex), {
      streams: STREAM_SUPPORT,
      keepalive: keepalive() as Keepalive,
      ...setup,
      credentials,
      onHello: () => {
        greeted = true;
        if (this.#connection !== undefined) this.#opened(this.#connection);
      },
      onGoaway: (reason) => {
        this.#fail(reason);
        this.#events.left(connection, reason);
      },
    });
    this.#connection = connection;
    if (!this.#held) connection.unref();
    connection.closed.then((reason) => {
      const text = "the peer closed the connection before its HELLO";
      this.#fail(reason ?? new ConnectionError("unavailable", text));
    });
    if (greeted) this.#opened(connection);
  }

  #opened(connection: RpcConnection): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.opened(connection);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.cancel(error);
    this.#events.failed(error);
  }
}

/** Says whether a connection keeps the process alive. */
export function hold(connection: RpcConnection, on: boolean): void {
  if (on) connection.ref();
  else connection.unref();
}

/** What is no duplex needs no end; what cannot be ended is no fault of ours. */
function discard(late: Duplex): void {
  const reason = new ConnectionError("cancelled", "the dial came too late");
  try {
    toDuplex(late).writable.abort(reason).catch(() => {});
  } catch {
    return;
  }
}
