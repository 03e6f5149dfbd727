/**
 * How a byte stream is cut into JSON texts, and how one is wrapped.
 *
 * Invariants owned here:
 * - No more than its head is held of a message above the limit. It fails the
 *   call that it answers, if its head tells; else it ends the connection.
 * - Work and copies are linear in the bytes, however they are cut into chunks.
 *
 * @module
 */

import { ConnectionError, quote } from "../base/errors.ts";
import { LARGE } from "../base/large_reads.ts";

import { looksLike } from "../wire/message_reader.ts";

/** The two ways that are in use: the header of language servers, or one message a line. */
export type FramingName = "contentLength" | "lines";

/** Takes whole messages; the bytes are lent for the time of the call. Returns what it counts towards the budget. */
export type MessageSink = (
  bytes: Uint8Array,
  start: number,
  end: number,
  charset: string | undefined,
) => number;

/** Whether a message of so many bytes may be told now; asked of large ones. */
export type MayRead = (bytes: number) => boolean;
/**
 * Takes the head of a message above the limit, which is `what`; `whole` says
 * that no more of it comes. Returns whether it is told, false if more is needed.
 *
 * @throws {ConnectionError} `frame_too_large` if nobody could be told.
 */
export type OversizedSink = (
  head: Uint8Array,
  what: string,
  whole: boolean,
) => boolean;

/** Cuts one connection's bytes. After it has thrown it must not be used again. */
export interface Framing {
  /** Set to stop before the next message. */
  stopped: boolean;
  /** Takes `chunk` from `at`, at most `budget` messages; returns how far it came. */
  push(chunk: Uint8Array, at: number, budget: number): number;
  /** Whether a message has begun and not ended. */
  readonly inside: boolean;
  /** Bytes held of it. */
  readonly held: number;
  /** The stream has ended. */
  end(): void;
  /** What goes before a message of `length` bytes. */
  before(length: number): string;
  /** What goes behind one. */
  readonly behind: string;
}

/**
 * A framing's name, as it is.
 *
 * @throws {TypeError} If it is none.
 */
export function checkFraming(name: FramingName): FramingName {
  if (name === "contentLength" || name === "lines") return name;
  throw new TypeError(
    `Cannot use framing: "contentLength" or "lines", received ${name}`,
  );
}

/** What a framing does besides. */
export interface FramingOptions {
  /**
   * Whether a line that can be none is refused before its end has come: a
   * header line by an error, one of JSON by the sink, which gets what has come
   * of it. Else the errors are the same however the bytes are cut.
   */
  readonly eager?: boolean;
  /** Says when large messages may be read; unless given, at once. */
  readonly mayRead?: MayRead;
  /** Takes the heads of messages above the limit; unless given, these end the connection. */
  readonly oversized?: OversizedSink;
}

/** Makes a framing that hands its messages, of at most `maxMessage` bytes, to `sink`. */
export function toFraming(
  name: FramingName,
  maxMessage: number,
  sink: MessageSink,
  options: FramingOptions = {},
): Framing {
  const oversized: OversizedSink = options.oversized ?? ((_head, what) => {
    throw tooLarge(what, maxMessage);
  });
  return name === "lines"
    ? new Lines(maxMessage, sink, oversized, options)
    : new ContentLength(maxMessage, sink, oversized, options);
}

const always: MayRead = () => true;

/** Longest header block, in bytes. */
const MAX_HEADER = 4096;
/** As much as is looked at of a message above the limit. */
const HEAD = 128;
const LF = 10;
const CR = 13;

/** A header block with the length, an empty line, the message. */
class ContentLength implements Framing {
  stopped = false;
  readonly behind = "";
  readonly #maxMessage: number;
  readonly #eager: boolean;
  readonly #sink: MessageSink;
  readonly #mayRead: MayRead;
  readonly #oversized: OversizedSink;
  readonly #block: HeaderBlock;
  /** What is still to come of a message above the limit, once it is told; 0 before. */
  #skip = 0;
  /** Bytes of the header that have come in whole lines. */
  #headerSize = 0;
  /** What has come of a line of the header or, once that is known, of the body. */
  readonly #gather = new Gather();
  #header: Header | undefined;

