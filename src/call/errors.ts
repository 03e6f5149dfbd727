/**
 * The errors that this side rejects its own calls with.
 *
 * Each call gets an error object of its own, never a shared one; what several
 * calls have in common is their `cause`.
 *
 * @module
 */

import {
  type ConnectionError,
  type Outcome,
  RpcError,
} from "../base/errors.ts";

/** The call's deadline has passed; `cause` is what it waited for in vain, if that is known. */
export function deadlineError(outcome: Outcome, cause?: unknown): RpcError {
  const text = "the call's deadline has passed";
  return new RpcError("deadline_exceeded", text, { outcome, cause });
}

/** The peer granted a window of no calls. */
export function noServicesError(): RpcError {
  const outcome = "not_sent";
  return new RpcError("unavailable", "the peer serves no calls", { outcome });
}

/** The call exceeds what the queue holds or the peer accepts. */
export function queueFullError(message: string, cause?: unknown): RpcError {
  const outcome = "not_sent";
  return new RpcError("resource_exhausted", message, { outcome, cause });
}

/** The call's connection is lost, or accepts no calls any more. */
export function unavailableError(
  cause: ConnectionError,
  outcome: Outcome = "not_sent",
): RpcError {
  // A denial is of use to the caller. Every other code describes the
  // connection, and stays in the cause.
  const code = cause.code === "unauthenticated" ? cause.code : "unavailable";
  return new RpcError(code, cause.message, { outcome, cause });
}
