/**
 * The errors that this end rejects its own calls with.
 *
 * Invariant owned here: one error object per call, never shared; what several
 * calls have in common is their `cause`.
 *
 * @module
 */

import {
  type ConnectionError,
  type Outcome,
  RpcError,
  type RpcErrorOptions,
} from "../base/errors.ts";

/** The call's time is up; `cause` is what it waited for in vain, if that is known. */
export function deadlineError(outcome: Outcome, cause?: unknown): RpcError {
  const text = "the call's deadline has passed";
  return new RpcError("deadline_exceeded", text, because(outcome, cause));
}

/** The peer granted a window of no calls. */
export function noServicesError(): RpcError {
  const outcome = "not_sent";
  return new RpcError("unavailable", "the peer serves no calls", { outcome });
}

/** More than the queue or the peer takes. */
export function queueFullError(message: string, cause?: unknown): RpcError {
  const options = because("not_sent", cause);
  return new RpcError("resource_exhausted", message, options);
}

/** An error without a known cause has no `cause` at all. */
function because(outcome: Outcome, cause: unknown): RpcErrorOptions {
  return cause === undefined ? { outcome } : { outcome, cause };
}

/** The call's connection takes it along, or takes no calls any more. */
export function unavailableError(
  cause: ConnectionError,
  outcome: Outcome = "not_sent",
): RpcError {
  // A denial is of use to the caller; every other code tells of the
  // connection, and stays in the cause.
  const code = cause.code === "unauthenticated" ? cause.code : "unavailable";
  return new RpcError(code, cause.message, { outcome, cause });
}
