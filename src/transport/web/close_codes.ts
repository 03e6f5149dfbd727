/**
 * Close codes of WebSockets, and the errors that they stand for.
 *
 * A page may send only 1000 and 3000 to 4999. So this library sends those of
 * 4000 to 4999 on every runtime: the code that RFC 6455, section 7.4.1, has for
 * the case, plus 3000. It understands both, and those that IANA has registered
 * from 3000 on.
 *
 * @module
 */

import { ConnectionError, type ErrorCode, quote } from "../../base/errors.ts";
import { isInstanceOf } from "../../base/user_code.ts";

/** Both directions have ended in order. */
export const NORMAL = 1000;

/** What each code from a peer means, and the error it becomes. Any other code is `unavailable`. */
const RECEIVED: Record<number, readonly [ErrorCode, string]> = {
  1000: ["unavailable", "the peer closed the WebSocket before the end"],
  1001: ["unavailable", "the peer went away"],
  1002: ["protocol_error", "the peer reports a protocol error"],
  1003: ["protocol_error", "the peer does not accept this kind of message"],
  1006: ["unavailable", "the connection broke off"],
  1007: ["protocol_error", "the peer reports a malformed message"],
  1008: ["permission_denied", "the peer's policy forbids the connection"],
  1009: ["resource_exhausted", "the peer reports a message that is too large"],
  1011: ["internal", "the peer has failed"],
  1012: ["unavailable", "the server restarts"],
  1013: ["unavailable", "the server is overloaded"],
  1015: ["unauthenticated", "the TLS handshake failed"],
  3000: ["unauthenticated", "the peer demands authentication"],
  3003: ["permission_denied", "the peer forbids the connection"],
  3008: ["deadline_exceeded", "the peer has waited too long"],
};

/** The code to send for each error code; any other error is sent as 4001, "going away". */
const SENT: Partial<Record<ErrorCode, number>> = {
  protocol_error: 4002,
  truncated: 4002,
  invalid_argument: 4003,
  permission_denied: 4008,
  frame_too_large: 4009,
  resource_exhausted: 4009,
  internal: 4011,
  unauthenticated: 4015,
};

/** The code that tells the peer why this side ends the connection. */
export function closeCodeOf(reason: unknown): number {
  const code = isInstanceOf(reason, ConnectionError) ? reason.code : undefined;
  return (code !== undefined ? SENT[code] : undefined) ?? 4001;
}

/**
 * The error for a WebSocket that was closed before both directions had ended.
 *
 * @param reason The text that the peer sent with the code.
 * @param cause The error that the socket reported, if any.
 */
export function closeError(
  code: number,
  reason: string,
  cause?: unknown,
): ConnectionError {
  const known = RECEIVED[code] ??
    (code >= 4000 ? RECEIVED[code - 3000] : undefined);
  const [errorCode, text] = known ??
    ["unavailable", "the peer closed the WebSocket"];
  const why = reason === "" ? "" : `, ${quote(reason, 123)}`;
  return new ConnectionError(
    errorCode,
    `Connection lost: ${text} (close code ${code}${why})`,
    { cause },
  );
}

/**
 * The error for a WebSocket that was closed before it was open. Nobody learns
 * why: a browser hides the response of the server.
 */
export function unopenedError(code: number, cause?: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `Cannot connect: the WebSocket did not open (close code ${code}); a client must offer the subprotocol "sluice.1"`,
    { cause },
  );
}
