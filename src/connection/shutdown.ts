/**
 * How a connection ends: warning, GOAWAY, drain, half-close, and the one
 * teardown.
 *
 * Each side has a state of its own, and both states only move forward.
 * `docs/semantics.md` has the table of every state and event;
 * `tests/connection/shutdown_states_test.ts` has a test for each cell.
 *
 * - A side that serves calls closes in two steps. It warns its peer, which then
 *   makes no new call, sends those that wait, and says so with LAST. Until that
 *   arrives every call is accepted; the GOAWAY that follows excludes none. A peer
 *   that is quiet for a second need not send LAST.
 * - There is one teardown, `end`. The first reason wins.
 * - Calls are settled before anything is waited for.
 * - A drain waits for the calls that were accepted, but not for a handler that
 *   closed its own connection. It lasts no longer than the shortest time that a
 *   `close` has asked for, and flush and linger no longer than `FINISH_TIME`
 *   after that.
 * - Every state but open has a limit. Only a call in flight, to or from a peer
 *   that still answers PINGs, lets a drain of the peer last longer.
 * - A peer that still reads learns what became of its calls: those that were
 *   never started are refused, and the local calls that nobody waits for are
 *   cancelled.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import {
  ConnectionError,
  isErrorCode,
  printMs,
  protocolError,
  quote,
} from "../base/errors.ts";
import { Timeout, type TimerHeap } from "../base/timers.ts";
import type { CloseOptions, Limits } from "../types/connection.ts";
import type { ConnectionStats } from "../types/stats.ts";
import type { Codec } from "../wire/codec.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { ConnectionStreams } from "../streams/contract.ts";
import type { PendingCalls } from "../call/pending_calls.ts";
import type {
  IncomingCalls,
  MemoryShare,
  PeerGate,
  Watchdog,
} from "./contract.ts";
import type { Linger } from "./linger.ts";
import type { Ping } from "./ping.ts";
import type { SendBuffer } from "./send_buffer.ts";

/** What the shutdown needs of its connection. */
export interface ShutdownContext {
  readonly channel: ByteChannel;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly scheduler: WriteScheduler | undefined;
  readonly deadlines: TimerHeap;
  readonly pending: PendingCalls;
  readonly incoming: IncomingCalls;
  readonly pings: Ping;
  readonly peerGoaway: PeerGoaway;
  readonly linger: Linger;
  readonly gate: PeerGate | undefined;
  readonly watchdog: Watchdog | undefined;
  readonly reader: {
    /** Discards what arrives from now on. Resolves when reading has ended, for whatever reason. */
    finish(): Promise<void>;
  };
  readonly share: MemoryShare | undefined;
  /** The connection's streams, made when they are first used. */
  streams(): ConnectionStreams | undefined;
}

/** How long a drain may take unless its `close` says otherwise, in ms. */
export const DRAIN_TIME = 5000;
/** How long flush and linger may take together once the time that `close` gave is over, in ms. */
export const FINISH_TIME = 1000;
/** How long the FIN may take that follows a GOAWAY with a code, in ms. */
const FAILED_TIME = 5000;
/** How long a connection may be without a call in either direction once the peer has sent GOAWAY, in ms. Then it closes. */
const DRAINING_IDLE_TIME = 5000;

/** Neither side has begun to close. */
const OPEN = 0;
/** A warning or GOAWAY was sent: by a local `close`, or by the peer without a code. */
const DRAINING = 1;

/** Local: every call is settled, and the rest of the send buffer is written. */
const FLUSHING = 2;
/** Local: FIN was sent, and the peer's is waited for. */
const LINGERING = 3;
/** Local: the transport was given up. */
const CLOSED = 4;

/** Peer: it sent GOAWAY with a code, and answers nothing any more. */
const FAILED = 2;
/** Peer: it sent FIN after a GOAWAY without a code, and only reads. Any other FIN ends the connection at once. */
const HALF_CLOSED = 3;

/**
 * What is written before FIN, behind the calls that are settled: `flush` what
 * the send buffer has; `goaway` that and a GOAWAY; `cancel` also CANCELs and
 * refusals for the calls that are given up, before the GOAWAY; `discard` only a
 * GOAWAY, without what the transport has not taken yet; `destroy` nothing.
 */
export type CloseMode = "flush" | "goaway" | "cancel" | "discard" | "destroy";

