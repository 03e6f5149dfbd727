/**
 * What a client shows of itself to be let in, and how a server compares it.
 *
 * Invariants owned here:
 * - Credentials are checked before anything is sent, so that none is ever cut.
 * - How long a comparison takes says nothing of where two secrets differ.
 *
 * @module
 */

import { copyBytes, isBytes, lengthOf, plainView } from "../base/bytes.ts";
import { MAX_CREDENTIALS } from "../wire/hello.ts";
import { readText, utf8 } from "../base/utf8.ts";

/** What a client shows: a text, or any bytes; at most 15,360 bytes, of text as UTF-8. The server gets what was given: a string or a `Uint8Array`. */
export type Credentials = string | Uint8Array;

/** Gives credentials anew for each dial. Its signal fires when they are not wanted any more; what it throws fails the dial. */
export type CredentialsSource = (
  signal: AbortSignal,
) => Credentials | Promise<Credentials>;

/**
 * Checks that credentials can be sent.
 *
 * @throws {TypeError} If they are neither text nor bytes, or a text with half of
 *   a surrogate pair, which has no form as UTF-8.
 * @throws {RangeError} If they are too long.
 */
export function toCredentials(given: Credentials): Credentials {
  const bytes = typeof given === "string" ? utf8(given) : given;
  if (
    typeof given === "string" &&
    readText(bytes as Uint8Array, 0, bytes.length) !== given
  ) {
    throw new TypeError(
      "Cannot use credentials: the text has half of a surrogate pair",
    );
  }
  if (!isBytes(bytes)) {
    throw new TypeError(
      `Cannot use credentials: text or bytes, received ${typeof given}`,
    );
  }
  const length = lengthOf(bytes);
  if (length > MAX_CREDENTIALS) {
    throw new RangeError(
      `Cannot use credentials: ${length} bytes, at most ${MAX_CREDENTIALS} fit`,
    );
  }
  return typeof given === "string" ? given : copyBytes(plainView(bytes));
}

/**
 * Whether a secret that was received is the one that is wanted; text is compared
 * as UTF-8. The time it takes depends on the length of what was received alone.
 *
 * @param received From the peer. `undefined`, for none, equals nothing.
 * @param wanted The secret. One without a byte equals nothing: it is a mistake.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { timingSafeEqual } from "@sluice/rpc";
 *
 * const received = new TextEncoder().encode("open sesame");
 * assert(timingSafeEqual(received, "open sesame"));
 * assert(!timingSafeEqual(received, "open barley"));
 * assert(!timingSafeEqual(undefined, "open sesame"));
 * ```
 */
export function timingSafeEqual(
  received: Credentials | undefined,
  wanted: Credentials,
): boolean {
  if (received === undefined || wanted.length === 0) return false;
  const a = toBytes(received);
  const b = toBytes(wanted);
  // Every byte is looked at, whatever the ones before it were, and against a
  // wanted one even where there are no more: a shortcut would tell a prefix.
  let different = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) different |= a[i] ^ b[i % b.length];
  return different === 0;
}

function toBytes(secret: Credentials): Uint8Array {
  return typeof secret === "string" ? utf8(secret) : secret;
}
