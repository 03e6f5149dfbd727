/**
 * The header block of the `Content-Length` framing.
 *
 * Invariants owned here:
 * - A header says one length, in digits, that a number can hold exactly;
 *   anything else ends the connection, as nobody could tell where the next
 *   message begins.
 * - A line that is none of the two headers which the framing has ends the
 *   connection as soon as its bytes show that. To pass other headers over would
 *   make a message of the body of an HTTP request, which any web page can send.
 *
 * @module
 */

import { ConnectionError, quote } from "../base/errors.ts";
import { looksLike } from "../wire/sniff.ts";

/** What a header says. */
export interface Header {
  /** The message's length in bytes. */
  readonly length: number;
  /** What the text is encoded in, in lower case; undefined if it says nothing. */
  readonly charset: string | undefined;
}

/** The headers there are; names come in any case. */
const LENGTH = "content-length:";
const TYPE = "content-type:";

/** How much of what is no header is looked at, to name it. */
const SNIFFED = 24;
const CR = 13;
const LF = 10;

/** A header block, line by line. */
export class HeaderBlock {
  readonly #maxMessage: number;
  #length: number | undefined;
  #charset: string | undefined;

  constructor(maxMessage: number) {
    this.#maxMessage = maxMessage;
  }

  /**
   * Looks at the beginning of a line whose end has not come yet.
   *
   * @throws {ConnectionError} `protocol_error` if it cannot become a header line.
   */
  begin(line: Uint8Array): void {
    const text = latin1(line, 0, Math.min(line.length, LENGTH.length))
      .toLowerCase();
    for (const name of [LENGTH, TYPE, "\r\n"]) {
      if (name.startsWith(text) || text.startsWith(name)) return;
    }
    throw fault(`not a header but ${looksLike(line.subarray(0, SNIFFED))}`);
  }

  /**
   * Reads a line that has come whole; returns the header if it was the empty one.
   *
   * @throws {ConnectionError} `protocol_error` if it is no header line,
   * `frame_too_large` if its length is no exact number.
   */
  line(line: Uint8Array): Header | undefined {
    const end = line.length - 2;
    if (line[end] !== CR || line[end + 1] !== LF) {
      this.begin(line.subarray(0, end + 1));
      throw fault("a header line that ends without a carriage return");
    }
    if (end === 0) return this.#take();
    this.begin(line);
    const text = latin1(line, 0, end);
    const colon = text.indexOf(":") + 1;
    const value = text.slice(colon).trim();
    if (colon === TYPE.length) this.#charset = toCharset(value);
    else if (this.#length === undefined) this.#length = this.#toLength(value);
    else throw fault("a second Content-Length");
    return undefined;
  }

  #take(): Header {
    const length = this.#length;
    if (length === undefined) throw fault("a header without Content-Length");
    const charset = this.#charset;
    this.#length = this.#charset = undefined;
    return { length, charset };
  }

  #toLength(value: string): number {
    if (!/^[0-9]+$/.test(value)) {
      throw fault(`the Content-Length ${quote(value)}, which is not a number`);
    }
    const length = Number(value);
    if (Number.isSafeInteger(length)) return length;
    throw tooLarge(`a message of ${quote(value)} bytes`, this.#maxMessage);
  }
}

/** Every byte is a character, and none is lost. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]);
  return text;
}

function toCharset(value: string): string | undefined {
  const found = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(value);
  return found?.[1].toLowerCase();
}

/** The error for a message above our own limit. */
export function tooLarge(what: string, maxMessage: number): ConnectionError {
  return new ConnectionError(
    "frame_too_large",
    `${what}; this end's maxMessage is ${maxMessage}`,
  );
}

function fault(what: string): ConnectionError {
  return new ConnectionError("protocol_error", `the peer sent ${what}`);
}
