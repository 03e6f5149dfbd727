/**
 * Calls over one connection after another.
 *
 * Invariants owned here:
 * - A call is in exactly one place: waiting in the room, or with one link.
 * - Only what surely did not run is sent again, unless its user says that
 *   running twice is as good as once; and only when its connection is why it
 *   failed. Every other failure is the call's.
 * - There is no loop without delay: a dial follows another at once only if the
 *   connection between them has answered a call and its peer said goodbye.
 * - At most one dial or wait is under way; none once it is over.
 *
 * @module
 */

import { type Call, CallHandle, type CallOwner, promiseOf } from "./call.ts";
import type { Caller } from "./calls.ts";
import { backoff, type Retry } from "./backoff.ts";
import {
  type ClientState,
  StateCell,
  type StateListener,
} from "./client_state.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { Deadlines, Timer } from "./deadlines.ts";
import { ConnectionError, type Outcome, RpcError } from "./errors.ts";
import { Attempt, type Dial, Link, type LinkSetup } from "./link.ts";
import { type LiveCall, madeCall } from "./live_calls.ts";
import type { CallEvents } from "./observe.ts";
import { type CallOptions, dueTime, toMetadata } from "./options.ts";
import { snapshot } from "./payload.ts";
import { ReadyGate } from "./ready.ts";
import { unavailable } from "./refusals.ts";
import { discard, isStream } from "./streams/source.ts";
import { type CallKeeper, RetriedCall } from "./retried_call.ts";
import { broken, type CallOrder, Sequences } from "./sequences.ts";
import { noOutcomes, type SummedStats, Totals } from "./stats.ts";
import { toTick } from "./tick.ts";
import { WaitingRoom } from "./waiting_room.ts";

/** What a reconnector is made with; every option has its value. */
export interface ReconnectorSetup {
  readonly dial: Dial;
  readonly dialTimeout: number;
  readonly retry: Retry;
  readonly clock: Clock;
  readonly rejectAway: boolean;
  readonly idempotent: ReadonlySet<string>;
  readonly ordered: Readonly<Record<string, CallOrder>> | undefined;
  readonly continueAfterUnknown: boolean;
  readonly maxQueuedCalls: number;
  readonly maxQueuedBytes: number;
  readonly onState: StateListener | undefined;
  readonly connection: LinkSetup;
}

/** Calls handed to a new connection before its window is looked at again. */
const BURST = 256;

/** Makes connections, and calls over them. */
export class Reconnector implements Caller, CallOwner, CallKeeper {
  readonly state: StateCell;
  readonly #setup: ReconnectorSetup;
  readonly #deadlines: Deadlines;
  readonly #room: WaitingRoom;
  /** The calls whose servers keep an order; undefined if none do. */
  readonly #sequences: Sequences | undefined;
  readonly #gate = new ReadyGate();
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Where calls go; undefined while away. */
  #link: Link | undefined;
  /** A flush is to come in this turn. */
  #flushes = false;
  /** Every connection that lives, those that only finish included. */
  readonly #links = new Set<Link>();
  #number = 0;

  #attempt: Attempt | undefined;
  /** Of the dial, or of the wait for the next one. */
  readonly #timer: Timer;
  #waits = false;
  /** Dials in a row that led nowhere; those of them that were told `unauthenticated`, last. */
  #failures = 0;
  #denials = 0;

  /** Made by the first `close`; the same for all. */
  #closing: Promise<void> | undefined;
  readonly #drainTimer: Timer;
  #drainEnd = Infinity;
  /** Set by the one teardown. */
  #over = false;
  #reason: ConnectionError | undefined;

  // Counted for `stats`.
  #dials = 0;
  #connected = 0;
  #resent = 0;
  readonly #totals = new Totals();
  readonly #settled = noOutcomes();

  /** The promise behind `ready`, and what it was made from. */
  #inner: Promise<void> | undefined;
  #outer: Promise<void> | undefined;

