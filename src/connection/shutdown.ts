/**
 * How a connection ends: what moves it from one of its `ending_states.ts` to
 * the next.
 *
 * Invariants owned here:
 * - One teardown, `end`; the first reason wins.
 * - Calls are settled before anything is waited for.
 * - A drain waits for what was accepted, but not for a handler that closed its
 *   own connection. It lasts no longer than the shortest time that a `close`
 *   has asked for, and all that follows no longer than `GOODBYE_TIME` after.
 * - A peer that can still hear is told what became of its calls: those that
 *   were never started are refused, and ours that nobody waits for cancelled.
 *
 * @module
 */

import type { MemoryShare, PeerGate, ServeSide, Watchdog } from "./contract.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { Clock } from "../base/clock.ts";
import type { Codec } from "../wire/codec.ts";
import type { ConnectionStats } from "../types/stats.ts";
import type { CloseOptions, Limits } from "../types/connection.ts";
import { Timeout, type TimerHeap } from "../base/timers.ts";
import {
  DRAIN_TIME,
  GOODBYE_TIME,
  LEAVING_IDLE,
  ShutdownStates,
} from "./shutdown_states.ts";
import {
  ConnectionError,
  isErrorCode,
  printMs,
  quote,
} from "../base/errors.ts";
import type { Linger } from "./linger.ts";

import type { SendBuffer } from "./send_buffer.ts";
import type { PendingCalls } from "../call/pending_calls.ts";
import type { Ping } from "./ping.ts";
import type { ConnectionStreams } from "../streams/contract.ts";

/** What the ending needs of its connection. */
export interface ShutdownContext {
  readonly channel: ByteChannel;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly deadlines: TimerHeap;
  readonly pending: PendingCalls;
  readonly serveSide: ServeSide;
  readonly pings: Ping;
  readonly peerGoaway: PeerGoaway;
  readonly linger: Linger;
  readonly gate: PeerGate | undefined;
  readonly watchdog: Watchdog;
  readonly reader: {
    /** What comes is only discarded from now on. Resolves when reading has ended, for whatever reason. */
    finish(): Promise<void>;
  };
  /** What the connection holds, as its server counts it. */
  readonly share: MemoryShare | undefined;
  /** The connection's streams, made when they are asked for. */
  streams(): ConnectionStreams | undefined;
}

/** What is said last: what there is; a GOAWAY behind that; what became of the calls that are given up, and a GOAWAY; only a GOAWAY; or nothing. */
export type CloseMode = "flush" | "goaway" | "giveUp" | "shed" | "destroy";

/** Ends one connection. */
export class Shutdown {
  readonly #context: ShutdownContext;
  readonly #states = new ShutdownStates();
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Made by the first `close`; the same for all. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** By when the calls of a drain must have ended: the earliest that a `close` has asked for. */
  #closeBy = Infinity;
  readonly #closeTimer: Timeout;
  /** For the state that the peer is in. */
  readonly #peerTimer: Timeout;
  /** Handlers that closed their own connection; not waited for. */
  readonly #excused = new Set<object>();
  /** Whether it ends once nothing is left to be done: this end drains, or the peer only reads. */
  #finishes = false;
  /** What our GOAWAY said; a later one may not say more. */
  #goaway: { readonly lastId: number | undefined } | undefined;

  constructor(context: ShutdownContext) {
    const { clock, deadlines } = context;
    this.#context = context;
    this.#closeTimer = new Timeout(clock, deadlines);
    this.#peerTimer = new Timeout(clock, deadlines);
  }

  /** The state as `stats` tells it. */
  get state(): ConnectionStats["state"] {
    const { own, over } = this.#states;
    if (own === "closed") return own;
    if (over) return "finishing";
    return this.#finishes ? "draining" : "open";
  }

  /** Whether every call has been settled, and what comes is only discarded. */
  get over(): boolean {
    return this.#states.over;
  }

  /** Whether the peer has sent its FIN in order, and only reads. */
  get halfClosed(): boolean {
    return this.#states.peer === "halfClosed";
  }

  /** Resolves when it is over, with what went wrong. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.#closed.promise;
  }

  // This end closes.

  /** See {@linkcode Connection.close}. */
  close(options: CloseOptions): Promise<void> {
    const { serveSide, gate } = this.#context;
    const { timeout, streams } = options;
    checkTimeout(timeout);
    const excused = options.ctx ?? serveSide.current;
    if (excused !== undefined) this.#excused.add(excused);
    const first = this.#closing === undefined;
    const closing = this.#closing ??= Promise.withResolvers();
    if (first) this.closed.then(() => closing.resolve());
    if (first || timeout !== undefined) {
      this.#closeWithin(timeout ?? DRAIN_TIME);
    }
    // Nothing has been accepted that could be finished.
    if (gate?.pending) this.end(undefined, "goaway");
    else if (this.#states.enter("draining")) this.#drain();
    if (streams === "end" && !this.over) this.#endResults();
    // Not in this turn: a drain begun by a handler must not outrun its answer.
    queueMicrotask(() => this.advance());
    return closing.promise;
  }

  #drain(): void {
    const { pending, serveSide } = this.#context;
    const text = "this end has closed the connection";
    this.#finishes = true;
    pending.queue.refuseNew(new ConnectionError("unavailable", text));
    serveSide.drain(text);
    // A peer that has sent its FIN makes no calls any more.
    if (!this.halfClosed) this.#sayGoaway("", "");
  }

