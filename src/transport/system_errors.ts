/**
 * Errors of the operating system and the runtimes as {@linkcode ConnectionError}s.
 *
 * Invariant: every fault of a transport becomes a {@linkcode ConnectionError}
 * whose code comes from the table in this file, and whose `cause` is the
 * runtime's own error.
 *
 * @module
 */

import { ConnectionError, type ErrorCode, quote } from "../base/errors.ts";
import { messageOf } from "../base/user_code.ts";

/** The code and description for each of the system's error codes. */
const KNOWN: Record<string, readonly [ErrorCode, string]> = {
  EACCES: ["permission_denied", "permission denied"],
  EADDRINUSE: ["address_in_use", "address already in use"],
  EADDRNOTAVAIL: ["unavailable", "address not available"],
  EAI_AGAIN: ["unavailable", "name not found (the name server did not answer)"],
  ECONNABORTED: ["unavailable", "connection aborted"],
  ECONNREFUSED: ["unavailable", "connection refused"],
  ECONNRESET: ["unavailable", "connection reset"],
  EHOSTUNREACH: ["unavailable", "host unreachable"],
  EMFILE: ["resource_exhausted", "too many open files"],
  ENETUNREACH: ["unavailable", "network unreachable"],
  ENFILE: ["resource_exhausted", "too many open files"],
  ENOBUFS: ["resource_exhausted", "no memory for sockets"],
  ENOENT: ["unavailable", "no such socket"],
  ENOMEM: ["resource_exhausted", "no memory for sockets"],
  ENOTCONN: ["unavailable", "the peer has disconnected"],
  ENOTFOUND: ["unavailable", "name not found"],
  ENOTSOCK: ["unavailable", "not a socket"],
  EPERM: ["permission_denied", "permission denied"],
  EPIPE: ["unavailable", "closed by the peer"],
  ETIMEDOUT: ["unavailable", "timed out"],
  // Deno's names, for errors that have no code.
  AddrInUse: ["address_in_use", "address already in use"],
  ConnectionRefused: ["unavailable", "connection refused"],
  ConnectionReset: ["unavailable", "connection reset"],
  NotCapable: ["permission_denied", "permission denied"],
  PermissionDenied: ["permission_denied", "permission denied"],
};

/**
 * The error for something that a transport could not do.
 *
 * @param what What it tried, as the start of the message: `Cannot connect to 127.0.0.1:1`.
 * @param error The runtime's error.
 * @param otherwise The code, if the error is not in the table.
 */
export function toConnectionError(
  what: string,
  error: unknown,
  otherwise: ErrorCode = "unavailable",
): ConnectionError {
  return new ConnectionError(
    entryOf(error)?.[0] ?? otherwise,
    `${what}: ${describeError(error)}`,
    { cause: error },
  );
}

/** The error for a connection that ended without FIN. */
export function lostError(cause?: unknown): ConnectionError {
  const why = cause === undefined
    ? "closed before its end"
    : describeError(cause);
  return new ConnectionError("unavailable", `Connection lost: ${why}`, {
    cause,
  });
}

/** What an error says, as text that is safe and short enough for a message; `otherwise` if it says nothing. */
export function describeError(error: unknown, otherwise = "it failed"): string {
  const entry = entryOf(error);
  if (entry) return entry[1];
  const message = messageOf(error, otherwise) || otherwise;
  return /^[\x20-\x7e]{1,200}$/.test(message) ? message : quote(message, 200);
}

function entryOf(error: unknown): readonly [ErrorCode, string] | undefined {
  try {
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
    for (const key of [code, name]) {
      if (typeof key === "string" && Object.hasOwn(KNOWN, key)) {
        return KNOWN[key];
      }
    }
  } catch {
    // A user's stream may fail with any value, even one whose getters throw.
  }
}
