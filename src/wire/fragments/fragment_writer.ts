/**
 * A REQUEST, REPLY or ERROR that is written in fragments: encoded whole, like
 * any other, but into memory of its own.
 *
 * - Its bytes count in the send buffer from its encoding on, each once.
 * - A fragment's bytes are copied when it is written. So bytes that the user has
 *   lent are either all sent, or the message is given up.
 * - What was begun is completed or given up, so that the peer never waits for
 *   the rest of it.
 *
 * @module
 */

import { blank, NO_BYTES, NO_VIEW, SPILL, viewOf } from "../../base/bytes.ts";
import { FLAG_ABORT, FLAG_CALLER, FRAGMENT, PAD } from "../frame.ts";
import type { FrameBuffer, LargeMessage } from "../frame_buffer.ts";
import { beginFrame } from "../frame_writer.ts";
import { MAX_WHOLE } from "../protocol.ts";

/** The bytes of a message in one fragment: two of them fit into a segment of the send buffer. */
const PIECE = MAX_WHOLE - 16;

/** A message, and how far it is written. */
export class FragmentWriter implements LargeMessage {
  bytes = NO_BYTES;
  view = NO_VIEW;
  readonly urgent: boolean;
  readonly isRequest: boolean;
  lost = false;
  onEnd: ((lost: boolean) => void) | undefined;
  readonly #sendBuffer: FrameBuffer;
  readonly #id: number;
  readonly #size: number;
  /** How much of it is written, in bytes. */
  #written = 0;
  /** Where its latest fragment stands. */
  #batch = -1;
  #batchOffset = 0;
  #lent = NO_BYTES;
  #lentSize = 0;

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
    this.bytes = blank(n + SPILL);
    this.view = viewOf(this.bytes);
    return 0;
  }

  lend(chunk: Uint8Array): void {
    this.#lent = chunk;
    this.#lentSize = chunk.length;
  }

  get begun(): boolean {
    return this.#written > 0;
  }

  get #flags(): number {
    return this.isRequest ? FLAG_CALLER : 0;
  }

  write(): boolean {
    const sendBuffer = this.#sendBuffer;
    const start = this.#written;
    const lent = this.#lent;
    if (lent.length !== this.#lentSize) {
      this.abort();
      this.lost = true;
      return false;
    }
    const end = Math.min(this.#size, start + PIECE);
    sendBuffer.park(start - end);
    let at = beginFrame(
      sendBuffer,
      end - start,
      FRAGMENT,
      this.#flags,
      this.#id,
    );
    this.#batch = sendBuffer.batch;
    this.#batchOffset = sendBuffer.batchOffset;
    const own = this.#size - this.#lentSize;
    if (start < own) {
      const part = this.bytes.subarray(start, Math.min(end, own));
      sendBuffer.bytes.set(part, at);
      at += part.length;
    }
    if (end > own) {
      const part = lent.subarray(Math.max(0, start - own), end - own);
      sendBuffer.bytes.set(part, at);
    }
    this.#written = end;
    return end < this.#size;
  }

  abort(): void {
    const sendBuffer = this.#sendBuffer;
    const written = this.#written;
    const flags = this.#flags | FLAG_ABORT;
    sendBuffer.park(written - this.#size);
    this.#written = this.#size;
    if (written === 0) return;
    // What is not handed over is changed where it stands.
    if (this.#batch !== sendBuffer.batch) {
      beginFrame(sendBuffer, 0, FRAGMENT, flags, this.#id);
    } else if (written > PIECE) {
      sendBuffer.overwrite(this.#batchOffset, 5, flags);
    } else sendBuffer.overwrite(this.#batchOffset, 4, PAD);
  }
}
