/**
 * Framing: cuts a byte stream into JSON texts, and provides the bytes around an
 * outgoing one. There are two framings: a `Content-Length` header before each
 * message (LSP 3.17, "Base Protocol"), and one message per line (MCP, "stdio").
 *
 * Bounds:
 * - Of a message above `maxMessage` at most its first {@linkcode HEAD_SIZE}
 *   bytes are held. If these show that it is the response to a call, that call
 *   fails; otherwise the connection ends.
 * - Of a message that arrives in several chunks at most twice the bytes that
 *   have arrived are held: buffers grow by what arrives, never by what a header
 *   promises.
 * - Work and copies are linear in the bytes, whatever the size of the chunks.
 *
 * Order: a header is checked line by line. A line that is not `Content-Length`
 * or `Content-Type` ends the connection as soon as its bytes show that. Skipping
 * unknown headers would read a message from the body of an HTTP request, which
 * any web page can send.
 *
 * @module
 */

import { ConnectionError, quote } from "../base/errors.ts";
import { LARGE } from "../base/large_reads.ts";
import { looksLike } from "../wire/message_reader.ts";

/**
 * How messages are separated in the byte stream.
 *
 * - `contentLength`: each message follows a header block with its length in
 *   bytes, at most 4,096 bytes long, as in LSP 3.17, "Base Protocol".
 * - `lines`: each message is one line that ends in LF or CR LF, as MCP's stdio
 *   transport has it. White space between messages is skipped.
 */
export type FramingName = "contentLength" | "lines";

/**
 * Receives one whole message, `bytes[start..end)`; `charset` is what its header
 * names. The bytes are valid only during the call. Returns how many messages it
 * counts against the budget of {@linkcode Framing.push}.
 */
export type MessageTextHandler = (
  bytes: Uint8Array,
  start: number,
  end: number,
  charset: string | undefined,
) => number;

/** Whether a message of this many bytes may be read now. Called for large messages only. */
export type MayRead = (bytes: number) => boolean;

/**
 * Receives the first bytes of a message above `maxMessage`; `what` describes the
 * message, `complete` says that no more of its bytes will be passed. Returns
 * whether the message was handled; false asks for more of its bytes.
 *
 * @throws {ConnectionError} `frame_too_large` if no call can be blamed for it.
 */
export type OversizedHandler = (
  head: Uint8Array,
  what: string,
  complete: boolean,
) => boolean;

/** Cuts the bytes of one connection. It must not be used after it has thrown. */
export interface Framing {
  /** Set to true to stop before the next message. */
  stopped: boolean;
  /**
   * Reads `chunk` from `at` on, at most `budget` messages. Returns the index of
   * the first byte that it has not read.
   *
   * @throws {ConnectionError} If the bytes break the framing.
   */
  push(chunk: Uint8Array, at: number, budget: number): number;
  /** Whether a message has begun and has not ended. */
  readonly insideMessage: boolean;
  /** Bytes of that message that are held. */
  readonly heldBytes: number;
  /**
   * Reports the end of the stream.
   *
   * @throws {ConnectionError} `truncated` if a message is incomplete.
   */
  end(): void;
  /** The text before an outgoing message of `length` bytes. */
  prefix(length: number): string;
  /** The text behind an outgoing message. */
  readonly suffix: string;
}

/** What a framing does beside passing on messages. */
export interface FramingOptions {
  /**
   * Whether a line that cannot become a valid one is rejected before its end
   * has arrived: a header line by an error, a line that is not JSON by passing
   * on what has arrived of it. By default errors do not depend on how the bytes
   * are cut into chunks.
   */
  readonly eager?: boolean;
  /** Decides when large messages may be read. By default at once. */
  readonly mayRead?: MayRead;
  /** Receives the first bytes of messages above the limit. By default these end the connection. */
  readonly oversized?: OversizedHandler;
}

/**
 * Returns a framing's name if it is valid.
 *
 * @throws {TypeError} If there is no such framing.
 */
export function checkFraming(name: FramingName): FramingName {
  if (name === "contentLength" || name === "lines") return name;
  throw new TypeError(
    `Cannot use framing: it must be "contentLength" or "lines", received ${name}`,
  );
}

/** Creates a framing that passes messages of at most `maxMessage` bytes to `onMessage`. */
export function toFraming(
  name: FramingName,
  maxMessage: number,
  onMessage: MessageTextHandler,
  options: FramingOptions = {},
): Framing {
  const oversized: OversizedHandler = options.oversized ?? ((_head, what) => {
    throw tooLarge(what, maxMessage);
  });
  return name === "lines"
    ? new LineFraming(maxMessage, onMessage, oversized, options)
    : new ContentLengthFraming(maxMessage, onMessage, oversized, options);
}

