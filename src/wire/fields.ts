/**
 * Reads the fields of a frame's body.
 *
 * Invariants owned here:
 * - No read goes beyond the end of the body, whatever a length in it says.
 * - A body is exactly as long as its fields: `payload` or `done` checks that
 *   nothing is left.
 *
 * @module
 */

import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { protocolError } from "../base/errors.ts";
import { checkText, readText } from "../base/utf8.ts";
import { FLAG_METADATA, readU16, readU32 } from "./frame.ts";
import { MetadataBlock } from "./metadata.ts";
import type { PayloadView } from "./values/payload.ts";
import { CUSTOM, STREAM, UNDEFINED } from "./protocol.ts";

/** Method names of up to this many bytes are remembered, to compare the next one with. */
const MAX_REMEMBERED = 256;

/** Reads one body at a time, field by field. What follows the fields is the payload. */
export class FieldReader implements PayloadView {
  /** The chunk that has the body. */
  bytes: Uint8Array = NO_BYTES;
  /** Where the next field begins; after `payload()`, where the payload begins. */
  at = 0;
  /** Where the body, and with it the payload, ends. */
  end = 0;
  /** The payload kind; `payload()` sets it. */
  kind = UNDEFINED;

  /** The latest method, and its bytes: most calls in a row have the same one. */
  #method = "";
  #methodBytes: Uint8Array = NO_BYTES;

  /** Begins a body. */
  open(bytes: Uint8Array, start: number, end: number): void {
    // Compared first, because storing an object costs more than comparing it.
    if (this.bytes !== bytes) this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Drops the chunk, so that an idle connection does not keep it in memory. */
  release(): void {
    this.open(NO_BYTES, 0, 0);
  }

  /** Passes `n` bytes and returns where they begin. */
  skip(n: number): number {
    const { at } = this;
    if (at + n > this.end) tooShort();
    this.at = at + n;
    return at;
  }

  u8(): number {
    return this.bytes[this.skip(1)];
  }

  u16(): number {
    return readU16(this.bytes, this.skip(2));
  }

  u32(): number {
    return readU32(this.bytes, this.skip(4));
  }

  /** Text of `length` bytes. */
  text(length: number): string {
    const start = this.skip(length);
    try {
      return readText(this.bytes, start, this.at);
    } catch {
      return notText();
    }
  }

  /** A u16 length and a method name. */
  method(): string {
    const length = this.u16();
    if (length === this.#methodBytes.length && this.#sameMethod()) {
      this.at += length;
      return this.#method;
    }
    const start = this.at;
    const method = this.text(length);
    if (length <= MAX_REMEMBERED) {
      this.#method = method;
      this.#methodBytes = new Uint8Array(this.bytes.subarray(start, this.at));
    }
    return method;
  }

  /**
   * The metadata block, if `flags` say that there is one: a u16 length, and
   * entries of a u8 length and a name, a u16 length and a value.
   */
  metadata(flags: number): MetadataBlock | undefined {
    if ((flags & FLAG_METADATA) === 0) return undefined;
    const length = this.u16();
    const start = this.at;
    const end = start + length;
    while (this.at < end) {
      this.#checkText(this.u8());
      this.#checkText(this.u16());
    }
    if (this.at !== end) tooShort();
    return new MetadataBlock(copyBytes(this.bytes, start, end));
  }

  /** A payload kind of at most `last`. The payload is the rest of the body. */
  payload(last: number = CUSTOM): void {
    const kind = this.u8();
    if (kind > last) protocolError(`unknown payload kind ${kind}`);
    if (kind === UNDEFINED || kind === STREAM) this.done();
    this.kind = kind;
  }

  /** Checks that nothing follows. */
  done(): void {
    const rest = this.end - this.at;
    if (rest > 0) {
      protocolError(`a frame body is ${rest} bytes longer than its layout`);
    }
  }

  #checkText(length: number): void {
    if (!checkText(this.bytes, this.skip(length), this.at)) notText();
  }

  #sameMethod(): boolean {
    const { bytes, at } = this;
    const known = this.#methodBytes;
    if (at + known.length > this.end) return false;
    for (let i = 0; i < known.length; i++) {
      if (bytes[at + i] !== known[i]) return false;
    }
    return true;
  }
}

function tooShort(): never {
  protocolError("a frame body is shorter than its layout");
}

function notText(): never {
  protocolError("a text in a frame is not UTF-8");
}
