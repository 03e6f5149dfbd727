/**
 * The state of a reconnecting client, and how a program watches it.
 *
 * Invariants:
 * - `onStateChange` is called for every change, in order, once.
 * - An iterator over the states holds one state, not a history: a slow reader
 *   gets the latest state, and an iterator that is never read costs nothing.
 *
 * @module
 */

import { callHook } from "../../base/user_code.ts";
import type { TotalStats } from "../../types/stats.ts";

/**
 * The state of a {@linkcode ReconnectingClient}:
 *
 * - `connecting`: a dial is in progress, or the client waits for the HELLO of the
 *   server;
 * - `ready`: there is a connection that takes calls;
 * - `waiting`: the client waits before it dials again;
 * - `draining`: the client was closed, and finishes the calls it has accepted;
 * - `closed`: the client has ended.
 */
export type ClientState =
  | "connecting"
  | "ready"
  | "waiting"
  | "draining"
  | "closed";

/** Details of a change of state. */
export interface StateDetail {
  /** The state before. */
  readonly from: ClientState;
  /** What the dial or the connection failed with, if that changed the state. */
  readonly cause: unknown;
  /** Milliseconds until the next dial, if the state is `waiting`; else `undefined`. */
  readonly delay: number | undefined;
  /** Dials in a row that failed. */
  readonly failures: number;
}

/** Called on every change of state, in order, in a microtask after it. Exceptions it throws are ignored. */
export type StateListener = (state: ClientState, detail: StateDetail) => void;

/** A state that can be watched. */
export class StateCell {
  /** The state now. */
  current: ClientState = "connecting";
  /** Resolves at the next change; made when an iterator waits for it. */
  #change: PromiseWithResolvers<void> | undefined;
  readonly #listener: StateListener | undefined;

  constructor(listener: StateListener | undefined) {
    this.#listener = listener;
  }

  /** Changes the state. Has no effect if it is the current one. */
  set(
    state: ClientState,
    failures: number,
    cause?: unknown,
    delay?: number,
  ): void {
    const from = this.current;
    if (state === from) return;
    this.current = state;
    this.#change?.resolve();
    this.#change = undefined;
    const detail: StateDetail = { from, cause, delay, failures };
    const hook = { listener: this.#listener };
    if (hook.listener === undefined) return;
    // Not now: the state changes in the middle of work that a listener could disturb.
    queueMicrotask(() => callHook(hook, "listener", state, detail));
  }

  /** Yields the state now, then the latest one after each change. Ends after `closed`. */
  async *watch(): AsyncGenerator<ClientState, void, void> {
    let latest: ClientState | undefined;
    for (;;) {
      const state = this.current;
      if (state !== latest) yield latest = state;
      if (state === "closed") return;
      // The state may have changed while the reader was busy.
      if (this.current !== latest) continue;
      await (this.#change ??= Promise.withResolvers()).promise;
    }
  }
}

/**
 * The numbers of a reconnecting client at one moment. Each gauge is the sum over
 * its open connections, each counter the sum over all its connections so far.
 */
export interface ReconnectingStats extends
  Omit<
    TotalStats,
    | "receiving"
    | "receivingBytes"
    | "running"
    | "waiting"
    | "ordered"
    | "served"
  > {
  /** The state. */
  readonly state: ClientState;
  /** Dials so far. */
  readonly dials: number;
  /** Dials in a row that failed, or led to a connection that neither replied to a call nor lived for `retry.stableAfter`. */
  readonly failures: number;
  /** Open connections: the one that takes calls, and older ones that finish theirs. */
  readonly connections: number;
  /** Connections that have been ready so far. */
  readonly connected: number;
  /** Calls that wait for a connection. */
  readonly waiting: number;
  /** Approximate bytes of the calls that wait for a connection. */
  readonly waitingBytes: number;
  /** Calls so far that a connection had accepted and gave back to be sent again; 0 with `resend: "never"`. */
  readonly resent: number;
  /** The latest round-trip time of the connection that takes calls, in ms; `undefined` before the first reply to a PING. */
  readonly rtt: number | undefined;
}
