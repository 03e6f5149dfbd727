/**
 * The connections of a reconnecting client, one after another.
 *
 * Invariants:
 * - At most one connection takes new calls. One that no longer does stays open
 *   until it has finished the calls it has.
 * - A dial follows a connection without delay only if that connection lived for
 *   `stableAfter`, replied to a call, and was closed gracefully.
 * - There is one teardown, with the first reason. After it nothing is dialled.
 *
 * @module
 */

import {
  type ReconnectingStats,
  StateCell,
  type StateListener,
} from "./client_state.ts";
import type { RpcConnection } from "../../connection/connection.ts";
import type { CloseOptions } from "../../types/connection.ts";
import { Timeout, TimerHeap } from "../../base/timers.ts";
import { Dialer, type DialerSetup } from "./dialer.ts";
import { checkTimeout, DRAIN_TIME } from "../../connection/shutdown.ts";
import { ConnectionError, printMs, type RpcError } from "../../base/errors.ts";
import { ActiveConnection, setReferenced } from "./dial_attempt.ts";
import type { LiveCall } from "../../types/stats.ts";
import { ReadySignal } from "../../base/promises.ts";
import { unavailableError } from "../../call/errors.ts";
import { OfflineQueue, type OfflineQueueOwner } from "./offline_queue.ts";
import {
  ResendManager,
  type ResendManagerSetup,
  type ResendTarget,
} from "./resend.ts";
import { Totals } from "../../connection/totals.ts";

/** Settings of a reconnector. Every option has its value. */
export interface ReconnectorSetup extends DialerSetup, ResendManagerSetup {
  readonly maxQueuedCalls: number;
  readonly maxQueuedBytes: number;
  readonly onStateChange: StateListener | undefined;
}

/** Keeps a connection open, and gives it the calls. */
export class Reconnector implements ResendTarget, OfflineQueueOwner {
  readonly state: StateCell;
  /** Makes the calls. */
  readonly calls: ResendManager;
  /** The connection that takes new calls. */
  active: ActiveConnection | undefined;
  /** Whether the teardown has run. */
  ended = false;
  readonly #setup: ReconnectorSetup;
  readonly #deadlines: TimerHeap;
  readonly #dialer: Dialer;
  readonly #queue: OfflineQueue;
  readonly #readySignal = new ReadySignal();
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Every open connection, including those that only finish their calls. */
  readonly #connections = new Set<ActiveConnection>();

  // The drain; the first `close` starts it.

  /** Its promise is what every `close` returns. */
  #closing: PromiseWithResolvers<void> | undefined;
  readonly #drainTimer: Timeout;
  /** When the drain must have finished, by the clock's `now`. */
  #drainDeadline = Infinity;
  #streams: CloseOptions["streams"];
  /** The `ctx` of the handler that closes the client: its call is not waited for. */
  #ctx: CloseOptions["ctx"];

  /** What the teardown ended the client with. */
  #reason: ConnectionError | undefined;

  /** The promise that `ready` returns, and the connection's from which it was made. */
  #ready: Promise<void> | undefined;
  #connectionReady: Promise<void> | undefined;

  // Counted for `stats`.

  #connected = 0;
  readonly #totals = new Totals();

