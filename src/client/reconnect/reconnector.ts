/**
 * Calls over one connection after another.
 *
 * Invariants owned here:
 * - New calls go to one connection at most. One that takes no more calls lives
 *   on until it has finished those it has.
 * - A dial follows another at once only if the connection between them has
 *   lived for a while and answered a call, and its peer said goodbye.
 * - One teardown; the first reason wins. Nothing is dialled once it is over.
 *
 * @module
 */

import type { CallHandle } from "../../types/call.ts";
import type { Caller, CallOptions } from "../../types/call.ts";
import {
  type ReconnectingStats,
  StateCell,
  type StateListener,
} from "./client_state.ts";
import type { Connection } from "../../types/connection.ts";
import type { RpcConnection } from "../../connection/connection.ts";
import type { CloseOptions } from "../../types/connection.ts";
import { Timeout, TimerHeap } from "../../base/timers.ts";
import { Dialer, type DialerSetup } from "./dialer.ts";
import { checkTimeout } from "../../connection/shutdown.ts";
import { DRAIN_TIME } from "../../connection/shutdown_states.ts";
import { ConnectionError, printMs, type RpcError } from "../../base/errors.ts";
import { ActiveConnection, hold } from "./dial.ts";
import type { LiveCall } from "../../types/stats.ts";
import { ReadySignal } from "../../base/promises.ts";
import { unavailableError } from "../../call/errors.ts";
import {
  ResendManager,
  type ResendManagerSetup,
  type ResendTarget,
} from "./resend.ts";
import { Totals } from "../../connection/totals.ts";

/** What a reconnector is made with; every option has its value. */
export interface ReconnectorSetup extends DialerSetup, ResendManagerSetup {
  readonly onStateChange: StateListener | undefined;
}

/** Makes connections, and calls over them. */
export class Reconnector implements Caller, ResendTarget {
  readonly state: StateCell;
  readonly #setup: ReconnectorSetup;
  readonly #deadlines: TimerHeap;
  readonly #dialer: Dialer;
  readonly #calls: ResendManager;
  readonly #gate = new ReadySignal();
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  #link: ActiveConnection | undefined;
  /** Every connection that lives, those that only finish included. */
  readonly #links = new Set<ActiveConnection>();

  /** Made by the first `close`; the same for all. */
  #closing: Promise<void> | undefined;
  readonly #drainTimer: Timeout;
  #drainEnd = Infinity;
  #streams: CloseOptions["streams"];
  /** Set by the one teardown. */
  #over = false;
  #reason: ConnectionError | undefined;

  // Counted for `stats`.
  #connected = 0;
  readonly #totals = new Totals();

  /** The promise behind `ready`, and what it was made from. */
  #inner: Promise<void> | undefined;
  #outer: Promise<void> | undefined;

