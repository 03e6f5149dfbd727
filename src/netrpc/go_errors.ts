/**
 * The texts of errors. Go's protocols have no error codes: the text is all that
 * is sent, so the server writes Go's own texts and the client classifies errors
 * by them.
 *
 * Bound: an error text has at most {@linkcode MAX_TEXT} characters.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";

/** The longest error text that is sent, in characters. */
const MAX_TEXT = 4096;

/** The code of an error that the client received from a server, unless its text is that of a missing method. */
export const GO_ERROR = "go_error";

// The texts of Go's server (net/rpc, server.go) for a method that does not exist.
const ILL_FORMED = "rpc: service/method request ill-formed: ";
const NO_SERVICE = "rpc: can't find service ";
const NO_METHOD = "rpc: can't find method ";

/** What Go's server answers to a call of a method that does not exist. The name of the service is what precedes the last dot. */
export function notFoundText(
  method: string,
  methods: Iterable<string>,
): string {
  const dot = method.lastIndexOf(".");
  if (dot < 0) return truncate(ILL_FORMED + method);
  const service = method.slice(0, dot + 1);
  for (const name of methods) {
    if (name.startsWith(service) && name.indexOf(".", dot + 1) < 0) {
      return truncate(NO_METHOD + method);
    }
  }
  return truncate(NO_SERVICE + method);
}

/** Whether an error is what Go's server answers to a call of a method that does not exist. */
export function isNotFound(text: string, method: string): boolean {
  return [ILL_FORMED, NO_SERVICE, NO_METHOD].some((prefix) =>
    text === prefix + method || text === truncate(prefix + method)
  );
}

/**
 * The text of a failed call. It is never empty, as an empty one means success.
 * If the handler was not started, the text begins like those of Go's package.
 */
export function errorText(
  started: boolean,
  code: string,
  message: string,
): string {
  const text = message || code || "error";
  return truncate(started ? text : `rpc: ${text}`);
}

/** Cuts a text, which may be as long as a peer likes, to the longest that is sent. */
export function truncate(text: string): string {
  return text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text;
}

/**
 * The texts of Go's packages for an argument that cannot be read: of the
 * package of the protocol, and of types that read themselves. Go's server sends
 * such a text without having started the method. But a method can return the
 * same text, after it has read something itself.
 */
const DECODING_ERRORS = [
  /^(rpc|gob|json|jsonrpc|(encoding|math|crypto|hash)\/\w+): /,
  /^value for ".*" out of range$/s,
  /^(unexpected )?EOF$/,
  /^unexpected end of JSON input$/,
  /^invalid character /,
  /^illegal base64 data /,
  /^(parsing time|time: |Time\.)/,
  /^strconv\.\w+: /,
  /^[\w./*()]+\.(GobDecode|Unmarshal\w+): /,
  /^(ParseAddr|ParsePrefix|ParseAddrPort|netip\.\w+)\(/,
  /^(invalid IP address: |parse ")/,
  /^unexpected slice size$/,
];

/** Whether an error can only come from the method itself, so that the method was started. */
export function isFromMethod(text: string): boolean {
  return !DECODING_ERRORS.some((pattern) => pattern.test(text));
}

/** The text for a message above the local limit. */
export function tooLargeText(
  what: string,
  size: number,
  maxMessage: number,
): string {
  return `${what} has ${size} bytes, more than the receiver's maxMessage of ${maxMessage}`;
}

/** The error for a message above the local limit that does not name its call, so that it ends the connection. */
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