  #endResults(): void {
    const { codec, serveSide } = this.#context;
    // Their handlers have been told already: an item made in farewell is still sent.
    if (codec.features.streams && serveSide.leaving !== undefined) {
      this.#context.streams()?.endResults(serveSide.leaving);
    }
  }

  /** The earliest of all times that were asked for holds. */
  #closeWithin(timeout: number): void {
    const by = this.#context.clock.now() + timeout;
    if (by >= this.#closeBy) return;
    this.#closeBy = by;
    if (this.over) this.#context.linger.within(timeout + GOODBYE_TIME);
    else this.#closeTimer.set(timeout, () => this.#late(timeout));
  }

  #late(timeout: number): void {
    const text = `the drain did not finish within ${printMs(timeout)}`;
    this.end(new ConnectionError("deadline_exceeded", text), "giveUp");
  }

  // The peer closes.

  /** The peer has said GOAWAY, before its HELLO (then nothing but its FIN follows) or behind it. */
  goaway(greeted: boolean): void {
    const { peerGoaway, serveSide, limits, watchdog } = this.#context;
    const { reason, fault } = peerGoaway;
    if (this.over || reason === undefined) return;
    if (!greeted) return this.#leave(fault);
    const limit = this.#states.peerEnters(
      fault === undefined ? "draining" : "failed",
      limits,
    );
    if (limit === undefined) return;
    serveSide.tellDraining(reason.message);
    watchdog.leave(LEAVING_IDLE);
    this.#peerTimer.set(limit, () => this.#leave(fault));
  }

  /** The peer answers nothing any more, and its FIN has not come. */
  #leave(fault: ConnectionError | undefined): void {
    if (this.#goaway === undefined) this.#sayGoaway("", "");
    this.end(fault, "flush");
  }

  /** The peer's FIN has come, in order: nothing can be answered any more; what is served still is, within the state's limit. */
  halfClose(reason: ConnectionError): void {
    const { limits, channel, pending, pings, serveSide, watchdog } =
      this.#context;
    const limit = this.#states.peerEnters("halfClosed", limits);
    if (limit === undefined) return;
    this.#peerTimer.set(limit, () => {
      const text =
        `the peer closed its half, and its calls did not finish within ${
          printMs(limit)
        }`;
      this.end(new ConnectionError("deadline_exceeded", text), "giveUp");
    });
    channel.watch((cause) => this.onConnectionLost("writing failed", cause));
    watchdog.onPeerHalfClose();
    // Each of these may end a drain, or be told to users, who may end it all.
    pending.end(reason);
    pings.end(reason);
    serveSide.halfClosed(reason);
    // Made if there are none yet: a handler that runs may still answer with one.
    this.#context.streams()?.onPeerHalfClose();
    this.#finishes = !this.over;
    this.advance();
  }

  /** Goes on with a drain if what it waits for has come about. */
  advance(): void {
    const { pending, serveSide, sendBuffer, peerGoaway } = this.#context;
    if (!this.#finishes || !pending.empty) return;
    if (this.#excused.size > 0 && serveSide.busy(this.#excused) === 0) {
      this.#closing?.resolve();
    }
    if (serveSide.busy() > 0 || !sendBuffer.idle) return;
    this.end(peerGoaway.fault, "flush");
  }

  // It ends.

  /** See {@linkcode Connection.abort}. */
  async abort(cause: unknown): Promise<void> {
    const text = "the connection was aborted";
    this.end(new ConnectionError("cancelled", text, { cause }), "destroy");
    // One that was lingering already stops at once too.
    this.#context.linger.destroy();
    await this.closed;
  }

  /** The transport failed. */
  onConnectionLost(what: string, cause: unknown): void {
    const text = `the connection was lost: ${what}`;
    this.end(new ConnectionError("unavailable", text, { cause }), "destroy");
  }

  /** The server's memory is spent, and most of it here. Returns whether it ended at once. */
  shed(reason: ConnectionError): boolean {
    const { over } = this;
    if (over) this.#context.linger.destroy();
    else this.end(reason, "shed");
    return over;
  }

  /**
   * The one teardown. Calls are settled before anything is waited for; then
   * the last words are flushed ("goaway" adds one; "giveUp" tells the peer of
   * the calls that nobody waits for or starts any more besides; "shed" takes
   * back all that has not been handed over), or nothing is ("destroy").
   * A peer that was not let in yet hears nothing but the GOAWAY.
   */
  end(reason: ConnectionError | undefined, how: CloseMode): void {
    if (!this.#states.enter("flushing")) return;
    const { codec, sendBuffer, linger, pings, gate, clock } = this.#context;
    this.#finishes = false;
    codec.stop();
    const why = reason ??
      new ConnectionError("unavailable", "the connection was closed");
    const denied = gate?.drop() === true;
    if (denied) this.#goaway = { lastId: undefined };
    // What a GOAWAY with a code says to the peer's handlers, CANCEL does where there is none.
    const told = how === "giveUp" ||
      (how === "goaway" && !codec.features.goaway);
    // Within `maxSendBuffer`, as all that the peer makes this end say; the GOAWAY always fits.
    this.#settleAll(why, told && !denied);
    sendBuffer.conclude();
    const reader = this.#context.reader.finish();
    if (denied || how === "shed") {
      sendBuffer.discard();
      pings.discard();
      this.#context.pending.inFlight.freeRetracted();
    }
    if (how === "destroy") linger.destroy();
    else if (how !== "flush") {
      this.#sayGoaway(reason?.code ?? "", reason?.message ?? "");
    }
    linger.run(reader, () => this.#states.enter("lingering")).then(() => {
      this.#states.enter("closed");
      this.#context.share?.end();
      this.#closed.resolve(reason);
    });
    // Behind what clears all timers.
    const rest = Math.max(0, this.#closeBy - clock.now()) + GOODBYE_TIME;
    linger.within(rest);
  }

  /** `tell` says whether the peer hears of the calls that end so: by CANCEL of ours, by a refusal of those it made that were not started. */
  #settleAll(why: ConnectionError, tell: boolean): void {
    const { pending, serveSide, pings, watchdog, deadlines } = this.#context;
    pending.end(why, tell);
    if (tell) this.#refuseUnstarted();
    serveSide.end(why);
    pings.end(why);
    watchdog.stop();
    deadlines.clear();
  }

  #refuseUnstarted(): void {
    const { codec, serveSide } = this.#context;
    const { lastId } = this.#goaway ?? serveSide;
    const last = serveSide.refuseUnstarted(lastId);
    if (codec.features.goaway) this.#goaway = { lastId: last };
  }

  #sayGoaway(code: string, text: string): void {
    const { codec, sendBuffer, serveSide } = this.#context;
    if (!codec.features.goaway) return;
    this.#goaway ??= { lastId: serveSide.lastId };
    codec.goaway(sendBuffer, this.#goaway.lastId, code, text);
  }
}

