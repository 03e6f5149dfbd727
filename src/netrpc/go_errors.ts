/**
 * Go's words for what goes wrong with a call: its wire has no codes.
 *
 * @module
 */

import type { Registry } from "../registry.ts";

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
  if (dot < 0) return ILL_FORMED + method;
  const service = method.slice(0, dot + 1);
  for (const name of registry?.keys() ?? []) {
    if (name.startsWith(service) && name.indexOf(".", dot + 1) < 0) {
      return NO_METHOD + method;
    }
  }
  return NO_SERVICE + method;
}

/** A failure in words. Empty ones would mean success. */
export function errorText(code: string, message: string): string {
  const text = message || code || "error";
  return text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text;
}

/** Whether an error is the server's own: it did not start the call. */
export function isNotFound(text: string, method: string): boolean {
  return [ILL_FORMED, NO_SERVICE, NO_METHOD].some((p) => text === p + method);
}

/** The code of an error of Go's, where the words say no more. */
export const GO_ERROR = "go_error";