/** Ends one connection. */
export class Shutdown {
  readonly #context: ShutdownContext;
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Resolves with what went wrong when the connection is over. */
  readonly closed: Promise<ConnectionError | undefined> = this.#closed.promise;
  #local = OPEN;
  #peer = OPEN;
  /** Made when somebody asks for it. */
  #draining: PromiseWithResolvers<void> | undefined;
  /** Made by the first `close`; the same for all. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** When the calls of a drain must have ended: the earliest time that a `close` has asked for. */
  #closeBy = Infinity;
  readonly #closeTimer: Timeout;
  /** The limit of the peer's state. */
  readonly #peerTimer: Timeout;
  /** Handlers that closed their own connection: the drain does not wait for them. */
  readonly #closers = new Set<object>();
  /** Whether the connection ends once no call is left: the local side drains, or the peer only reads. */
  #endsWhenDone = false;
  /** Whether the peer was warned, and may still send calls. */
  #warned = false;
  /** Whether the peer sends no call any more: its LAST has arrived, or more than that. */
  #peerLast = false;
  /** What the local GOAWAY said; a later one may not say more. */
  #goaway: { readonly lastId: number | undefined } | undefined;

  constructor(context: ShutdownContext) {
    const { clock, deadlines } = context;
    this.#context = context;
    this.#closeTimer = new Timeout(clock, deadlines);
    this.#peerTimer = new Timeout(clock, deadlines);
  }

  /** The state that `stats` shows. */
  get state(): ConnectionStats["state"] {
    if (this.#local === CLOSED) return "closed";
    if (this.ended) return "finishing";
    return this.#endsWhenDone ? "draining" : "open";
  }

  /** See {@linkcode Connection.draining}. */
  get draining(): Promise<void> {
    const draining = this.#draining ??= Promise.withResolvers();
    if (this.#local > OPEN || this.#peer > OPEN) draining.resolve();
    return draining.promise;
  }

  /** Whether every call has been settled; what arrives is discarded. */
  get ended(): boolean {
    return this.#local >= FLUSHING;
  }

  /** Whether the peer has sent its FIN in order, and only reads. */
  get peerHalfClosed(): boolean {
    return this.#peer === HALF_CLOSED;
  }

  /** Moves the local state forward; returns false if it is there or further already. */
  #enter(state: number): boolean {
    if (state <= this.#local) return false;
    this.#local = state;
    this.#draining?.resolve();
    return true;
  }

  /** The same for the peer's state, which a connection that ended does not follow. */
  #peerEnters(state: number): boolean {
    if (this.ended || state <= this.#peer) return false;
    this.#peer = state;
    this.#peerLast ||= state > DRAINING;
    this.#draining?.resolve();
    return true;
  }

  // The local side closes.

  /** See {@linkcode Connection.close}. */
  close({ timeout, streams, ctx }: CloseOptions): Promise<void> {
    const { incoming, gate } = this.#context;
    checkTimeout(timeout);
    const closer = ctx ?? incoming.current;
    if (closer !== undefined) this.#closers.add(closer);
    const first = this.#closing === undefined;
    const closing = this.#closing ??= Promise.withResolvers();
    if (first) this.closed.then(() => closing.resolve());
    if (first || timeout !== undefined) {
      this.#closeWithin(timeout ?? DRAIN_TIME);
    }
    // Before authorization no call has been accepted that could be finished.
    if (gate?.pending) this.end(undefined, "goaway");
    else if (this.#enter(DRAINING)) this.#drain(timeout !== 0);
    if (streams === "end" && !this.ended) this.#endResults();
    // Not in this turn: a drain begun by a handler must not outrun its reply.
    queueMicrotask(() => this.advance());
    return closing.promise;
  }

  /** With `waits` there is time for calls that are on their way. */
  #drain(waits: boolean): void {
    const { pending, incoming } = this.#context;
    this.#endsWhenDone = true;
    pending.queue.refuseNew(new ConnectionError("unavailable", CLOSING));
    // A peer that is quiet for long enough need not send LAST.
    this.#warned = waits && !this.#peerLast &&
      incoming.warn?.(CLOSING, () => this.onLast()) === true;
    if (!this.#warned) this.#refuseLater();
  }

  /** The only or the second step: no call is accepted any more. */
  #refuseLater(): void {
    this.#context.incoming.drain(CLOSING);
    // Without a warning, a peer that has sent its FIN has no call to be told of.
    if (this.#warned || !this.peerHalfClosed) this.#sendGoaway();
    this.#warned = false;
  }

  #endResults(): void {
    const { codec, incoming } = this.#context;
    const { drainReason } = incoming;
    // `ctx.draining` has fired already: a last item that a handler makes then is still sent.
    if (codec.features.streams && drainReason !== undefined) {
      this.#context.streams()?.endResults(drainReason);
    }
  }

  /** The earliest of all times that were asked for holds. */
  #closeWithin(timeout: number): void {
    const by = this.#context.clock.now() + timeout;
    if (by >= this.#closeBy) return;
    this.#closeBy = by;
    if (this.ended) this.#context.linger.within(timeout + FINISH_TIME);
    else {
      this.#endAfter(
        this.#closeTimer,
        timeout,
        "the drain did not finish within ",
      );
    }
  }

  /** Gives up after `ms`, unless the peer's LAST is all that is missing. */
  #endAfter(timer: Timeout, ms: number, text: string): void {
    timer.set(ms, () => {
      const { pending, incoming } = this.#context;
      if (this.#warned && pending.empty && incoming.countOpen() === 0) {
        return this.end(undefined, "goaway");
      }
      const error = new ConnectionError(
        "deadline_exceeded",
        text + printMs(ms),
      );
      this.end(error, "cancel");
    });
  }