  constructor(setup: ReconnectorSetup) {
    const { clock } = setup;
    this.#setup = setup;
    this.state = new StateCell(setup.onStateChange);
    const deadlines = this.#deadlines = new TimerHeap(clock);
    this.#drainTimer = new Timeout(clock, deadlines);
    this.#queue = new OfflineQueue(deadlines, setup, this);
    this.calls = new ResendManager(setup, this.#queue, this);
    this.#dialer = new Dialer(setup, new Timeout(clock, deadlines), {
      onDial: () => this.#setState("connecting"),
      onDelay: (cause, delay) => {
        this.#setState("waiting", cause, delay);
        this.#continueDrain();
      },
      onReady: (connection) => this.#onReady(connection),
      onGoaway: (connection, reason) => {
        const { active } = this;
        if (active?.connection !== connection) return;
        active.lossReason ??= reason;
        this.retire(active);
      },
      onGiveUp: (reason) => this.#teardown(reason),
    });
    this.#dialer.dial();
  }

  get closed(): Promise<ConnectionError | undefined> {
    return this.#closed.promise;
  }

  /** The active connection's; without one, minus the number of calls that wait. */
  get desiredSize(): number {
    const { length } = this.#queue;
    if (length > 0) return -length;
    if (this.#closing !== undefined) return 0;
    return this.active?.connection.desiredSize ?? 0;
  }

  /** Resolves when the active connection's window has room; rejects once no call is accepted. */
  get ready(): Promise<void> {
    const { active } = this;
    const away = active === undefined || this.#queue.length > 0;
    if (away || this.#closing !== undefined) {
      return this.#readySignal.wait(false);
    }
    const { ready } = active.connection;
    if (this.#ready === undefined || ready !== this.#connectionReady) {
      this.#connectionReady = ready;
      this.#ready = ready.catch(() => {
        this.retire(active);
        return this.ready;
      });
      this.#ready.catch(ignore);
    }
    return this.#ready;
  }

  // What calls ask for, and report.

  get away(): unknown {
    return this.#dialer.cause;
  }

  get refusal(): RpcError | undefined {
    const open = !this.ended && this.#closing === undefined;
    return open ? undefined : this.#closedError();
  }

  onCallReturned(active: ActiveConnection): void {
    if (active === this.active) this.retire(active);
    else if (this.active !== undefined) this.calls.flushSoon();
    // During a drain the client may have stopped to dial: nothing waited then.
    else if (!this.ended) this.#dialer.ensureDialing();
  }

  onQueueEmpty(): void {
    this.#readySignal.wake();
    this.#continueDrain();
  }

  onQueuedCallSettled(): void {
    this.#continueDrain();
  }

  // Connections, one after another.

  #onReady(connection: RpcConnection): void {
    this.#connected++;
    const now = this.#setup.clock.now();
    const active = new ActiveConnection(connection, now);
    this.#connections.add(active);
    this.active = active;
    connection.closed.then((reason) => this.#onClosed(active, reason));
    this.#setState("ready");
    this.calls.flush();
  }

  /** Gives no further calls to a connection. Its peer may still reply to those it has. */
  retire(active: ActiveConnection): void {
    if (this.active !== active) return;
    const { connection } = active;
    const { state } = connection.stats();
    const graceful = state === "open" || state === "draining";
    // Without a limit, as its calls have deadlines of their own. In a later turn,
    // as the connection may be giving its calls back just now.
    if (graceful) queueMicrotask(() => connection.close({ timeout: Infinity }));
    this.#replace(active, graceful);
  }

  #onClosed(
    active: ActiveConnection,
    reason: ConnectionError | undefined,
  ): void {
    this.#connections.delete(active);
    this.#totals.end(active.connection.stats());
    if (this.active === active) {
      active.lossReason = reason;
      this.#replace(active, reason === undefined);
    }
    this.#continueDrain();
    this.#resolveClosed();
  }

  /** Dials the next connection: without delay if the last one was stable, of use, and closed gracefully. */
  #replace(active: ActiveConnection, graceful: boolean): void {
    this.active = undefined;
    const { useful, stable } = this.#dialer.recordConnection(active);
    const drained = this.#closing !== undefined && this.#queue.length === 0;
    if (this.ended || drained) return;
    if (graceful && active.hasReplied && stable) this.#dialer.dial();
    else this.#dialer.backOff(active.lossReason, !useful);
  }

  #setState(
    state: "connecting" | "ready" | "waiting",
    cause?: unknown,
    delay?: number,
  ): void {
    // A closed client stays `draining`, even if it dials for calls that wait.
    if (this.#closing !== undefined) return;
    this.state.set(state, this.#dialer.failures, cause, delay);
  }

  /** Sets whether connections, delays and calls that wait keep the process alive. */
  setReferenced(on: boolean): void {
    this.#deadlines.hold(on);
    this.#dialer.setReferenced(on);
    for (const { connection } of this.#connections) {
      setReferenced(connection, on);
    }
  }

  // The end of the client.

  close({ timeout, streams, ctx }: CloseOptions): Promise<void> {
    checkTimeout(timeout);
    const first = this.#closing === undefined;
    const closing = this.#closing ??= Promise.withResolvers();
    if (first) this.#closed.promise.then(() => closing.resolve());
    if (first || timeout !== undefined) {
      this.#limitDrain(timeout ?? DRAIN_TIME);
    }
    this.#streams = streams ?? this.#streams;
    this.#ctx = ctx ?? this.#ctx;
    // In a later turn, as for the `close` of a connection.
    queueMicrotask(() => this.#continueDrain());
    if (!first || this.ended) return closing.promise;
    const refusal = this.#closedError();
    this.#readySignal.close(() => refusal);
    this.state.set("draining", this.#dialer.failures);
    return closing.promise;
  }

  /** Limits the drain to `timeout` ms from now, unless it must finish earlier already. */
  #limitDrain(timeout: number): void {
    const deadline = this.#setup.clock.now() + timeout;
    if (deadline >= this.#drainDeadline) return;
    this.#drainDeadline = deadline;
    // After the teardown each connection limits its own drain.
    if (this.ended) return void this.#closeConnections(timeout);
    this.#drainTimer.set(timeout, () => {
      const text = `the drain did not finish within ${printMs(timeout)}`;
      const cause = this.away;
      this.#teardown(new ConnectionError("deadline_exceeded", text, { cause }));
      this.#closeConnections(0);
    });
  }

  /** Resolves when the connections are closed, or wait only for the call that closes the client. */
  #closeConnections(timeout: number): Promise<unknown> {
    const options = { timeout, streams: this.#streams, ctx: this.#ctx };
    return Promise.all(
      [...this.#connections].map(({ connection }) => connection.close(options)),
    );
  }

  /** Continues a drain: once no call waits, it drains the connections; once they are closed, the client ends. */
  #continueDrain(): void {
    if (this.#closing === undefined || this.ended) return;
    if (this.#queue.length > 0) return;
    this.#dialer.stop(this.#reason);
    const left = this.#drainDeadline - this.#setup.clock.now();
    const connections = new Set(this.#connections);
    const closed = this.#closeConnections(Math.max(0, left));
    if (connections.size === 0) this.#teardown(undefined);
    else closed.then(() => this.#resolveClosing(connections));
  }

  /** All `connections` are closed, or wait only for the call that closes the client: so does the client, unless it has to send calls again. */
  #resolveClosing(connections: ReadonlySet<ActiveConnection>): void {
    if (this.#queue.length > 0) return;
    for (const active of this.#connections) {
      if (!connections.has(active)) return;
    }
    this.#closing?.resolve();
  }

  /** Ends everything at once. */
  abort(reason: unknown): Promise<void> {
    const text = "the client was aborted";
    const cause = reason ?? this.away;
    this.#teardown(new ConnectionError("cancelled", text, { cause }));
    const aborted = [...this.#connections].map(({ connection }) =>
      connection.abort(reason)
    );
    return Promise.all(aborted).then(ignore);
  }

  /** Ends the client. Connections still finish the calls they have. */
  #teardown(reason: ConnectionError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.#reason = reason;
    this.active = undefined;
    this.#dialer.stop(reason);
    this.#drainTimer.clear();
    this.#readySignal.close(() => this.#closedError());
    this.#queue.failAll(() => this.#closedError());
    this.state.set("closed", this.#dialer.failures, reason);
    this.#resolveClosed();
  }

  #resolveClosed(): void {
    if (this.ended && this.#connections.size === 0) {
      this.#closed.resolve(this.#reason);
    }
  }

  /** Makes an error for a call that a client which is closed does not accept. */
  #closedError(): RpcError {
    const text = "the client has been closed";
    const cause = this.away;
    return unavailableError(
      this.#reason ?? new ConnectionError("unavailable", text, { cause }),
    );
  }

  // Statistics.

  stats(): ReconnectingStats {
    const connections = [...this.#connections].map(({ connection }) =>
      connection.stats()
    );
    const sum = this.#totals.sum(connections);
    const { length, bytes, listeners } = this.#queue;
    const { dials, failures } = this.#dialer;
    return {
      ...sum,
      state: this.state.current,
      dials,
      failures,
      connections: connections.length,
      connected: this.#connected,
      waiting: length,
      waitingBytes: bytes,
      resent: this.calls.resent,
      settled: { ...this.calls.counts },
      listeners: listeners + sum.listeners,
      timers: this.#deadlines.size + sum.timers,
      rtt: this.active?.connection.rtt,
    };
  }

  listCalls(): LiveCall[] {
    const calls = [...this.#connections].flatMap(({ connection }) =>
      connection.calls()
    );
    return [...calls, ...this.#queue.list(this.#setup.clock.now())];
  }
}

function ignore(): void {}
