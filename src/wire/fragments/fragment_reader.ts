/**
 * Puts messages together that arrive in fragments. `docs/protocol.md` section 6
 * is normative.
 *
 * - At most one REQUEST and one response are unfinished at a time. Each takes
 *   as much memory as has arrived of it, and at most its length, which is
 *   checked against the limit of whole messages when its first piece arrives.
 * - The header of a message is checked before anything of it is kept.
 *
 * @module
 */

import { ConnectionError, protocolError } from "../../base/errors.ts";
import type { FieldReader } from "../fields.ts";
import {
  ERROR,
  FLAG_ABORT,
  FLAG_CALLER,
  FLAG_URGENT,
  HEADER_SIZE,
  REPLY,
  REQUEST,
} from "../frame.ts";
import type {
  FragmentSource,
  MessageAssembler,
  MessageHandler,
} from "../codec.ts";
import { checkKind, checkLength } from "../frame_decoder.ts";
import { BodyParts } from "./body_parts.ts";
import { MAX_WHOLE } from "../protocol.ts";

/** A message that arrives in fragments: the fields of its header, and its body so far. */
export class FragmentedMessage extends BodyParts {
  kind = 0;
  flags = 0;
  id = 0;
  /** The length of its body; -1 while there is no message. */
  length = -1;
  /** The number of the frame that began it; Infinity while there is no message. */
  since = Infinity;

  /** Drops the message. */
  override clear(): void {
    super.clear();
    this.length = -1;
    this.since = Infinity;
  }

  /** Whether a fragment with so many bytes completes it. */
  isLast(bytes: number): boolean {
    return this.length >= 0 && this.filled + bytes >= this.length;
  }
}

/** The messages of one direction that have begun and not ended. */
export class FragmentReader implements MessageAssembler {
  readonly #request = new FragmentedMessage();
  readonly #response = new FragmentedMessage();

  /** The size of the message that a fragment completes; undefined if it completes none. */
  parsedSize(bytes: number, flags: number): number | undefined {
    const message = this.#place(flags);
    const parsed = (flags & FLAG_ABORT) === 0 && message.isLast(bytes);
    return parsed ? message.length : undefined;
  }

  /** Whether a fragment may be delivered in parts: not where it could be a fault as a whole, or be the end of its message. */
  inParts(bytes: number, flags: number): boolean {
    return bytes <= MAX_WHOLE && (flags & FLAG_ABORT) === 0 &&
      !this.#place(flags).isLast(bytes);
  }

  /** The place of the messages with the CALLER flag, or without it. */
  #place(flags: number): FragmentedMessage {
    return (flags & FLAG_CALLER) !== 0 ? this.#request : this.#response;
  }

  /** The number of the frame that began the older one; Infinity if there is none. */
  get since(): number {
    return Math.min(this.#request.since, this.#response.since);
  }

  /** The bytes that have arrived of both. */
  get filled(): number {
    return this.#request.filled + this.#response.filled;
  }

  /** Drops both. Returns whether one was a request. */
  clear(): boolean {
    const hadRequest = this.#request.length >= 0;
    this.#request.clear();
    this.#response.clear();
    return hadRequest;
  }

  /**
   * Checks that the byte stream may end here.
   *
   * @throws {ConnectionError} `truncated` inside a message.
   */
  end(): void {
    for (const { id, filled, length } of [this.#request, this.#response]) {
      if (length < 0) continue;
      const missing = length - filled;
      throw new ConnectionError(
        "truncated",
        `the stream ended inside a message of call ${id}: ${missing} of ${length} bytes missing`,
      );
    }
  }

  /** Takes a fragment, and delivers what it begins, completes or gives up. */
  read(
    flags: number,
    id: number,
    body: FieldReader,
    source: FragmentSource,
    handler: MessageHandler,
  ): void {
    const { decoder } = source;
    const { maxBody, counters: { headers } } = decoder;
    const message = this.#take(flags, id, body, maxBody, headers);
    if (message === undefined) return;
    const isRequest = message.kind === REQUEST;
    if ((flags & FLAG_ABORT) !== 0) {
      message.clear();
      if (isRequest) handler.onRequestAborted();
    } else if (message.filled === message.length) {
      if (isRequest) handler.onRequestWhole();
      const whole = message.join();
      decoder.owned = true;
      source.frame(message.kind, message.flags, id, whole, 0, whole.length);
      decoder.owned = false;
    } else if (isRequest) {
      source.urgent = (message.flags & FLAG_URGENT) !== 0;
      handler.onRequestBegun(id, message.length + HEADER_SIZE);
    }
  }

  /**
   * Takes a fragment; `frame` is its number. Returns the message that it
   * begins, completes or gives up; undefined if it only continues one.
   *
   * @throws {ConnectionError} `protocol_error` or `frame_too_large`, if it
   *   breaks the rules.
   */
  #take(
    flags: number,
    id: number,
    body: FieldReader,
    maxBody: number,
    frame: number,
  ): FragmentedMessage | undefined {
    const message = this.#place(flags);
    const size = body.end - body.at;
    const begins = message.length < 0;
    const aborts = (flags & FLAG_ABORT) !== 0;
    if (aborts ? begins : size === 0 || size > MAX_WHOLE) {
      protocolError(`a fragment of ${size} bytes, with flags ${flags}`);
    }
    if (!begins && id !== message.id) {
      protocolError(`a fragment of call ${id} inside that of ${message.id}`);
    }
    if (aborts) return message;
    if (begins) begin(message, flags, id, body, maxBody);
    const { at, bytes, end } = body;
    if (message.take(bytes, at, end, message.length) < end) {
      protocolError(`a fragment exceeds its message, of call ${id}`);
    }
    if (begins) message.since = frame;
    return begins || message.filled === message.length ? message : undefined;
  }
}

/** Reads the header of a message. */
function begin(
  message: FragmentedMessage,
  flags: number,
  id: number,
  body: FieldReader,
  maxBody: number,
): void {
  const length = body.u32();
  const kind = body.u8();
  const ownFlags = body.u8() | body.u16() << 8;
  const caller = (flags & FLAG_CALLER) !== 0;
  const fits = caller ? kind === REQUEST : kind === REPLY || kind === ERROR;
  checkLength(length, maxBody);
  if (!fits || body.u32() !== id || length <= MAX_WHOLE) {
    protocolError(`a fragment of call ${id} begins no message that is cut`);
  }
  checkKind(kind, ownFlags);
  message.kind = kind;
  message.flags = ownFlags;
  message.id = id;
  message.length = length;
}
