/**
 * What the table of a connection's calls and the links between calls know of
 * each other. A client that does not import `ref()` has no links.
 *
 * @module
 */

import type { SnapshotSettings } from "../wire/payload.ts";
import type { Call } from "./call.ts";
import type { InFlightCalls } from "./in_flight.ts";

/** The calls of one connection, as links see them. */
export interface LinkedCalls {
  readonly inFlight: InFlightCalls;
  /** Has the peer keep the result of a call that was sent. Returns false if its frame was flushed already, or the peer keeps no results. */
  keep(call: Call): boolean;
  /** Tells the peer to keep a result no more. */
  release(id: number): void;
  /** Lets a call that the peer has refused wait for the results that it refers to. */
  hold(call: Call): void;
  /** A call that was held has its params now, unless they throw: it is sent, or fails. */
  resume(call: Call, makeParams: () => unknown): void;
  /** How params are encoded. */
  readonly settings: SnapshotSettings;
}
