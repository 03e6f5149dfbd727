/**
 * What hangs? The calls of a connection that have not ended.
 *
 * Invariant owned here: the list is made when it is asked for, from what calls
 * keep anyhow.
 *
 * @module
 */

import type { Call, CallState } from "./call.ts";
import type { Serving } from "../serve/incoming_call.ts";
import { ticksSince } from "../base/tick.ts";

/**
 * Where a call is. Of those this end made: `away` (a reconnecting client has no
 * connection for it), `queued` (the peer's window is full), `batched` (to leave
 * with the next write), `sent`, `streaming` (its caller has the stream that is
 * its result), `abandoned` (its caller has been told, its place is held until
 * the peer answers). Of those it serves: `waiting` to be started, `validating`
 * its params, `running`, `streaming` its result, `cancelled` (its caller has
 * given up, its handler runs on).
 */
export type LiveState =
  | "away"
  | "queued"
  | "batched"
  | "sent"
  | "streaming"
  | "abandoned"
  | "waiting"
  | "validating"
  | "running"
  | "cancelled";

/** A call that has not ended, as of when the list was made. */
export interface LiveCall {
  /** Whether this end made it (`client`) or serves it (`server`). */
  readonly side: "client" | "server";
  /** The method called. */
  readonly method: string;
  /** The id on the wire; `undefined` while a call of ours waits to be sent. */
  readonly id: number | undefined;
  /** Where it is. */
  readonly state: LiveState;
  /** Whole milliseconds since it was made, or came; may be too many by the time that up to 64 calls in a row took to be made. */
  readonly age: number;
  /** What is left of its deadline, in ms; `Infinity` without one. */
  readonly remaining: number;
  /** What its request counts in bytes. */
  readonly bytes: number;
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
}

/** What a list of calls is made with. */
export interface Viewpoint {
  /** The clock's `now`. */
  readonly now: number;
  readonly remote: string | undefined;
}

/** A call that this end made, as it stands. */
export function madeCall(
  call: Call,
  handedOver: boolean,
  { now, remote }: Viewpoint,
): LiveCall {
  const { method, seq, began, size, extra } = call;
  return {
    side: "client",
    method,
    id: seq < 0 ? undefined : seq >>> 0,
    state: madeState(call.state, handedOver),
    age: ticksSince(began, now),
    remaining: Math.max(0, (extra?.due ?? Infinity) - now),
    bytes: size,
    remote,
  };
}

function madeState(state: CallState, handedOver: boolean): LiveState {
  if (state === "waiting") return "queued";
  if (state === "sent") return handedOver ? "sent" : "batched";
  if (state === "streaming") return state;
  return "abandoned";
}

/** A call that this end serves, as it stands. */
export function servedCall(
  serving: Serving,
  { now, remote }: Viewpoint,
): LiveCall {
  const { method, id, state, began, size, due } = serving;
  return {
    side: "server",
    method,
    id,
    state: serving.aborted !== undefined || state === "done"
      ? "cancelled"
      : state,
    age: ticksSince(began, now),
    remaining: Math.max(0, due - now),
    bytes: size,
    remote,
  };
}
