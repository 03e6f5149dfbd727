/**
 * Where a connection is on its way to its end, and how long it may stay there.
 *
 * Two states, because each end has its own: what this end has done (`own`) and
 * what the peer has done (`peer`). `docs/semantics.md` has the table of every
 * state and event; `tests/connection/shutdown_states_test.ts` has a test per cell.
 *
 * Invariants owned here:
 * - Both states only move forward, by the transitions below.
 * - Every state but `open` has a limit. Only a call that runs, for a peer that
 *   still answers PINGs, lets a drain of the peer's last longer.
 *
 * @module
 */

import type { Limits } from "../types/connection.ts";

/**
 * What this end has done: nothing yet; said GOAWAY (`draining`); settled every
 * call, and writes what is left (`flushing`); sent FIN, and waits for the
 * peer's (`lingering`); let the transport go (`closed`).
 */
export type OwnState =
  | "open"
  | "draining"
  | "flushing"
  | "lingering"
  | "closed";

/**
 * What the peer has done: nothing yet; said a GOAWAY without a code
 * (`draining`), or one with a code (`failed`), after which it answers nothing;
 * sent its FIN in order, so that it only reads (`halfClosed`).
 *
 * A FIN that is not in order, and a transport that fails, are no states: they
 * end the connection at once.
 */
export type PeerState = "open" | "draining" | "failed" | "halfClosed";

/** What a state of this end's may become. */
const OWN_NEXT: Record<OwnState, readonly OwnState[]> = {
  open: ["draining", "flushing"],
  draining: ["flushing"],
  flushing: ["lingering", "closed"],
  lingering: ["closed"],
  closed: [],
};

/** What a state of the peer's may become, and for how long it may last, in ms. */
const PEER: Record<
  PeerState,
  { next: readonly PeerState[]; limit(limits: Limits): number }
> = {
  open: { next: ["draining", "failed", "halfClosed"], limit: never },
  // While there are calls; without any, see LEAVING_IDLE.
  draining: { next: ["failed", "halfClosed"], limit: never },
  failed: { next: [], limit: () => FAILED_TIME },
  halfClosed: { next: [], limit: ({ halfCloseTimeout }) => halfCloseTimeout },
};

/** How long a drain may take unless its `close` says otherwise, in ms. */
export const DRAIN_TIME = 5000;
/** After the time that `close` gives: how long the goodbye may take in all, in ms. Flushing and lingering have limits of their own besides. */
export const GOODBYE_TIME = 1000;
/** How long the FIN may take that follows a GOAWAY with a code, in ms. */
export const FAILED_TIME = 5000;
/** How long a peer that has said GOAWAY may be without a call either way before this end closes, too; in ms. */
export const LEAVING_IDLE = 5000;

/** The two states of one connection. */
export class ShutdownStates {
  /** Whether every call has been settled, and what comes is only discarded. */
  over = false;
  #own: OwnState = "open";
  #peer: PeerState = "open";

  get own(): OwnState {
    return this.#own;
  }

  get peer(): PeerState {
    return this.#peer;
  }

  /** This end moves on. Returns false, and does nothing, where that is no way forward. */
  enter(next: OwnState): boolean {
    if (!OWN_NEXT[this.#own].includes(next)) return false;
    this.#own = next;
    this.over = next !== "draining";
    return true;
  }

  /** The peer has moved on. Returns for how long it may stay there; undefined, and does nothing, where that is no way forward. */
  peerEnters(next: PeerState, limits: Limits): number | undefined {
    if (!PEER[this.#peer].next.includes(next)) return undefined;
    this.#peer = next;
    return PEER[next].limit(limits);
  }
}

function never(): number {
  return Infinity;
}
