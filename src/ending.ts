/**
 * How far a connection has come, and how it ends.
 *
 * Invariants owned here:
 * - The state only moves forward: `open`, `draining` (we said GOAWAY and finish
 *   what was accepted), `finishing` (every call is settled; what was said is
 *   flushed, FIN, and what still comes is discarded), `closed`. One teardown,
 *   `end`; the first reason wins.
 * - Calls are settled before anything is waited for.
 * - A drain waits for what was accepted, but not for a handler that closed its
 *   own connection.
 *
 * @module
 */

import type { Share } from "./buffers.ts";
import type { Codec } from "./codec.ts";
import type { CloseOptions, ConnectionStats } from "./connection_options.ts";
import type { Deadlines, Timer } from "./deadlines.ts";
import type { Dispatch } from "./dispatch.ts";
import { ConnectionError, printMs } from "./errors.ts";
import type { Farewell } from "./farewell.ts";
import type { PeerGoaway } from "./goaway.ts";
import type { Outbox } from "./outbox.ts";
import type { Pending } from "./pending.ts";
import type { Pings } from "./pings.ts";
import type { Pongs } from "./pongs.ts";
import type { Verdict } from "./verdict.ts";
import type { Watchdog } from "./watchdog.ts";

/** What the ending needs of its connection. */
export interface EndingContext {
  readonly codec: Codec;
  readonly outbox: Outbox;
  readonly deadlines: Deadlines;
  readonly pending: Pending;
  readonly dispatch: Dispatch;
  readonly pings: Pings;
  readonly pongs: Pongs;
  readonly peerGoaway: PeerGoaway;
  readonly farewell: Farewell;
  /** What the connection itself waits for: the peer's HELLO, the end of a drain, of a flush, of lingering. */
  readonly timer: Timer;
  readonly verdict: Verdict | undefined;
  readonly watchdog: Watchdog;
  readonly reading: {
    /** What comes is only discarded from now on. Resolves when reading has ended, for whatever reason. */
    finish(): Promise<void>;
  };
  /** What the connection holds, as its server counts it. */
  readonly share: Share | undefined;
}

/** What is said last: what there is, a GOAWAY behind that, only a GOAWAY, or nothing. */
export type LastWords = "flush" | "goaway" | "shed" | "destroy";

/** Ends one connection. */
export class Ending {
  readonly #context: EndingContext;
  #state: ConnectionStats["state"] = "open";
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Made by the first `close`; the same for all. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** Handlers that closed their own connection; not waited for. */
  readonly #excused = new Set<object>();
  /** What our GOAWAY said; a later one may not say more. */
  #goaway: { readonly lastId: number | undefined } | undefined;

  constructor(context: EndingContext) {
    this.#context = context;
  }

  get state(): ConnectionStats["state"] {
    return this.#state;
  }

  /** Whether every call has been settled, and what comes is only discarded. */
  get over(): boolean {
    return this.#state === "finishing" || this.#state === "closed";
  }

  /** Resolves when it is over, with what went wrong. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.#closed.promise;
  }

  /** See {@linkcode Connection.close}. */
  close(options: CloseOptions): Promise<void> {
    const { dispatch, verdict } = this.#context;
    const excused = options.ctx ?? dispatch.current;
    if (excused !== undefined) this.#excused.add(excused);
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers();
      this.closed.then(() => this.#closing?.resolve());
      if (this.#state === "open" || verdict?.pending) {
        this.#drain(options.timeout ?? 5000);
      }
    }
    // Not in this turn: a drain begun by a handler must not outrun its answer.
    queueMicrotask(() => this.advance());
    return this.#closing.promise;
  }

  #drain(timeout: number): void {
    const { pending, dispatch, timer, verdict } = this.#context;
    // Nothing has been accepted that could be finished.
    if (verdict?.pending) return this.end(undefined, "goaway");
    this.#state = "draining";
    const text = "this end has closed the connection";
    pending.refuseNew(new ConnectionError("unavailable", text));
    dispatch.drain();
    this.#sayGoaway("", "");
    timer.set(timeout, () => {
      const text = `the drain did not finish within ${printMs(timeout)}`;
      this.end(new ConnectionError("deadline_exceeded", text), "goaway");
    });
  }

  /** The peer has closed its half, in order: what we serve is finished, as in a drain of ours. */
  halfClosed(): void {
    if (this.#state === "open") this.#state = "draining";
    this.advance();
  }

  /** Goes on with a drain if what it waits for has come about. */
  advance(): void {
    const { pending, dispatch, outbox, peerGoaway } = this.#context;
    if (this.#state !== "draining" || !pending.empty) return;
    if (this.#excused.size > 0 && dispatch.busy(this.#excused) === 0) {
      this.#closing?.resolve();
    }
    if (dispatch.busy() > 0 || !outbox.idle) return;
    this.end(peerGoaway.fault, "flush");
  }

  /** See {@linkcode Connection.abort}. */
  async abort(cause: unknown): Promise<void> {
    const text = "the connection was aborted";
    this.end(new ConnectionError("cancelled", text, { cause }), "destroy");
    // One that was lingering already stops at once too.
    this.#context.farewell.destroy();
    await this.closed;
  }

  /** The transport failed. */
  lose(what: string, cause: unknown): void {
    const text = `the connection was lost: ${what}`;
    this.end(new ConnectionError("unavailable", text, { cause }), "destroy");
  }

  /** The server's memory is spent, and most of it here. Returns whether it ended at once. */
  shed(reason: ConnectionError): boolean {
    const { over } = this;
    if (over) this.#context.farewell.destroy();
    else this.end(reason, "shed");
    return over;
  }

  /**
   * The one teardown. Calls are settled before anything is waited for; then
   * the last words are flushed ("goaway" adds one, "shed" takes back all that
   * has not been handed over), or nothing is ("destroy").
   * A peer that was not let in yet hears nothing but the GOAWAY.
   */
  end(reason: ConnectionError | undefined, how: LastWords): void {
    if (this.over) return;
    this.#state = "finishing";
    const { codec, outbox, farewell, pongs, verdict } = this.#context;
    codec.stop();
    const why = reason ??
      new ConnectionError("unavailable", "the connection was closed");
    this.#settleAll(why);
    const reading = this.#context.reading.finish();
    const denied = verdict?.drop() === true;
    if (denied) this.#goaway = { lastId: undefined };
    if (denied || how === "shed") {
      outbox.discard();
      pongs.discard();
      this.#context.pending.batchLost();
    }
    if (how === "destroy") farewell.destroy();
    else if (how !== "flush") {
      this.#sayGoaway(reason?.code ?? "", reason?.message ?? "");
    }
    farewell.run(reading).then(() => {
      this.#state = "closed";
      this.#context.share?.end();
      this.#closed.resolve(reason);
    });
  }

  #settleAll(why: ConnectionError): void {
    const { pending, dispatch, pings, watchdog, deadlines } = this.#context;
    pending.end(why);
    dispatch.end(why);
    pings.end(why);
    watchdog.stop();
    deadlines.clear();
  }

  #sayGoaway(code: string, text: string): void {
    const { codec, outbox, dispatch } = this.#context;
    if (!codec.features.goaway) return;
    this.#goaway ??= { lastId: dispatch.lastId };
    codec.goaway(outbox, this.#goaway.lastId, code, text);
  }
}
