/**
 * A REQUEST, REPLY or ERROR that is written in fragments: encoded whole, like
 * any other, but into memory of its own, in which the headers of its fragments
 * stand already. So a fragment is attached to the batch, and several that follow
 * each other are one chunk.
 *
 * - The user's bytes are copied, also those that are lent.
 * - The bytes of the message count in the send buffer from its encoding on, each
 *   once.
 * - What was begun is completed or given up, so that the peer never waits for
 *   the rest of it.
 *
 * @module
 */

import { blank, NO_BYTES, NO_VIEW, SPILL, viewOf } from "../../base/bytes.ts";
import {
  FLAG_ABORT,
  FLAG_CALLER,
  FRAGMENT,
  HEADER_SIZE,
  PAD,
  writeHeader,
} from "../frame.ts";
import type { FrameBuffer, LargeMessage } from "../frame_buffer.ts";
import { MAX_WHOLE } from "../protocol.ts";

/** A message, and how far it is written. */
export class FragmentWriter implements LargeMessage {
  bytes = NO_BYTES;
  view = NO_VIEW;
  readonly urgent: boolean;
  readonly isRequest: boolean;
  onEnd: (() => void) | undefined;
  readonly #sendBuffer: FrameBuffer;
  readonly #id: number;
  readonly #size: number;
  /** What stands in front of the payload, in bytes, and the payload unless that is written behind it. */
  #headSize = 0;
  #payload = NO_BYTES;
  /** The fragments, and how much of them is written. */
  #frames = NO_BYTES;
  #written = 0;
  /** Where the latest fragment stands. */
  #batch = -1;
  #latest = 0;

  /** @param size The bytes of the whole message, header included; they are counted already. */
  constructor(
    sendBuffer: FrameBuffer,
    id: number,
    isRequest: boolean,
    size: number,
    urgent: boolean,
  ) {
    this.#sendBuffer = sendBuffer;
    this.#id = id;
    this.isRequest = isRequest;
    this.#size = size;
    this.urgent = urgent;
  }

  reserve(n: number): number {
    this.#headSize = n;
    this.bytes = new Uint8Array(n + SPILL);
    this.view = viewOf(this.bytes);
    return 0;
  }

  lend(chunk: Uint8Array): void {
    this.#payload = chunk;
  }

  /** The message has been encoded: cuts it. */
  cut(): void {
    const size = this.#size;
    const frames = blank(size + HEADER_SIZE * Math.ceil(size / MAX_WHOLE));
    const flags = this.isRequest ? FLAG_CALLER : 0;
    const sources = [this.bytes.subarray(0, this.#headSize), this.#payload];
    let at = 0;
    // The bytes of the current fragment that are missing.
    let room = 0;
    let rest = size;
    for (let source of sources) {
      while (source.length > 0) {
        if (room === 0) {
          room = Math.min(MAX_WHOLE, rest);
          rest -= room;
          writeHeader(frames, at, room, FRAGMENT, flags, this.#id);
          at += HEADER_SIZE;
        }
        const part = source.subarray(0, room);
        frames.set(part, at);
        at += part.length;
        room -= part.length;
        source = source.subarray(part.length);
      }
    }
    this.#frames = frames;
    this.bytes = this.#payload = NO_BYTES;
    this.view = NO_VIEW;
  }

  get begun(): boolean {
    return this.#written > 0;
  }

  write(): boolean {
    const sendBuffer = this.#sendBuffer;
    const start = this.#written;
    const chunk = this.#frames.subarray(start, start + HEADER_SIZE + MAX_WHOLE);
    sendBuffer.park(HEADER_SIZE - chunk.length);
    sendBuffer.attach(chunk);
    this.#batch = sendBuffer.batch;
    this.#latest = start;
    this.#written = start + chunk.length;
    return this.#written < this.#frames.length;
  }

  abort(): void {
    const sendBuffer = this.#sendBuffer;
    const frames = this.#frames;
    const flags = frames[5] | FLAG_ABORT;
    for (
      let at = this.#written;
      at < frames.length;
      at += HEADER_SIZE + MAX_WHOLE
    ) {
      sendBuffer.park(-Math.min(MAX_WHOLE, frames.length - at - HEADER_SIZE));
    }
    this.#frames = NO_BYTES;
    if (!this.begun) return;
    // What is not handed over is changed where it stands.
    if (this.#batch !== sendBuffer.batch) {
      const bytes = new Uint8Array(HEADER_SIZE);
      writeHeader(bytes, 0, 0, FRAGMENT, flags, this.#id);
      sendBuffer.attach(bytes);
    } else if (this.#latest > 0) frames[this.#latest + 5] = flags;
    else frames[4] = PAD;
  }
}
