/**
 * The errors that this end rejects its own calls with.
 *
 * Invariant owned here: one error object per call, never shared; what several
 * calls have in common is their `cause`.
 *
 * @module
 */

import { type ConnectionError, type Outcome, RpcError } from "./errors.ts";

/** The call's time is up. */
export function late(outcome: Outcome): RpcError {
  return new RpcError("deadline_exceeded", "the call's deadline has passed", {
    outcome,
  });
}

/** The peer granted a window of no calls. */
export function servesNothing(): RpcError {
  const outcome = "not_sent";
  return new RpcError("unavailable", "the peer serves no calls", { outcome });
}

/** More than the queue or the peer takes. */
export function exhausted(message: string): RpcError {
  return new RpcError("resource_exhausted", message, { outcome: "not_sent" });
}

/** The call's connection takes it along, or takes no calls any more. */
export function unavailable(
  cause: ConnectionError,
  outcome: Outcome = "not_sent",
): RpcError {
  // A denial is of use to the caller; every other code tells of the
  // connection, and stays in the cause.
  const code = cause.code === "unauthenticated" ? cause.code : "unavailable";
  return new RpcError(code, cause.message, { outcome, cause });
}
