/**
 * Names what a peer speaks that does not speak our wire, for the error's text.
 *
 * @module
 */

import { quote } from "../base/errors.ts";

/** What the first bytes of a stream look like. */
export function looksLike(first: Uint8Array): string {
  const text = String.fromCharCode(...first);
  if (first[0] === 0x16 && first[1] === 0x03) return "a TLS ClientHello";
  if (first[0] === 0x15 && first[1] === 0x03) return "a TLS alert";
  if (text.startsWith("PRI * HTTP/2")) return "an HTTP/2 preface";
  if (text.startsWith("HTTP/")) return "an HTTP response";
  if (/^(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) /i.test(text)) {
    return "an HTTP request";
  }
  if (text.startsWith("SSH-")) return "an SSH banner";
  if (text.startsWith("Content-Leng")) {
    return "a Content-Length header (JSON-RPC)";
  }
  if (/^\s*[{[]/.test(text)) return "JSON text";
  return `unknown bytes ${quote(text)}`;
}