/**
 * Looks at what `close` was given.
 *
 * @throws {TypeError} If the time is not a number.
 */
export function checkTimeout(timeout: number | undefined): void {
  if (timeout === undefined || timeout === timeout) return;
  throw new TypeError("Cannot close: timeout is not a number");
}

/** How many GOAWAYs of one peer are taken. An end of this library sends at most two: that it drains, and that it ends by an error. */
export const MAX_GOAWAYS = 16;

/** What both ends say of a client that is not let in. */
export const DENIED = "the server did not accept the credentials";

/** Why the peer goes; a plain drain has no code. */
export function goawayError(code: string, text: string): ConnectionError {
  const known = isErrorCode(code) ? code : "unavailable";
  return new ConnectionError(known, describe(code, text));
}

function describe(code: string, text: string): string {
  if (code === "") return "the peer is closing the connection";
  const words = quote(text, 256);
  if (code !== "unauthenticated") {
    return `the peer closed the connection: ${quote(code)} ${words}`;
  }
  return text === "" || text === DENIED ? DENIED : `${DENIED}: ${words}`;
}

/** What the peer's GOAWAYs have said so far. */
export class PeerGoaway {
  /** Why calls above its id are refused; undefined until it has come. */
  reason: ConnectionError | undefined;
  /** What went wrong, if it was no plain drain. */
  fault: ConnectionError | undefined;
  #last = Infinity;
  #count = 0;

  /**
   * Takes note of one that serves ids up to `last`, a 53-bit count. Returns why
   * the peer goes; undefined if this one says nothing new.
   *
   * @throws {ConnectionError} `protocol_error`, if an earlier one said less;
   *   `resource_exhausted`, if it is one too many.
   */
  note(last: number, code: string, text: string): ConnectionError | undefined {
    if (last > this.#last) {
      throw new ConnectionError(
        "protocol_error",
        "a second GOAWAY with a higher id than the first",
      );
    }
    if (++this.#count > MAX_GOAWAYS) {
      throw new ConnectionError(
        "resource_exhausted",
        `the peer sent more than ${MAX_GOAWAYS} GOAWAYs`,
      );
    }
    const failed = code !== "" && this.fault === undefined;
    if (last === this.#last && !failed) return undefined;
    this.#last = last;
    const reason = goawayError(code, text);
    this.reason ??= reason;
    if (failed) this.fault = reason;
    return reason;
  }
}