  // The peer closes.

  /** The peer has sent GOAWAY, before its HELLO (then nothing but its FIN follows) or after it. */
  onGoaway(): void {
    const { peerGoaway, incoming, pending, watchdog } = this.#context;
    const { reason, fault } = peerGoaway;
    if (this.ended || reason === undefined) return;
    const { helloReceived } = pending.inFlight.window;
    if (helloReceived === undefined) return this.#leave(fault);
    if (!this.#peerEnters(fault === undefined ? DRAINING : FAILED)) return;
    incoming.signalDraining(reason.message);
    watchdog?.limitIdle(DRAINING_IDLE_TIME);
    if (fault !== undefined) {
      this.#peerTimer.set(FAILED_TIME, () => this.#leave(fault));
      this.advance();
    }
  }

  /** The peer has sent LAST, or counts as if it had. */
  onLast(): void {
    this.#peerLast = true;
    this.advance();
  }

  /** Ends the connection with a peer that answers nothing any more, and whose FIN has not arrived. */
  #leave(fault: ConnectionError | undefined): void {
    if (this.#goaway === undefined) this.#sendGoaway();
    this.end(fault, "flush");
  }

  /** The peer has sent its FIN in order: it sends no reply any more, but still reads the replies to its own calls. */
  onPeerHalfClose(reason: ConnectionError): void {
    const { limits, channel, pending, pings, incoming, watchdog } =
      this.#context;
    if (!this.#peerEnters(HALF_CLOSED)) return;
    this.#endAfter(
      this.#peerTimer,
      limits.halfCloseTimeout,
      "the peer's calls did not finish after its FIN within ",
    );
    channel.watch((cause) => this.onConnectionLost("writing failed", cause));
    watchdog?.onPeerHalfClose();
    // Each of these may end a drain, or run the user's code, which may end it all.
    pending.end(reason);
    pings.end(reason);
    incoming.onPeerHalfClose(reason);
    // Made if there are none yet: a handler that runs may still answer with one.
    this.#context.streams()?.onPeerHalfClose();
    this.#endsWhenDone = !this.ended;
    this.advance();
  }

  /** Takes the next step of a drain if all that it waits for has happened. */
  advance(): void {
    const { pending, incoming, sendBuffer, peerGoaway } = this.#context;
    if (!this.#endsWhenDone) return;
    if (this.#warned) {
      if (!this.#peerLast) return;
      this.#refuseLater();
    }
    if (!pending.empty) return;
    if (this.#closers.size > 0 && incoming.countOpen(this.#closers) === 0) {
      this.#closing?.resolve();
    }
    if (incoming.countOpen() > 0 || !sendBuffer.idle) return;
    this.end(peerGoaway.fault, "flush");
  }

  // The connection ends.

  /** See {@linkcode Connection.abort}. */
  async abort(cause: unknown): Promise<void> {
    const text = "the connection was aborted";
    this.end(new ConnectionError("cancelled", text, { cause }), "destroy");
    // One that is flushing or lingering stops at once, too.
    this.#context.linger.destroy();
    await this.closed;
  }

  /** The transport failed. */
  onConnectionLost(what: string, cause: unknown): void {
    const text = `the connection was lost: ${what}`;
    this.end(new ConnectionError("unavailable", text, { cause }), "destroy");
  }

  /**
   * The one teardown: settles the calls, writes what `how` says, sends FIN,
   * lingers. A peer that was not authorized yet receives only the GOAWAY.
   */
  end(reason: ConnectionError | undefined, how: CloseMode): void {
    if (!this.#enter(FLUSHING)) return;
    const {
      codec,
      sendBuffer,
      scheduler,
      linger,
      pending,
      pings,
      gate,
      clock,
    } = this.#context;
    this.#endsWhenDone = this.#warned = false;
    codec.stop();
    const denied = gate?.drop() === true;
    if (denied) this.#goaway = { lastId: undefined };
    // Where the protocol has no GOAWAY, refusals and CANCELs say what its code would.
    const notify = !denied &&
      (how === "cancel" || (how === "goaway" && !codec.features.goaway));
    // Within `maxSendBuffer`, as all that a peer makes this side write; the GOAWAY always fits.
    this.#settleAll(
      reason ??
        new ConnectionError("unavailable", "the connection was closed"),
      notify,
    );
    sendBuffer.conclude();
    if (denied || how === "discard" || how === "destroy") scheduler?.discard();
    else scheduler?.finish();
    const reading = this.#context.reader.finish();
    if (denied || how === "discard") {
      sendBuffer.discard();
      pings.discard();
      pending.inFlight.freeRetracted();
    }
    if (how === "destroy") linger.destroy();
    else if (how !== "flush") this.#sendGoaway(reason?.code, reason?.message);
    linger.run(reading, () => this.#enter(LINGERING)).then(() => {
      this.#enter(CLOSED);
      this.#context.share?.end();
      this.#closed.resolve(reason);
    });
    // After `#settleAll`, which clears all timers.
    linger.within(Math.max(0, this.#closeBy - clock.now()) + FINISH_TIME);
  }

  /** Settles every call. With `notify` the peer receives CANCEL for the local calls, and a refusal of those of its calls that were not started. */
  #settleAll(why: ConnectionError, notify: boolean): void {
    const { codec, pending, incoming, pings, watchdog, deadlines } =
      this.#context;
    pending.end(why, notify);
    if (notify) {
      const { lastId } = this.#goaway ?? incoming.receiveWindow;
      const last = incoming.refuseUnstarted(lastId);
      if (codec.features.goaway) this.#goaway = { lastId: last };
    }
    incoming.end(why);
    pings.end(why);
    watchdog?.stop();
    deadlines.clear();
  }

  #sendGoaway(code = "", text = ""): void {
    const { codec, sendBuffer, incoming } = this.#context;
    if (!codec.features.goaway) return;
    this.#goaway ??= { lastId: incoming.receiveWindow.lastId };
    codec.goaway(sendBuffer, this.#goaway.lastId, code, text);
  }
}

/**
 * Checks the `timeout` of a `close`.
 *
 * @throws {TypeError} If it is not a number.
 */
export function checkTimeout(timeout: number | undefined): void {
  if (timeout === undefined || timeout === timeout) return;
  throw new TypeError("Cannot close: timeout is not a number");
}

/** Why a side that closes takes no calls. */
const CLOSING = "the connection is closing";

/** How many GOAWAYs of one peer are accepted. This library sends at most three: a warning, that it drains, and that it ends by an error. */
export const MAX_GOAWAYS = 16;

/** The message of the error, on both sides, when a client is not authorized. */
export const DENIED = "the server did not accept the credentials";

/** The error that a GOAWAY stands for; a plain drain has no code. */
function goawayError(code: string, text: string): ConnectionError {
  const known = isErrorCode(code) ? code : "unavailable";
  return new ConnectionError(known, describe(code, text));
}

function describe(code: string, text: string): string {
  if (code === "") return "the peer is closing the connection";
  const quoted = quote(text, 256);
  if (code !== "unauthenticated") {
    return `the peer closed the connection: ${quote(code)} ${quoted}`;
  }
  return text === "" || text === DENIED ? DENIED : `${DENIED}: ${quoted}`;
}

/** What the peer's GOAWAYs have said so far. */
export class PeerGoaway {
  /** Why no new call is taken; undefined until the first has arrived. */
  reason: ConnectionError | undefined;
  /** What went wrong, if it was no plain drain. */
  fault: ConnectionError | undefined;
  /** The count of the last call that the peer serves; Infinity before it has said more than a warning. */
  last = Infinity;
  #count = 0;

  /**
   * Records a GOAWAY that serves ids up to `last`, a 53-bit count; Infinity for a
   * warning. Returns why the peer closes; undefined if this one says nothing new.
   *
   * @throws {ConnectionError} `protocol_error`, if its id is higher than that of
   *   an earlier one; `resource_exhausted`, if it is one too many.
   */
  record(
    last: number,
    code: string,
    text: string,
  ): ConnectionError | undefined {
    if (last > this.last) {
      protocolError("a second GOAWAY with a higher id than the first");
    }
    if (++this.#count > MAX_GOAWAYS) {
      throw new ConnectionError(
        "resource_exhausted",
        `the peer sent more than ${MAX_GOAWAYS} GOAWAYs`,
      );
    }
    const failed = code !== "" && this.fault === undefined;
    if (last === this.last && this.reason && !failed) return undefined;
    this.last = last;
    const reason = goawayError(code, text);
    this.reason ??= reason;
    if (failed) this.fault = reason;
    return reason;
  }
}
