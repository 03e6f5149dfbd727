/**
 * The header block of the `Content-Length` framing.
 *
 * Invariant owned here: a header says one length, in digits, within the limit;
 * anything else ends the connection, as nobody could tell where the next
 * message begins.
 *
 * @module
 */

import { ConnectionError, quote } from "../errors.ts";
import { looksLike } from "../sniff.ts";

/** What a header says. */
export interface Header {
  /** The message's length in bytes. */
  readonly length: number;
  /** What the text is encoded in, in lower case; undefined if it says nothing. */
  readonly charset: string | undefined;
}

/** How much of what is no header is looked at, to name it. */
const SNIFFED = 24;

/**
 * Reads a block that ends with an empty line.
 *
 * @throws {ConnectionError} `protocol_error` if it is none, `frame_too_large`
 * if the message would be above `maxMessage`.
 */
export function parseHeader(block: Uint8Array, maxMessage: number): Header {
  let length: number | undefined;
  let charset: string | undefined;
  for (const line of toLines(block)) {
    const colon = line.indexOf(":");
    if (colon <= 0) {
      throw fault(`not a header but ${looksLike(block.subarray(0, SNIFFED))}`);
    }
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === "content-length") {
      if (length !== undefined) throw fault("a second Content-Length");
      length = toLength(value, maxMessage);
    } else if (name === "content-type") {
      charset = toCharset(value);
    }
  }
  if (length === undefined) throw fault("a header without Content-Length");
  return { length, charset };
}

/** The lines, without the empty one at the end. Latin-1: every byte is a character, and none is lost. */
function toLines(block: Uint8Array): string[] {
  let text = "";
  for (const byte of block) text += String.fromCharCode(byte);
  return text.split("\r\n").slice(0, -2);
}

function toLength(value: string, maxMessage: number): number {
  if (!/^[0-9]+$/.test(value)) {
    throw fault(`the Content-Length ${quote(value)}, which is not a number`);
  }
  // However many digits: a number past the exact ones is past the limit too.
  const length = Number(value);
  if (length > maxMessage) {
    throw new ConnectionError(
      "frame_too_large",
      `a message of ${quote(value)} bytes; at most ${maxMessage} are accepted`,
    );
  }
  return length;
}

function toCharset(value: string): string | undefined {
  const found = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(value);
  return found?.[1].toLowerCase();
}

function fault(what: string): ConnectionError {
  return new ConnectionError("protocol_error", `the peer sent ${what}`);
}
