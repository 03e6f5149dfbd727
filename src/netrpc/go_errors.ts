/**
 * Go's words for what goes wrong with a call: its wire has no codes.
 *
 * @module
 */

import type { Registry } from "../serve/method_table.ts";

/** Longest error that is sent, in characters. */
const MAX_TEXT = 4096;

const ILL_FORMED = "rpc: service/method request ill-formed: ";
const NO_SERVICE = "rpc: can't find service ";
const NO_METHOD = "rpc: can't find method ";

/** What Go's server says of a method that is not there. The service is what stands before the last dot. */
export function notFoundText(
  method: string,
  registry: Registry | undefined,
): string {
  const dot = method.lastIndexOf(".");
  if (dot < 0) return bounded(ILL_FORMED + method);
  const service = method.slice(0, dot + 1);
  for (const name of registry?.keys() ?? []) {
    if (name.startsWith(service) && name.indexOf(".", dot + 1) < 0) {
      return bounded(NO_METHOD + method);
    }
  }
  return bounded(NO_SERVICE + method);
}

/** A failure in words, which may not be empty: that would mean success. What kept a handler from being started is told as Go's own packages would. */
export function errorText(
  started: boolean,
  code: string,
  message: string,
): string {
  const words = message || code || "error";
  const text = started ? words : `rpc: ${words}`;
  return bounded(text);
}

/** Of what may be as long as a peer likes, no more than is sent. */
export function bounded(text: string): string {
  return text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text;
}

/** Whether an error is what Go's server says of a method that is not there. */
export function isNotFound(text: string, method: string): boolean {
  return [ILL_FORMED, NO_SERVICE, NO_METHOD].some((p) =>
    text === p + method || text === bounded(p + method)
  );
}

/**
 * What Go's own packages say of an argument that cannot be read: those of the
 * wire, and those whose types read themselves. Go's server sends it as it is,
 * and the method has not been started then; but a method may as well have had
 * it from a call, a file or a text of its own.
 */
const OF_READING = [
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

/** Whether an error's words can only be a method's own; others may stand for an argument that could not be read, or for whatever a method has read itself. */
export function isMethodsOwn(text: string): boolean {
  return !OF_READING.some((words) => words.test(text));
}

/** The code of an error of Go's, where the words say no more. */
export const GO_ERROR = "go_error";