  constructor(setup: ReconnectorSetup) {
    this.#setup = setup;
    this.state = new StateCell(setup.onState);
    const deadlines = this.#deadlines = new Deadlines(setup.clock);
    this.#timer = new Timer(setup.clock, deadlines);
    this.#drainTimer = new Timer(setup.clock, deadlines);
    const room = new WaitingRoom(deadlines, setup, () => this.#advance());
    this.#room = room;
    const { ordered, continueAfterUnknown } = setup;
    this.#sequences = ordered && new Sequences(ordered, {
      continueAfterUnknown,
      fail: (call, error) => room.fail(call, error),
      release: (call) => {
        room.release(call);
        this.#flushSoon();
      },
    });
    this.#dial();
  }

  /** The connection that takes calls. */
  get connection(): Connection | undefined {
    return this.#link?.connection;
  }

  get closed(): Promise<ConnectionError | undefined> {
    return this.#closed.promise;
  }

  // A call, in the order it travels.

  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    const call = new RetriedCall(method, this.#number++, this);
    const promise = promiseOf(call);
    this.#observe(call);
    this.#begin(call, params, options);
    return promise;
  }

  go(method: string, params?: unknown, options?: CallOptions): CallHandle {
    const call = new RetriedCall(method, this.#number++, this);
    this.#observe(call);
    this.#begin(call, params, options);
    return new CallHandle(call, this);
  }

  #observe(call: RetriedCall): void {
    const { clock, connection } = this.#setup;
    const observe = connection.observe as CallEvents | undefined;
    if (observe === undefined || !observe.active) return;
    observe.made(call, clock, () => call.link?.connection);
  }

  #begin(
    call: RetriedCall,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    try {
      if (options !== undefined) this.#apply(call, options);
      this.#sequences?.enter(call, params);
      // Runs user code (toJSON, a serializer), which may close the client.
      call.params = snapshot(
        params,
        options?.transfer === true,
        this.#setup.connection.serializer,
      );
      if (this.#over || this.#closing !== undefined) throw this.#refusal();
      if (call.position?.broken) throw broken(call);
      if (this.#mustWait(call)) {
        this.#await(call);
        return;
      }
    } catch (error) {
      this.#room.ledger.settle(call, "not_sent", true, error);
      discard(params, error);
      return;
    }
    this.#submit(call, this.#link as Link);
  }

  #mustWait({ position }: RetriedCall): boolean {
    const link = this.#link;
    if (link === undefined || this.#room.length > 0) return true;
    return position !== undefined && position.blocks(link);
  }

  /** Reads the options: what is sent later is what they are now. */
  #apply(call: RetriedCall, options: CallOptions): void {
    const { signal, ctx, metadata, idempotent } = options;
    if (signal?.aborted) throw signal.reason;
    if (ctx?.signal.aborted) throw ctx.signal.reason;
    call.due = dueTime(options, this.#setup.clock);
    call.options = {
      signal,
      ctx,
      idempotent,
      metadata: metadata && { ...metadata },
    };
  }

  /** A new call that finds no connection, or must not use it yet. */
  #await(call: RetriedCall): void {
    const { rejectAway } = this.#setup;
    if (rejectAway && this.#link === undefined) {
      const text = "the client has no connection";
      throw unavailable(new ConnectionError("unavailable", text));
    }
    // What the connection would find wrong with it is told now, not then.
    const metadata = call.options?.metadata;
    if (metadata !== undefined) toMetadata(metadata);
    call.began = toTick(this.#setup.clock.now());
    const away = this.#link === undefined || this.#room.length > 0;
    if (!away) call.position?.hold();
    this.#room.admit(call);
  }

  #submit(call: RetriedCall, link: Link): void {
    let { options } = call;
    if (call.due !== Infinity) {
      const timeout = call.due - this.#setup.clock.now();
      options = { ...options, timeout };
    }
    call.link = link;
    call.position?.sent(link);
    link.pending.submit(call, call.params, options);
  }

  // What comes back.

  wants(call: RetriedCall, outcome: Outcome, error: unknown): boolean {
    const link = call.link as Link;
    const cause = error instanceof RpcError ? error.cause : undefined;
    if (!(cause instanceof ConnectionError) || isAborted(call)) {
      // Whatever is not the connection's end, nor its user's wish, is its peer's answer.
      if (outcome === "refused") link.served = true;
      return false;
    }
    link.reason ??= cause;
    // A stream can be read once.
    if (this.#over || isStream(call.params)) return false;
    return outcome !== "unknown" || this.#isIdempotent(call);
  }

  finished(outcome: Outcome): void {
    this.#settled[outcome]++;
  }

  takeBack(call: RetriedCall): void {
    const { link, position } = call;
    position?.back();
    if (position?.broken) {
      this.#room.ledger.settle(call, "not_sent", true, broken(call));
      return;
    }
    this.#resent++;
    this.#room.enter(call);
    if (link === this.#link) this.#leave(link as Link);
    // Another connection has come already.
    else if (this.#link !== undefined) this.#flushSoon();
    // A drain had no more use for one.
    else if (this.#attempt === undefined && !this.#waits) {
      this.#backOff(undefined, false);
    }
  }

  #isIdempotent({ method, options }: RetriedCall): boolean {
    return options?.idempotent ?? this.#setup.idempotent.has(method);
  }

  // What a handle asks.

  abort(call: Call, reason: unknown): void {
    const { link } = call as RetriedCall;
    (call as RetriedCall).aborted = true;
    if (link !== undefined) link.pending.abort(call, reason);
    else if (call.state === "waiting") {
      this.#room.abort(call as RetriedCall, reason);
    }
  }

  handedOver(call: Call): boolean {
    const { link, past } = call as RetriedCall;
    return past !== "not_sent" || (link?.pending.handedOver(call) ?? false);
  }

  awaitHandOver(call: Call): void {
    // While it waits here, nobody needs to remember: the connection that gets it looks.
    (call as RetriedCall).link?.pending.awaitHandOver(call);
  }

  /** As a connection's; without one, negative by the calls that wait. */
  get desiredSize(): number {
    const { length } = this.#room;
    if (length > 0) return -length;
    const open = this.#closing === undefined && this.#link !== undefined;
    return open ? (this.#link as Link).connection.desiredSize : 0;
  }

  /** Resolves when there is a connection with room in its window; rejects once no call is taken any more. */
  get ready(): Promise<void> {
    const link = this.#link;
    const away = link === undefined || this.#room.length > 0;
    if (away || this.#closing !== undefined) return this.#gate.wait(false);
    const inner = link.connection.ready;
    if (inner !== this.#inner) {
      this.#inner = inner;
      this.#outer = inner.catch(() => {
        this.#leave(link);
        return this.ready;
      });
      this.#outer.catch(ignore);
    }
    return this.#outer as Promise<void>;
  }

  // Connections, one after another.

  #dial(): void {
    const { dial, dialTimeout: timeout, connection } = this.#setup;
    this.#waits = false;
    this.#dials++;
    this.#tell("connecting");
    this.#attempt = new Attempt(
      { dial, timeout, connection, timer: this.#timer },
      {
        opened: (connection) => this.#opened(connection),
        failed: (error) => this.#failed(error),
        left: (connection, reason) => {
          const link = this.#link;
          if (link?.connection !== connection) return;
          link.reason ??= reason;
          this.#leave(link);
        },
      },
    );
  }

  #opened(connection: Connection): void {
    this.#attempt = undefined;
    this.#connected++;
    const link = new Link(connection, this.#setup.clock.now());
    this.#links.add(link);
    this.#link = link;
    connection.closed.then((reason) => this.#ended(link, reason));
    this.#tell("ready");
    this.#flush();
  }

  /** Not now: a connection may be in the middle of handing its calls back. */
  #flushSoon(): void {
    if (this.#flushes) return;
    this.#flushes = true;
    queueMicrotask(() => {
      this.#flushes = false;
      this.#flush();
    });
  }

  /** Hands over what waits, as the window has room; then `ready` may resolve. */
  async #flush(): Promise<void> {
    const link = this.#link;
    if (link === undefined) return;
    while (this.#link === link) {
      for (let i = 0; i < BURST && this.#link === link; i++) {
        const call = this.#room.take();
        if (call === undefined) {
          this.#gate.wake();
          this.#advance();
          return;
        }
        if (call.position?.blocks(link)) {
          call.position.hold();
          this.#room.enter(call);
        } else this.#submit(call, link);
      }
      await link.connection.ready.catch(() => this.#leave(link));
    }
  }

  #failed(error: unknown): void {
    this.#attempt = undefined;
    this.#denials = codeOf(error) === "unauthenticated" ? this.#denials + 1 : 0;
    this.#backOff(error, true);
  }

  /** A connection takes no calls any more; its peer may still answer those it has. */
  #leave(link: Link): void {
    if (this.#link !== link) return;
    const { connection, reason } = link;
    const { state } = connection.stats();
    const goodbye = state === "open" || state === "draining";
    // Without a limit: its calls have their deadlines. Not now: it may be in
    // the middle of handing its calls back.
    if (goodbye) queueMicrotask(() => connection.close({ timeout: Infinity }));
    this.#next(link, goodbye, reason);
  }

  #ended(link: Link, reason: ConnectionError | undefined): void {
    this.#links.delete(link);
    this.#totals.end(link.connection.stats());
    if (this.#link === link) this.#next(link, reason === undefined, reason);
    this.#advance();
    this.#finish();
  }

  /** Goes on after a connection: at once, if it was of use and its peer said goodbye. */
  #next(
    link: Link,
    goodbye: boolean,
    cause: ConnectionError | undefined,
  ): void {
    const { retry, clock } = this.#setup;
    this.#link = undefined;
    link.left = true;
    const lasted = clock.now() - link.since >= retry.cap;
    if (link.served || lasted) this.#failures = this.#denials = 0;
    if (cause?.code === "unauthenticated") this.#denials++;
    const drained = this.#closing !== undefined && this.#room.size === 0;
    if (this.#over || drained) return;
    if (goodbye && link.served) this.#dial();
    else this.#backOff(cause, !link.served && !lasted);
  }

  /** Waits for the next dial; or ends, if what there was counts as a dial that led nowhere, and was the last. */
  #backOff(cause: unknown, counts: boolean): void {
    if (this.#over) return;
    const { retry } = this.#setup;
    if (counts) this.#failures++;
    if (this.#denials >= 2) return this.#end(cause as ConnectionError);
    if (this.#failures >= retry.attempts) {
      const text = `${this.#failures} dials in a row have failed`;
      this.#end(new ConnectionError("unavailable", text, { cause }));
      return;
    }
    const delay = backoff(Math.max(0, this.#failures - 1), retry);
    this.#waits = true;
    this.#timer.set(delay, () => this.#dial());
    this.#tell("waiting", cause, delay);
    this.#advance();
  }

  #tell(
    state: "connecting" | "ready" | "waiting",
    cause?: unknown,
    delay?: number,
  ): void {
    // To its user a closed client drains, whatever it does to that end.
    if (this.#closing !== undefined) return;
    this.state.set(state, this.#failures, cause, delay);
  }

  // Ending.

  close(timeout: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    this.#closing = this.#closed.promise.then(ignore);
    if (this.#over) return this.#closing;
    this.#drainEnd = this.#setup.clock.now() + timeout;
    this.#drainTimer.set(timeout, () => {
      const text = `the drain did not finish within ${timeout} ms`;
      const reason = new ConnectionError("deadline_exceeded", text);
      this.#end(reason);
      // The last one has this limit of its own, and may say goodbye.
      for (const { left, connection } of this.#links) {
        if (left) connection.abort(reason);
        else connection.close({ timeout: 0 });
      }
    });
    const refusal = this.#refusal();
    this.#gate.close(() => refusal);
    this.state.set("draining", this.#failures);
    // Not in this turn, as a connection's.
    queueMicrotask(() => this.#advance());
    return this.#closing;
  }

  /** Ends everything at once. */
  stop(reason: unknown): Promise<void> {
    const text = "the client was aborted";
    this.#end(new ConnectionError("cancelled", text, { cause: reason }));
    const ends = [...this.#links].map((link) => link.connection.abort(reason));
    return Promise.all(ends).then(ignore);
  }

  /** Goes on with a drain: once nothing waits here, connections drain; once they have, it is over. */
  #advance(): void {
    if (this.#closing === undefined || this.#over) return;
    if (this.#room.size > 0) return;
    this.#rest();
    const timeout = Math.max(0, this.#drainEnd - this.#setup.clock.now());
    for (const { connection } of this.#links) connection.close({ timeout });
    if (this.#links.size === 0) this.#end(undefined);
  }

  /** Neither dials nor waits. */
  #rest(): void {
    this.#attempt?.cancel(this.#reason);
    this.#attempt = undefined;
    this.#waits = false;
    this.#timer.clear();
  }

  /** The one teardown; the first reason wins. Connections that still finish calls go on. */
  #end(reason: ConnectionError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#reason = reason;
    this.#link = undefined;
    this.#rest();
    this.#drainTimer.clear();
    this.#gate.close(() => this.#refusal());
    this.#room.end(() => this.#refusal());
    this.state.set("closed", this.#failures, reason);
    this.#finish();
  }

  #finish(): void {
    if (this.#over && this.#links.size === 0) {
      this.#closed.resolve(this.#reason);
    }
  }

  #refusal(): RpcError {
    const text = "this client has been closed";
    return unavailable(
      this.#reason ?? new ConnectionError("unavailable", text),
    );
  }

  // Numbers.

  stats(): ReconnectingStats {
    const links = [...this.#links].map((link) => link.connection.stats());
    const sum = this.#totals.sum(links);
    return {
      ...sum,
      state: this.state.current,
      dials: this.#dials,
      failures: this.#failures,
      connections: links.length,
      connected: this.#connected,
      waiting: this.#room.size,
      waitingBytes: this.#room.bytes,
      resent: this.#resent,
      settled: { ...this.#settled },
      listeners: this.#room.ledger.listeners + sum.listeners,
      timers: this.#deadlines.size + sum.timers,
      rtt: this.#link?.connection.rtt,
    };
  }

  calls(): LiveCall[] {
    const away = { now: this.#setup.clock.now(), remote: undefined };
    const waiting = this.#room.all().map((call): LiveCall => ({
      ...madeCall(call, false, away),
      state: "away",
    }));
    const links = [...this.#links];
    return [...links.flatMap((link) => link.connection.calls()), ...waiting];
  }
}

/** A reconnecting client in numbers, as of now: those of its connections added up; what only grows, over those that are gone as well. */
export interface ReconnectingStats
  extends
    Omit<SummedStats, "held" | "heldBytes" | "running" | "waiting" | "served"> {
  /** Where it is. */
  readonly state: ClientState;
  /** Dials so far. */
  readonly dials: number;
  /** Dials in a row that have led nowhere. */
  readonly failures: number;
  /** Connections that live: the one that takes calls, and older ones that finish theirs. */
  readonly connections: number;
  /** Connections made so far. */
  readonly connected: number;
  /** Calls that wait for a connection. */
  readonly waiting: number;
  /** Bytes of those, about. */
  readonly waitingBytes: number;
  /** Calls that a connection handed back to be sent again, so far. */
  readonly resent: number;
  /** The latest round-trip time of the connection that takes calls, in ms; undefined until a PING was answered. */
  readonly rtt: number | undefined;
}

/** Whether its user has ended it, in whatever way. */
function isAborted({ aborted, options }: RetriedCall): boolean {
  return aborted || options?.signal?.aborted === true ||
    options?.ctx?.signal.aborted === true;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof ConnectionError ? error.code : undefined;
}

function ignore(): void {}
