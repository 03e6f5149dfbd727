/**
 * Who said goodbye, and up to which call.
 *
 * Invariants owned here:
 * - A GOAWAY may be repeated, never with a higher id: what a caller settled as
 *   refused stays refused.
 * - One that changes nothing costs nothing, and there are at most
 *   {@linkcode MAX_GOAWAYS}: those that do change something cost work in
 *   proportion to the calls in flight.
 *
 * @module
 */

import { ConnectionError, isErrorCode, quote } from "../base/errors.ts";

/** How many GOAWAYs of one peer are taken. An end of this library sends at most two: that it drains, and that it ends by an error. */
export const MAX_GOAWAYS = 16;

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
  #count = 0;

  /**
   * Takes note of one that serves ids up to `last`, a 53-bit count. Returns why
   * the peer goes; undefined if this one says nothing new.
   *
   * @throws {ConnectionError} `protocol_error`, if an earlier one said less;
   *   `resource_exhausted`, if it is one too many.
   */
  note(last: number, code: string, text: string): ConnectionError | undefined {
    if (last > this.#last) {
      throw new ConnectionError(
        "protocol_error",
        "a second GOAWAY with a higher id than the first",
      );
    }
    if (++this.#count > MAX_GOAWAYS) {
      throw new ConnectionError(
        "resource_exhausted",
        `the peer sent more than ${MAX_GOAWAYS} GOAWAYs`,
      );
    }
    const failed = code !== "" && this.fault === undefined;
    if (last === this.#last && !failed) return undefined;
    this.#last = last;
    const reason = departure(code, text);
    this.reason ??= reason;
    if (failed) this.fault = reason;
    return reason;
  }
}
