/**
 * Reading and writing the fields of a frame's body.
 *
 * Invariants owned here:
 * - No read goes past the body's end, whatever a length in it says.
 * - A body is used up exactly.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { readU16, readU32 } from "./frame.ts";
import { keepMetadata, type MetadataBlock } from "./metadata.ts";
import { CUSTOM, STREAM, UNDEFINED } from "./protocol.ts";
import { NO_BYTES } from "../base/bytes.ts";
import { checkText, readText } from "../base/utf8.ts";

/** Walks over one body at a time; what is left when the fields are read is the payload. */
export class FieldReader {
  /** The chunk the body lies in. */
  bytes: Uint8Array = NO_BYTES;
  /** Where reading goes on; after `payload()`, where the payload begins. */
  at = 0;
  /** Where the body, and so the payload, ends. */
  end = 0;
  /** The payload kind; set by `payload()`. */
  kind = UNDEFINED;

  /** The latest method read, with its bytes: calls in a row mostly share one. */
  #method = "";
  #methodBytes: Uint8Array = NO_BYTES;

  /** Begins a body. */
  open(bytes: Uint8Array, start: number, end: number): void {
    // Compared first: to note an object costs more than to find it noted.
    if (this.bytes !== bytes) this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Lets go of the chunk: an idle connection holds none. */
  release(): void {
    this.open(NO_BYTES, 0, 0);
  }

  u8(): number {
    return this.bytes[this.#skip(1)];
  }

  u16(): number {
    return readU16(this.bytes, this.#skip(2));
  }

  u32(): number {
    return readU32(this.bytes, this.#skip(4));
  }

  /** Text of `length` bytes; `what` names it in the error. */
  text(length: number, what: string): string {
    const start = this.#skip(length);
    try {
      return readText(this.bytes, start, start + length);
    } catch {
      return notText(what);
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
    const method = this.text(length, "a method name");
    if (length <= 256) {
      this.#method = method;
      this.#methodBytes = new Uint8Array(length);
      this.#methodBytes.set(this.bytes.subarray(start, this.at));
    }
    return method;
  }

  /** A u16 length and a block of entries: u8 length and name, u16 length and value. */
  metadata(): MetadataBlock {
    const length = this.u16();
    const start = this.at;
    const end = start + length;
    if (end > this.end) this.#short();
    while (this.at < end) {
      this.#check(this.u8(), "a metadata name");
      this.#check(this.u16(), "a metadata value");
    }
    if (this.at !== end) this.#short();
    return keepMetadata(this.bytes, start, end);
  }

  /** Passes over text of `length` bytes. */
  #check(length: number, what: string): void {
    const start = this.#skip(length);
    if (!checkText(this.bytes, start, start + length)) notText(what);
  }

  /** A payload kind, none above `most`; the payload is the rest. */
  payload(most: number = CUSTOM): void {
    const kind = this.u8();
    if (kind > most) {
      throw new ConnectionError(
        "protocol_error",
        `unknown payload kind ${kind}`,
      );
    }
    if (kind === UNDEFINED || kind === STREAM) this.done();
    this.kind = kind;
  }

  /** Nothing may follow. */
  done(): void {
    if (this.at === this.end) return;
    throw new ConnectionError(
      "protocol_error",
      `a frame body is ${this.end - this.at} bytes longer than its layout`,
    );
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

  #skip(n: number): number {
    const at = this.at;
    if (at + n > this.end) this.#short();
    this.at = at + n;
    return at;
  }

  #short(): never {
    throw new ConnectionError(
      "protocol_error",
      "a frame body is shorter than its layout",
    );
  }
}

/** Writes a big-endian u16; returns where it ends. */
export function writeU16(bytes: Uint8Array, at: number, n: number): number {
  bytes[at] = n >>> 8;
  bytes[at + 1] = n;
  return at + 2;
}

/** Writes a big-endian u32; returns where it ends. */
export function writeU32(bytes: Uint8Array, at: number, n: number): number {
  bytes[at] = n >>> 24;
  bytes[at + 1] = n >>> 16;
  bytes[at + 2] = n >>> 8;
  bytes[at + 3] = n;
  return at + 4;
}

function notText(what: string): never {
  throw new ConnectionError("protocol_error", `${what} is not UTF-8`);
}

/** Writes a metadata block with its length field; returns where it ends. */
export function writeMetadata(
  bytes: Uint8Array,
  at: number,
  block: MetadataBlock,
): number {
  at = writeU16(bytes, at, block.size);
  bytes.set(block.bytes, at);
  return at + block.size;
}