  constructor(
    maxMessage: number,
    sink: MessageSink,
    oversized: OversizedSink,
    { eager = false, mayRead = always }: FramingOptions,
  ) {
    this.#maxMessage = maxMessage;
    this.#eager = eager;
    this.#block = new HeaderBlock(maxMessage);
    this.#sink = sink;
    this.#oversized = oversized;
    this.#mayRead = mayRead;
  }

  before(length: number): string {
    return `Content-Length: ${length}\r\n\r\n`;
  }

  push(chunk: Uint8Array, at: number, budget: number): number {
    while (at < chunk.length && !this.stopped && budget > 0) {
      if (this.#header === undefined) at = this.#readHeader(chunk, at);
      // A body may be empty, and then no further byte comes for it.
      if (this.#header === undefined) continue;
      if (this.#header.length > this.#maxMessage) {
        at = this.#pass(chunk, at, this.#header.length);
        continue;
      }
      const missing = this.#header.length - this.#gather.size;
      const end = Math.min(chunk.length, at + missing);
      const whole = end - at === missing;
      const { length } = this.#header;
      // Its last bytes are left, so that whoever waits is asked for them again.
      if (whole && length >= LARGE && !this.#mayRead(length)) return at;
      if (whole && this.#gather.size === 0) {
        budget -= this.#tell(chunk, at, end);
      } else {
        this.#gather.add(chunk, at, end);
        if (whole) {
          const body = this.#gather.take();
          budget -= this.#tell(body, 0, body.length);
        }
      }
      at = end;
    }
    return at;
  }

  get inside(): boolean {
    return this.#header !== undefined || this.#headerSize > 0 ||
      this.#gather.size > 0;
  }

  get held(): number {
    return this.#gather.size;
  }

  end(): void {
    const { size } = this.#gather;
    if (this.#header !== undefined) {
      const { length } = this.#header;
      throw new ConnectionError(
        "truncated",
        `the stream ended inside a message: ${
          length - size
        } of ${length} bytes missing`,
      );
    }
    if (!this.inside) return;
    throw new ConnectionError("truncated", "the stream ended inside a header");
  }

  /** Passes over a message above the limit, but for its head. */
  #pass(chunk: Uint8Array, at: number, length: number): number {
    const gather = this.#gather;
    if (this.#skip === 0) {
      const want = Math.min(HEAD, length);
      const end = Math.min(chunk.length, at + want - gather.size);
      gather.add(chunk, at, end);
      at = end;
      const { size } = gather;
      const what = `a message of ${length} bytes`;
      if (!this.#oversized(gather.bytes, what, size === want)) return at;
      gather.take();
      this.#skip = length - size;
    }
    const end = Math.min(chunk.length, at + this.#skip);
    this.#skip -= end - at;
    if (this.#skip === 0) this.#header = undefined;
    return end;
  }

  /** Takes header bytes, up to and with the empty line. */
  #readHeader(chunk: Uint8Array, at: number): number {
    while (at < chunk.length && this.#header === undefined) {
      const lf = chunk.indexOf(LF, at);
      const end = lf < 0 ? chunk.length : lf + 1;
      const line = this.#line(chunk, at, end, lf >= 0);
      at = end;
      const over = this.#headerSize + line.length > MAX_HEADER;
      if (over || (lf < 0 && this.#eager)) this.#block.begin(line);
      if (over) {
        throw new ConnectionError(
          "protocol_error",
          `a header of more than ${MAX_HEADER} bytes`,
        );
      }
      if (lf < 0) return at;
      this.#headerSize += line.length;
      this.#header = this.#block.line(line);
    }
    if (this.#header !== undefined) this.#headerSize = 0;
    return at;
  }

  /** What has come of the header line that ends at `end`, or goes on there. */
  #line(
    chunk: Uint8Array,
    at: number,
    end: number,
    whole: boolean,
  ): Uint8Array {
    const gather = this.#gather;
    if (whole && gather.size === 0) return chunk.subarray(at, end);
    // What is too long to be a header is not copied first.
    gather.add(chunk, at, Math.min(end, at + MAX_HEADER + 1));
    return whole ? gather.take() : gather.bytes;
  }

  #tell(bytes: Uint8Array, start: number, end: number): number {
    const charset = this.#header?.charset;
    this.#header = undefined;
    return this.#sink(bytes, start, end, charset);
  }
}

/** One message a line; white space between them is skipped. */
class Lines implements Framing {
  stopped = false;
  readonly behind = "\n";
  readonly #maxMessage: number;
  readonly #eager: boolean;
  readonly #sink: MessageSink;
  readonly #mayRead: MayRead;
  readonly #oversized: OversizedSink;
  /** Whether the rest of the line is passed over. */
  #skips = false;
  /** A line that has not ended. */
  readonly #gather = new Gather();

  constructor(
    maxMessage: number,
    sink: MessageSink,
    oversized: OversizedSink,
    { eager = false, mayRead = always }: FramingOptions,
  ) {
    this.#maxMessage = maxMessage;
    this.#eager = eager;
    this.#sink = sink;
    this.#mayRead = mayRead;
    this.#oversized = oversized;
  }

  before(): string {
    return "";
  }

  push(chunk: Uint8Array, at: number, budget: number): number {
    while (at < chunk.length && !this.stopped && budget > 0) {
      if (this.#skips) {
        const end = chunk.indexOf(LF, at);
        if (end < 0) return chunk.length;
        this.#skips = false;
        at = end + 1;
      }
      if (this.#gather.size === 0) {
        at = skipSpace(chunk, at);
        if (at === chunk.length) return at;
        // Not when the line has ended, which that of a TLS hello never does.
        if (this.#eager && !beginsJson(chunk[at])) {
          this.#tell(chunk, at, chunk.length);
        }
      }
      const lf = chunk.indexOf(LF, at);
      const end = lf < 0 ? chunk.length : lf;
      // A carriage return before the line feed is not the message's.
      if (this.#gather.size + end - at > this.#maxMessage + 1) {
        this.#gather.add(chunk, at, Math.min(end, at + HEAD));
        const head = this.#gather.take().subarray(0, HEAD);
        const what = `a line of more than ${this.#maxMessage} bytes`;
        this.#skips = this.#oversized(head, what, true);
        at = end;
        continue;
      }
      if (lf < 0) {
        this.#gather.add(chunk, at, end);
        return end;
      }
      const length = this.#gather.size + end - at;
      if (length >= LARGE && !this.#mayRead(length)) return at;
      if (this.#gather.size === 0) budget -= this.#tell(chunk, at, end);
      else {
        this.#gather.add(chunk, at, end);
        const line = this.#gather.take();
        budget -= this.#tell(line, 0, line.length);
      }
      at = lf + 1;
    }
    return at;
  }

  get inside(): boolean {
    return this.#gather.size > 0 || this.#skips;
  }

  get held(): number {
    return this.#gather.size;
  }

  /** A last line needs no line feed: a message shows by itself whether it is whole. */
  end(): void {
    if (this.#gather.size === 0) return;
    const line = this.#gather.take();
    this.#tell(line, 0, line.length);
  }

  #tell(bytes: Uint8Array, start: number, end: number): number {
    if (end > start && bytes[end - 1] === CR) end--;
    return this.#sink(bytes, start, end, undefined);
  }
}

function skipSpace(chunk: Uint8Array, at: number): number {
  while (at < chunk.length && isSpace(chunk[at])) at++;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === LF || byte === CR || byte === 0x09;
}

/** Messages alone are `{` and `[`; any other value is answered, as the specification has it. */
function beginsJson(byte: number): boolean {
  return byte === 0x7b || byte === 0x5b || FIRST_OF_OTHERS.includes(byte);
}

/** The first bytes of `"`, a number, `true`, `false` and `null`. */
const FIRST_OF_OTHERS = Array.from('"-0123456789tfn', (c) => c.charCodeAt(0));

/** The first buffer's size, in bytes. */
const FIRST = 256;

/** A buffer that grows. */
export class Gather {
  #bytes = EMPTY;
  /** How many bytes are in. */
  size = 0;

  /** Copies `chunk[from..to)` in. */
  add(chunk: Uint8Array, from: number, to: number): void {
    const size = this.size + to - from;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(FIRST, size, 2 * this.size));
      grown.set(this.#bytes.subarray(0, this.size));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk.subarray(from, to), this.size);
    this.size = size;
  }

  /** What is in, lent until the next `add`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** Hands over what is in, and holds nothing any more. */
  take(): Uint8Array {
    const { bytes } = this;
    this.#bytes = EMPTY;
    this.size = 0;
    return bytes;
  }
}

const EMPTY = new Uint8Array(0);

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