  constructor(setup: ReconnectorSetup) {
    const { clock } = setup;
    this.#setup = setup;
    this.state = new StateCell(setup.onStateChange);
    const deadlines = this.#deadlines = new TimerHeap(clock);
    this.#drainTimer = new Timeout(clock, deadlines);
    this.#calls = new ResendManager(setup, deadlines, this);
    this.#dialer = new Dialer(setup, new Timeout(clock, deadlines), {
      dialling: () => this.#tell("connecting"),
      waiting: (cause, delay) => {
        this.#tell("waiting", cause, delay);
        this.#advance();
      },
      opened: (connection) => this.#opened(connection),
      left: (connection, reason) => {
        const link = this.#link;
        if (link?.connection !== connection) return;
        link.reason ??= reason;
        this.leave(link);
      },
      gaveUp: (reason) => this.#end(reason),
    });
    this.#dialer.dial();
  }

  /** The connection that takes calls. */
  get connection(): Connection | undefined {
    return this.#link?.connection;
  }

  get closed(): Promise<ConnectionError | undefined> {
    return this.#closed.promise;
  }

  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    return this.#calls.call(method, params, options);
  }

  go(method: string, params?: unknown, options?: CallOptions): CallHandle {
    return this.#calls.go(method, params, options);
  }

  /** As a connection's; without one, negative by the calls that wait. */
  get desiredSize(): number {
    const { length } = this.#calls;
    if (length > 0) return -length;
    const open = this.#closing === undefined && this.#link !== undefined;
    return open ? (this.#link as ActiveConnection).connection.desiredSize : 0;
  }

  /** Resolves when there is a connection with room in its window; rejects once no call is taken any more. */
  get ready(): Promise<void> {
    const link = this.#link;
    const away = link === undefined || this.#calls.length > 0;
    if (away || this.#closing !== undefined) return this.#gate.wait(false);
    const inner = link.connection.ready;
    if (inner !== this.#inner) {
      this.#inner = inner;
      this.#outer = inner.catch(() => {
        this.leave(link);
        return this.ready;
      });
      this.#outer.catch(ignore);
    }
    return this.#outer as Promise<void>;
  }

  // What the calls ask, and tell: see Route.

  get link(): ActiveConnection | undefined {
    return this.#link;
  }

  get away(): unknown {
    return this.#dialer.cause;
  }

  get over(): boolean {
    return this.#over;
  }

  get refusal(): RpcError | undefined {
    const open = !this.#over && this.#closing === undefined;
    return open ? undefined : this.#refuse();
  }

  cameBack(link: ActiveConnection): void {
    if (link === this.#link) this.leave(link);
    // Another connection has come already.
    else if (this.#link !== undefined) this.#calls.flushSoon();
    // A drain had no more use for one.
    else if (!this.#over) this.#dialer.want();
  }

  /** A connection takes no calls any more; its peer may still answer those it has. */
  leave(link: ActiveConnection): void {
    if (this.#link !== link) return;
    const { connection, reason } = link;
    const { state } = connection.stats();
    const goodbye = state === "open" || state === "draining";
    // Without a limit: its calls have their deadlines. Not now: it may be in
    // the middle of handing its calls back.
    if (goodbye) queueMicrotask(() => connection.close({ timeout: Infinity }));
    this.#next(link, goodbye, reason);
  }

  flushed(): void {
    this.#gate.wake();
    this.#advance();
  }

  settled(): void {
    this.#advance();
  }

  // Connections, one after another.

  #opened(connection: RpcConnection): void {
    this.#connected++;
    const link = new ActiveConnection(connection, this.#setup.clock.now());
    this.#links.add(link);
    this.#link = link;
    connection.closed.then((reason) => this.#ended(link, reason));
    this.#tell("ready");
    this.#calls.flush();
  }

  #ended(link: ActiveConnection, reason: ConnectionError | undefined): void {
    this.#links.delete(link);
    this.#totals.end(link.connection.stats());
    if (this.#link === link) this.#next(link, reason === undefined, reason);
    this.#advance();
    this.#finish();
  }

  /** Goes on after a connection: at once, if it lived for a while, was of use and its peer said goodbye. */
  #next(
    link: ActiveConnection,
    goodbye: boolean,
    cause: ConnectionError | undefined,
  ): void {
    this.#link = undefined;
    link.retired = true;
    const { useful, stable } = this.#dialer.note(link, cause);
    const drained = this.#closing !== undefined && this.#calls.length === 0;
    if (this.#over || drained) return;
    if (goodbye && link.hasReplied && stable) this.#dialer.dial();
    else this.#dialer.backOff(cause, !useful);
  }

  #tell(
    state: "connecting" | "ready" | "waiting",
    cause?: unknown,
    delay?: number,
  ): void {
    // To its user a closed client drains, whatever it does to that end.
    if (this.#closing !== undefined) return;
    this.state.set(state, this.#dialer.failures, cause, delay);
  }

  /** Says whether what there is and will be keeps the process alive. */
  hold(on: boolean): void {
    this.#deadlines.hold(on);
    this.#dialer.hold(on);
    for (const { connection } of this.#links) hold(connection, on);
  }

  // Ending.

  close({ timeout, streams }: CloseOptions): Promise<void> {
    checkTimeout(timeout);
    const first = this.#closing === undefined;
    this.#closing ??= this.#closed.promise.then(ignore);
    if (first || timeout !== undefined) {
      this.#closeWithin(timeout ?? DRAIN_TIME);
    }
    this.#streams = streams ?? this.#streams;
    // Not in this turn, as a connection's.
    queueMicrotask(() => this.#advance());
    if (!first || this.#over) return this.#closing;
    const refusal = this.#refuse();
    this.#gate.close(() => refusal);
    this.state.set("draining", this.#dialer.failures);
    return this.#closing;
  }

  /** The earliest of all times that were asked for holds. */
  #closeWithin(timeout: number): void {
    const by = this.#setup.clock.now() + timeout;
    if (by >= this.#drainEnd) return;
    this.#drainEnd = by;
    // Its connections end, each within its own time.
    if (this.#over) return this.#closeLinks(timeout);
    this.#drainTimer.set(timeout, () => {
      const text = `the drain did not finish within ${printMs(timeout)}`;
      const cause = this.away;
      this.#end(new ConnectionError("deadline_exceeded", text, { cause }));
      this.#closeLinks(0);
    });
  }

  #closeLinks(timeout: number): void {
    const options = { timeout, streams: this.#streams };
    for (const { connection } of this.#links) connection.close(options);
  }

  /** Ends everything at once. */
  stop(reason: unknown): Promise<void> {
    const text = "the client was aborted";
    const cause = reason ?? this.away;
    this.#end(new ConnectionError("cancelled", text, { cause }));
    const ends = [...this.#links].map((link) => link.connection.abort(reason));
    return Promise.all(ends).then(ignore);
  }

  /** Goes on with a drain: once nothing waits here, connections drain; once they have, it is over. */
  #advance(): void {
    if (this.#closing === undefined || this.#over) return;
    if (this.#calls.length > 0) return;
    this.#dialer.rest(this.#reason);
    this.#closeLinks(Math.max(0, this.#drainEnd - this.#setup.clock.now()));
    if (this.#links.size === 0) this.#end(undefined);
  }

  /** The one teardown; the first reason wins. Connections that still finish calls go on. */
  #end(reason: ConnectionError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#reason = reason;
    this.#link = undefined;
    this.#dialer.rest(this.#reason);
    this.#drainTimer.clear();
    this.#gate.close(() => this.#refuse());
    this.#calls.end(() => this.#refuse());
    this.state.set("closed", this.#dialer.failures, reason);
    this.#finish();
  }

  #finish(): void {
    if (this.#over && this.#links.size === 0) {
      this.#closed.resolve(this.#reason);
    }
  }

  #refuse(): RpcError {
    const text = "this client has been closed";
    const cause = this.away;
    return unavailableError(
      this.#reason ?? new ConnectionError("unavailable", text, { cause }),
    );
  }

  // Numbers.

  stats(): ReconnectingStats {
    const links = [...this.#links].map((link) => link.connection.stats());
    const sum = this.#totals.sum(links);
    const { length, bytes, resent, counts, listeners } = this.#calls;
    const { dials, failures } = this.#dialer;
    return {
      ...sum,
      state: this.state.current,
      dials,
      failures,
      connections: links.length,
      connected: this.#connected,
      waiting: length,
      waitingBytes: bytes,
      resent,
      settled: { ...counts },
      listeners: listeners + sum.listeners,
      timers: this.#deadlines.size + sum.timers,
      rtt: this.#link?.connection.rtt,
    };
  }

  calls(): LiveCall[] {
    const links = [...this.#links];
    const under = links.flatMap((link) => link.connection.calls());
    return [...under, ...this.#calls.all()];
  }
}

function ignore(): void {}
