/**
 * Frames into the outbox: header, fields, and the payload that is prepared.
 *
 * Invariant owned here: a large payload is not copied into the batch, but
 * attached to it, right behind its frame's other fields.
 *
 * @module
 */

import { HEADER_SIZE, writeHeaderTo } from "./frame.ts";
import { writeU16 } from "./fields.ts";
import type { FrameBuffer } from "./frame_buffer.ts";
import type { PayloadEncoder } from "./payload.ts";
import { boundedUtf8 } from "../base/utf8.ts";

/** Longest error code on the wire, in bytes. */
const MAX_CODE = 64;
/** Longest error or GOAWAY text on the wire, in bytes. */
const MAX_TEXT = 4096;

/** A code and a text for people, as they travel. */
export class CodeAndText {
  readonly #code: Uint8Array;
  readonly #text: Uint8Array;

  constructor(code: string, text: string) {
    this.#code = boundedUtf8(code, MAX_CODE);
    this.#text = boundedUtf8(text, MAX_TEXT);
  }

  /** Their size with both lengths, in bytes. */
  get size(): number {
    return 3 + this.#code.length + this.#text.length;
  }

  /** Writes them at `at`; returns where they end. */
  write(bytes: Uint8Array, at: number): number {
    bytes[at++] = this.#code.length;
    bytes.set(this.#code, at);
    at = writeU16(bytes, at + this.#code.length, this.#text.length);
    bytes.set(this.#text, at);
    return at + this.#text.length;
  }
}

/** Writes frames with and without the prepared payload. */
export class FrameWriter {
  readonly payload: PayloadEncoder;

  constructor(payload: PayloadEncoder) {
    this.payload = payload;
  }

  /** Begins a frame of `size` bytes without a payload; returns where its body begins. */
  begin(
    sendBuffer: FrameBuffer,
    size: number,
    kind: number,
    flags: number,
    id: number,
  ): number {
    const at = sendBuffer.reserve(size);
    writeHeaderTo(sendBuffer.view, at, size - HEADER_SIZE, kind, flags, id);
    return at + HEADER_SIZE;
  }

  /** Begins one that ends with the prepared payload, whose bytes `size` counts. */
  beginWithPayload(
    sendBuffer: FrameBuffer,
    size: number,
    kind: number,
    flags: number,
    id: number,
  ): number {
    const { inline, size: attached } = this.payload;
    const at = inline
      ? sendBuffer.reserve(size)
      : sendBuffer.reserve(size - attached, attached);
    writeHeaderTo(sendBuffer.view, at, size - HEADER_SIZE, kind, flags, id);
    return at + HEADER_SIZE;
  }

  /** Ends it with the prepared payload, kind first. */
  endWithPayload(sendBuffer: FrameBuffer, at: number): void {
    const { payload } = this;
    sendBuffer.bytes[at] = payload.kind;
    if (payload.inline) payload.write(sendBuffer, at + 1);
    else payload.attach(sendBuffer);
    payload.clear();
  }
}
