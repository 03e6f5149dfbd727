/**
 * Where a reconnecting client is, for whoever wants to know.
 *
 * Invariants owned here:
 * - `onStateChange` is told every change, in order, once.
 * - An iterator holds one state, not a history: whoever reads slowly sees the
 *   latest, and one that is never read costs nothing.
 *
 * @module
 */

import { tellHook } from "../../base/user_code.ts";
import type { TotalStats } from "../../types/stats.ts";

/**
 * Where a {@linkcode ReconnectingClient} is: `connecting` (a dial, or the wait
 * for the peer's HELLO, is under way), `ready`, `waiting` (for the next dial),
 * `draining` (closed, and finishing what it accepted), `closed`.
 */
export type ClientState =
  | "connecting"
  | "ready"
  | "draining"
  | "waiting"
  | "closed";

/** What goes with a change of state. */
export interface StateDetail {
  /** The state before. */
  readonly from: ClientState;
  /** Why: what the dial or the connection failed with, if that is what changed it. */
  readonly cause: unknown;
  /** Milliseconds until the next dial; of `waiting` alone. */
  readonly delay: number | undefined;
  /** Dials in a row that have led nowhere. */
  readonly failures: number;
}

/** Told of every change; what it throws is lost. */
export type StateListener = (state: ClientState, detail: StateDetail) => void;

/** A state that can be watched. */
export class StateCell {
  #state: ClientState = "connecting";
  /** Resolves at the next change; made when somebody waits for it. */
  #change: PromiseWithResolvers<void> | undefined;
  readonly #listener: StateListener | undefined;

  constructor(listener: StateListener | undefined) {
    this.#listener = listener;
  }

  get current(): ClientState {
    return this.#state;
  }

  /** Changes it; no effect if that is where it is. */
  set(
    state: ClientState,
    failures: number,
    cause?: unknown,
    delay?: number,
  ): void {
    const from = this.#state;
    if (state === from) return;
    this.#state = state;
    this.#change?.resolve();
    this.#change = undefined;
    const detail: StateDetail = { from, cause, delay, failures };
    tellHook({ told: this.#listener }, "told", state, detail);
  }

  /** The state now, and then after each change the latest; ends after `closed`. */
  async *watch(): AsyncGenerator<ClientState, void, void> {
    let told: ClientState | undefined;
    for (;;) {
      const state = this.#state;
      if (state !== told) yield told = state;
      if (state === "closed") return;
      // It may have changed, even to and fro, while the reader was busy.
      if (this.#state !== told) continue;
      await (this.#change ??= Promise.withResolvers()).promise;
    }
  }
}

/** A reconnecting client in numbers, as of now: those of its connections added up; what only grows, over those that are gone as well. */
export interface ReconnectingStats extends
  Omit<
    TotalStats,
    "receiving" | "receivingBytes" | "running" | "waiting" | "served"
  > {
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