const always: MayRead = () => true;

/** The first bytes of a message above the limit that are looked at and held. */
const HEAD_SIZE = 128;
const LF = 10;
const CR = 13;

// Content-Length.

/** Longest header block, in bytes. */
const MAX_HEADER = 4096;

/** Messages behind a header block that has their length. */
class ContentLengthFraming implements Framing {
  stopped = false;
  readonly suffix = "";
  readonly #maxMessage: number;
  readonly #eager: boolean;
  readonly #onMessage: MessageTextHandler;
  readonly #mayRead: MayRead;
  readonly #oversized: OversizedHandler;
  readonly #parser: HeaderParser;
  /** Bytes to skip of a message above the limit, after it has been handled; 0 before. */
  #skip = 0;
  /** Bytes of the header's lines that are complete. */
  #headerSize = 0;
  /** What has arrived of a header line or, once the header is known, of the body. */
  readonly #partial = new GrowingBuffer();
  /** The header, while the body is read. */
  #header: MessageHeader | undefined;

  constructor(
    maxMessage: number,
    onMessage: MessageTextHandler,
    oversized: OversizedHandler,
    { eager = false, mayRead = always }: FramingOptions,
  ) {
    this.#maxMessage = maxMessage;
    this.#eager = eager;
    this.#parser = new HeaderParser(maxMessage);
    this.#onMessage = onMessage;
    this.#oversized = oversized;
    this.#mayRead = mayRead;
  }

  prefix(length: number): string {
    return `Content-Length: ${length}\r\n\r\n`;
  }

