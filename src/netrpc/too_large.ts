/**
 * What is said of a message that is larger than this end accepts.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";

/** The limit is this end's own: Go's wires have no word for it. */
export function tooLargeText(
  what: string,
  size: number,
  maxMessage: number,
): string {
  return `${what} of ${size} bytes; this end's maxMessage is ${maxMessage}`;
}

/** The error for one that cannot be told from those behind it, or that nobody can be told of. */
export function tooLarge(
  what: string,
  size: number,
  maxMessage: number,
): ConnectionError {
  return new ConnectionError(
    "frame_too_large",
    tooLargeText(what, size, maxMessage),
  );
}
