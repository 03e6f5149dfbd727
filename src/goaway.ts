/**
 * Who said goodbye, and up to which call.
 *
 * Invariant owned here: a GOAWAY may be repeated, never with a higher id: what
 * a caller settled as refused stays refused.
 *
 * @module
 */

import { ConnectionError, isErrorCode, quote } from "./errors.ts";

/** What both ends say of a client that is not let in. */
export const DENIED = "the server did not accept the credentials";

/** Why the peer goes; a plain drain has no code. */
export function departure(code: string, text: string): ConnectionError {
  const known = isErrorCode(code) ? code : "unavailable";
  return new ConnectionError(known, describe(code, text));
}

function describe(code: string, text: string): string {
  if (code === "") return "the peer is closing the connection";
  const words = quote(text, 256);
  if (code !== "unauthenticated") {
    return `the peer closed the connection: ${quote(code)} ${words}`;
  }
  return text === "" || text === DENIED ? DENIED : `${DENIED}: ${words}`;
}

/** What the peer's GOAWAYs have said so far. */
export class PeerGoaway {
  /** Why calls above its id are refused; undefined until it has come. */
  reason: ConnectionError | undefined;
  /** What went wrong, if it was no plain drain. */
  fault: ConnectionError | undefined;
  #last = Infinity;

  /**
   * Takes note of one that serves ids up to `last`, a 53-bit count.
   *
   * @throws {ConnectionError} `protocol_error`, if an earlier one said less.
   */
  note(last: number, code: string, reason: ConnectionError): void {
    if (last > this.#last) {
      throw new ConnectionError(
        "protocol_error",
        "a second GOAWAY with a higher id than the first",
      );
    }
    this.#last = last;
    this.reason ??= reason;
    if (code !== "") this.fault ??= reason;
  }
}