  push(chunk: Uint8Array, at: number, budget: number): number {
    while (at < chunk.length && !this.stopped && budget > 0) {
      if (this.#header === undefined) at = this.#readHeader(chunk, at);
      // Not an else: an empty body needs no further byte of the chunk.
      if (this.#header === undefined) continue;
      if (this.#header.length > this.#maxMessage) {
        at = this.#skipOversized(chunk, at, this.#header.length);
        continue;
      }
      const missing = this.#header.length - this.#partial.size;
      const end = Math.min(chunk.length, at + missing);
      const complete = end - at === missing;
      const { length } = this.#header;
      // The last bytes stay unread, so that they are pushed again later.
      if (complete && length >= LARGE && !this.#mayRead(length)) return at;
      if (complete && this.#partial.size === 0) {
        budget -= this.#deliver(chunk, at, end);
      } else {
        this.#partial.add(chunk, at, end);
        if (complete) {
          const body = this.#partial.take();
          budget -= this.#deliver(body, 0, body.length);
        }
      }
      at = end;
    }
    return at;
  }

  get insideMessage(): boolean {
    return this.#header !== undefined || this.#headerSize > 0 ||
      this.#partial.size > 0;
  }

  get heldBytes(): number {
    return this.#partial.size;
  }

  end(): void {
    const { size } = this.#partial;
    if (this.#header !== undefined) {
      const { length } = this.#header;
      throw new ConnectionError(
        "truncated",
        `the stream ended inside a message: ${
          length - size
        } of ${length} bytes missing`,
      );
    }
    if (!this.insideMessage) return;
    throw new ConnectionError("truncated", "the stream ended inside a header");
  }

  /** Skips a message above the limit, after its first bytes have been handled. */
  #skipOversized(chunk: Uint8Array, at: number, length: number): number {
    const partial = this.#partial;
    if (this.#skip === 0) {
      const want = Math.min(HEAD_SIZE, length);
      const end = Math.min(chunk.length, at + want - partial.size);
      partial.add(chunk, at, end);
      at = end;
      const { size } = partial;
      const what = `a message of ${length} bytes`;
      if (!this.#oversized(partial.bytes, what, size === want)) return at;
      partial.take();
      this.#skip = length - size;
    }
    const end = Math.min(chunk.length, at + this.#skip);
    this.#skip -= end - at;
    if (this.#skip === 0) this.#header = undefined;
    return end;
  }

  /** Reads header lines, up to and including the empty one. */
  #readHeader(chunk: Uint8Array, at: number): number {
    while (at < chunk.length && this.#header === undefined) {
      const lf = chunk.indexOf(LF, at);
      const end = lf < 0 ? chunk.length : lf + 1;
      const line = this.#readLine(chunk, at, end, lf >= 0);
      at = end;
      const tooLong = this.#headerSize + line.length > MAX_HEADER;
      if (tooLong || (lf < 0 && this.#eager)) this.#parser.checkStart(line);
      if (tooLong) throw violation(`a header of more than ${MAX_HEADER} bytes`);
      if (lf < 0) return at;
      this.#headerSize += line.length;
      this.#header = this.#parser.readLine(line);
    }
    if (this.#header !== undefined) this.#headerSize = 0;
    return at;
  }

  /** What has arrived of the header line that ends at `end`, or continues there. */
  #readLine(
    chunk: Uint8Array,
    at: number,
    end: number,
    complete: boolean,
  ): Uint8Array {
    const partial = this.#partial;
    if (complete && partial.size === 0) return chunk.subarray(at, end);
    // A line too long to be a header is not copied as a whole.
    partial.add(chunk, at, Math.min(end, at + MAX_HEADER + 1));
    return complete ? partial.take() : partial.bytes;
  }

  #deliver(bytes: Uint8Array, start: number, end: number): number {
    const charset = this.#header?.charset;
    this.#header = undefined;
    return this.#onMessage(bytes, start, end, charset);
  }
}

/** What a header block contains. */
export interface MessageHeader {
  /** The message's length in bytes. */
  readonly length: number;
  /** The encoding of the text, in lower case; undefined if the header does not name it. */
  readonly charset: string | undefined;
}

/** The two headers of the framing, whose names may come in any case. */
const LENGTH = "content-length:";
const TYPE = "content-type:";

/** How many bytes of a line that is not a header are looked at, to name what it is. */
const SNIFFED = 24;

/**
 * Parses one header block after the other, line by line. A header must give the
 * length once, in digits, and exactly; otherwise the start of
 * the next message would be unknown.
 */
export class HeaderParser {
  readonly #maxMessage: number;
  #length: number | undefined;
  #charset: string | undefined;

  constructor(maxMessage: number) {
    this.#maxMessage = maxMessage;
  }

  /**
   * Checks the start of a line whose end has not arrived.
   *
   * @throws {ConnectionError} `protocol_error` if it cannot become a header line.
   */
  checkStart(line: Uint8Array): void {
    const text = latin1(line, 0, Math.min(line.length, LENGTH.length))
      .toLowerCase();
    for (const name of [LENGTH, TYPE, "\r\n"]) {
      if (name.startsWith(text) || text.startsWith(name)) return;
    }
    throw violation(
      `${
        looksLike(line.subarray(0, SNIFFED))
      } instead of a Content-Length header`,
    );
  }

  /**
   * Reads a complete line. Returns the header if the line is the empty one that
   * ends it.
   *
   * @throws {ConnectionError} `protocol_error` if it is not a header line,
   * `frame_too_large` if its length is not an exact number.
   */
  readLine(line: Uint8Array): MessageHeader | undefined {
    const end = line.length - 2;
    if (line[end] !== CR || line[end + 1] !== LF) {
      this.checkStart(line.subarray(0, end + 1));
      throw violation(
        "a header line that does not end with carriage return and line feed",
      );
    }
    if (end === 0) return this.#take();
    this.checkStart(line);
    const text = latin1(line, 0, end);
    const colon = text.indexOf(":") + 1;
    const value = text.slice(colon).trim();
    if (colon === TYPE.length) this.#charset = toCharset(value);
    else if (this.#length === undefined) this.#length = this.#toLength(value);
    else throw violation("a header with two Content-Length lines");
    return undefined;
  }

  #take(): MessageHeader {
    const length = this.#length;
    if (length === undefined) {
      throw violation("a header without a Content-Length line");
    }
    const charset = this.#charset;
    this.#length = this.#charset = undefined;
    return { length, charset };
  }

  #toLength(value: string): number {
    if (!/^[0-9]+$/.test(value)) {
      throw violation(`a Content-Length that is not a number: ${quote(value)}`);
    }
    const length = Number(value);
    if (Number.isSafeInteger(length)) return length;
    throw tooLarge(`a message of ${quote(value)} bytes`, this.#maxMessage);
  }
}

function toCharset(value: string): string | undefined {
  const found = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(value);
  return found?.[1].toLowerCase();
}

// Lines.

/** One message per line. White space between messages is skipped. */
class LineFraming implements Framing {
  stopped = false;
  readonly suffix = "\n";
  readonly #maxMessage: number;
  readonly #eager: boolean;
  readonly #onMessage: MessageTextHandler;
  readonly #mayRead: MayRead;
  readonly #oversized: OversizedHandler;
  /** Whether the rest of a line above the limit is being skipped. */
  #skipping = false;
  /** What has arrived of a line that has not ended. */
  readonly #partial = new GrowingBuffer();

  constructor(
    maxMessage: number,
    onMessage: MessageTextHandler,
    oversized: OversizedHandler,
    { eager = false, mayRead = always }: FramingOptions,
  ) {
    this.#maxMessage = maxMessage;
    this.#eager = eager;
    this.#onMessage = onMessage;
    this.#mayRead = mayRead;
    this.#oversized = oversized;
  }

  prefix(): string {
    return "";
  }

  push(chunk: Uint8Array, at: number, budget: number): number {
    while (at < chunk.length && !this.stopped && budget > 0) {
      if (this.#skipping) {
        const end = chunk.indexOf(LF, at);
        if (end < 0) return chunk.length;
        this.#skipping = false;
        at = end + 1;
      }
      if (this.#partial.size === 0) {
        at = skipSpace(chunk, at);
        if (at === chunk.length) return at;
        // Before the line ends: a TLS ClientHello may hold no LF at all.
        if (this.#eager && !startsJson(chunk[at])) {
          this.#deliver(chunk, at, chunk.length);
        }
      }
      const lf = chunk.indexOf(LF, at);
      const end = lf < 0 ? chunk.length : lf;
      // One byte more, for a carriage return, which is not part of the message.
      if (this.#partial.size + end - at > this.#maxMessage + 1) {
        this.#partial.add(chunk, at, Math.min(end, at + HEAD_SIZE));
        const head = this.#partial.take().subarray(0, HEAD_SIZE);
        const what = `a line of more than ${this.#maxMessage} bytes`;
        this.#skipping = this.#oversized(head, what, true);
        at = end;
        continue;
      }
      if (lf < 0) {
        this.#partial.add(chunk, at, end);
        return end;
      }
      const length = this.#partial.size + end - at;
      if (length >= LARGE && !this.#mayRead(length)) return at;
      if (this.#partial.size === 0) budget -= this.#deliver(chunk, at, end);
      else {
        this.#partial.add(chunk, at, end);
        const line = this.#partial.take();
        budget -= this.#deliver(line, 0, line.length);
      }
      at = lf + 1;
    }
    return at;
  }

  get insideMessage(): boolean {
    return this.#partial.size > 0 || this.#skipping;
  }

  get heldBytes(): number {
    return this.#partial.size;
  }

  /** Delivers a last line without LF: parsing it shows whether it is complete. */
  end(): void {
    if (this.#partial.size === 0) return;
    const line = this.#partial.take();
    this.#deliver(line, 0, line.length);
  }

  #deliver(bytes: Uint8Array, start: number, end: number): number {
    if (end > start && bytes[end - 1] === CR) end--;
    return this.#onMessage(bytes, start, end, undefined);
  }
}

function skipSpace(chunk: Uint8Array, at: number): number {
  while (at < chunk.length && isSpace(chunk[at])) at++;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === LF || byte === CR || byte === 0x09;
}

/**
 * Whether JSON text may start with this byte. Messages start with `{` or `[`;
 * any other JSON value is read too, and answered with an error.
 */
function startsJson(byte: number): boolean {
  return byte === 0x7b || byte === 0x5b || STARTS_OF_OTHERS.includes(byte);
}

/** The first bytes of strings, numbers, `true`, `false` and `null`. */
const STARTS_OF_OTHERS: readonly number[] = /* @__PURE__ */ Array.from(
  '"-0123456789tfn',
  (c) => c.charCodeAt(0),
);

// Both.

/** Size of a buffer's first allocation, in bytes. */
const MIN_ALLOCATION = 256;

/** A buffer that grows by doubling what it holds. */
export class GrowingBuffer {
  #bytes = EMPTY;
  /** How many bytes it holds. */
  size = 0;

  /** Appends a copy of `chunk[from..to)`. */
  add(chunk: Uint8Array, from: number, to: number): void {
    const size = this.size + to - from;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(
        Math.max(MIN_ALLOCATION, size, 2 * this.size),
      );
      grown.set(this.#bytes.subarray(0, this.size));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk.subarray(from, to), this.size);
    this.size = size;
  }

  /** Its content, valid until the next `add`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** Returns its content, which the caller then owns, and empties the buffer. */
  take(): Uint8Array {
    const { bytes } = this;
    this.#bytes = EMPTY;
    this.size = 0;
    return bytes;
  }
}

const EMPTY = /* @__PURE__ */ new Uint8Array(0);

/** The bytes as text with one character for each byte. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]);
  return text;
}

/** The error for a message above the local limit. The peer receives its text, too. */
export function tooLarge(what: string, maxMessage: number): ConnectionError {
  return new ConnectionError(
    "frame_too_large",
    `${what} exceeds the receiver's maxMessage of ${maxMessage} bytes`,
  );
}

function violation(what: string): ConnectionError {
  return new ConnectionError("protocol_error", `the peer sent ${what}`);
}
