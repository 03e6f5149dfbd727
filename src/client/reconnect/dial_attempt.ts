/**
 * A connection of a reconnecting client, and one attempt to get one.
 *
 * Invariants:
 * - An attempt ends once: with a connection whose peer has sent its HELLO, or
 *   with the reason why there is none. To wait for HELLO costs a round trip per
 *   connection, and keeps calls safe: a call that was sent into the backlog of a
 *   listener, or before the server rejected the client, would stay `unknown`.
 * - A duplex that arrives too late is destroyed. It is neither used nor leaked.
 *
 * @module
 */

import { RpcConnection } from "../../connection/connection.ts";
import type { ConnectionSetup } from "../../connection/contract.ts";
import type { Credentials, CredentialsSource } from "../../types/connection.ts";
import type { Timeout } from "../../base/timers.ts";
import { checkDuplex } from "../../transport/duplex.ts";
import type { Duplex } from "../../types/duplex.ts";
import { ConnectionError, printMs } from "../../base/errors.ts";
import type { PendingCalls } from "../../call/pending_calls.ts";

/**
 * Makes a duplex to the server. A {@linkcode ReconnectingClient} calls it for
 * each connection, and destroys a duplex that it returns too late.
 *
 * If it throws or rejects, the dial has failed and the client dials again later.
 * A `TypeError`, `RangeError`, `ReferenceError` or `SyntaxError` counts as a
 * programming error: after `retry.fatalAttempts` such failures in a row the
 * client gives up. `fetch` throws a `TypeError` also when the network is down; a
 * dial that uses it should throw a {@linkcode ConnectionError} with the code
 * `unavailable` instead.
 *
 * @param signal Aborts when the client no longer needs the duplex: `dialTimeout`
 *   has passed, or the client has ended. A dial may ignore it.
 *
 * @example
 * ```ts
 * import { connect, type Dial, ReconnectingClient } from "@sluice/rpc";
 *
 * const dial: Dial = (signal) => connect({ port: 7000, signal });
 * const client = new ReconnectingClient(dial);
 * await client.abort();
 * ```
 */
export type Dial = (signal: AbortSignal) => Duplex | Promise<Duplex>;

/** A connection whose peer has sent its HELLO. */
export class ActiveConnection {
  readonly connection: RpcConnection;
  readonly pending: PendingCalls;
  /** When the peer's HELLO arrived, by the clock's `now`. */
  readonly connectedAt: number;
  /** Whether the peer has replied to a call. */
  hasReplied = false;
  /** Why its calls failed, if the connection is to blame. */
  lossReason: ConnectionError | undefined;

  constructor(connection: RpcConnection, connectedAt: number) {
    this.connection = connection;
    this.pending = connection.pending;
    this.connectedAt = connectedAt;
  }
}

/** What becomes of an attempt: `onReady` or `onFailure`, once. */
export interface DialAttemptEvents {
  onReady(connection: RpcConnection): void;
  onFailure(error: unknown): void;
  /** After `onReady`: the peer has sent GOAWAY. */
  onGoaway(connection: RpcConnection, reason: ConnectionError): void;
}

/** Settings of each connection. If `credentials` is a function, each attempt calls it. */
export interface ActiveConnectionSetup
  extends Omit<ConnectionSetup, "credentials"> {
  readonly credentials?: Credentials | CredentialsSource;
}

/** Settings of one attempt. */
export interface DialAttemptSetup {
  readonly dial: Dial;
  /** Milliseconds for the dial and the credentials. */
  readonly timeout: number;
  readonly connection: ActiveConnectionSetup;
  /** Used by nobody else while the attempt lasts. */
  readonly timer: Timeout;
  /** Whether the connection keeps the process alive. */
  readonly referenced: boolean;
}

/** One dial, and the wait for the peer's HELLO. */
export class DialAttempt {
  readonly #setup: DialAttemptSetup;
  readonly #events: DialAttemptEvents;
  readonly #controller = new AbortController();
  #connection: RpcConnection | undefined;
  #ended = false;
  #referenced: boolean;

  /** Starts the attempt. It calls no event in this turn. */
  constructor(setup: DialAttemptSetup, events: DialAttemptEvents) {
    this.#setup = setup;
    this.#events = events;
    this.#referenced = setup.referenced;
    const { timeout, timer } = setup;
    timer.set(timeout, () => {
      const text = `the dial did not finish within ${printMs(timeout)}`;
      this.#fail(new ConnectionError("deadline_exceeded", text));
    });
    this.#run();
  }

  /** Sets whether the connection keeps the process alive. */
  setReferenced(on: boolean): void {
    this.#referenced = on;
    if (this.#connection !== undefined) setReferenced(this.#connection, on);
  }

  /** Gives up. No event follows. */
  cancel(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#setup.timer.clear();
    this.#controller.abort(reason);
    this.#connection?.abort(reason);
  }

  async #run(): Promise<void> {
    try {
      // In a later turn: `dial` may use the client, which is being constructed.
      await undefined;
      if (this.#ended) return;
      const { signal } = this.#controller;
      const { dial, connection: { credentials: given } } = this.#setup;
      // Before the dial: a server that has accepted would wait for them.
      const credentials = typeof given === "function"
        ? await given(signal)
        : given;
      if (this.#ended) return;
      const duplex = await dial(signal);
      if (this.#ended) destroy(duplex);
      else this.#open(duplex, credentials);
    } catch (error) {
      this.#fail(error);
    }
  }

  #open(duplex: Duplex, credentials: Credentials | undefined): void {
    const { connection: setup, timer } = this.#setup;
    // From here on the handshake timeout of the connection counts.
    timer.clear();
    // A protocol without HELLO calls `onHello` while the connection is constructed.
    let helloReceived = false;
    const connection = new RpcConnection(checkDuplex(duplex), {
      ...setup,
      credentials,
      onHello: () => {
        helloReceived = true;
        if (this.#connection !== undefined) this.#succeed(this.#connection);
      },
      onGoaway: (reason) => {
        this.#fail(reason);
        this.#events.onGoaway(connection, reason);
      },
    });
    this.#connection = connection;
    if (!this.#referenced) connection.unref();
    connection.closed.then((reason) => {
      const text = "the peer closed the connection before it sent HELLO";
      this.#fail(reason ?? new ConnectionError("unavailable", text));
    });
    if (helloReceived) this.#succeed(connection);
  }

  #succeed(connection: RpcConnection): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.onReady(connection);
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.cancel(error);
    this.#events.onFailure(error);
  }
}

/** Sets whether a connection keeps the process alive. */
export function setReferenced(connection: RpcConnection, on: boolean): void {
  if (on) connection.ref();
  else connection.unref();
}

/** Destroys a duplex that arrived too late, if it is one. */
function destroy(duplex: Duplex): void {
  const text = "the client no longer needs this connection";
  const reason = new ConnectionError("cancelled", text);
  try {
    checkDuplex(duplex).writable.abort(reason).catch(() => {});
  } catch {
    return;
  }
}
