/**
 * The urgent lane of a send buffer, as the buffer that a response is written
 * into: it leaves at the head of the next batch.
 *
 * All bytes are copied, also those that the user has lent.
 *
 * @module
 */

import { viewOf } from "../base/bytes.ts";
import type {
  FrameBuffer,
  MakeLargeMessage,
  MessageBuffer,
  ReplyBuffer,
} from "../wire/frame_buffer.ts";

/** Writes responses into the urgent lane. */
export class UrgentLane implements ReplyBuffer {
  readonly #sendBuffer: FrameBuffer;
  /** Where lent bytes go. */
  #at = 0;

  constructor(sendBuffer: FrameBuffer) {
    this.#sendBuffer = sendBuffer;
  }

  get bytes(): Uint8Array {
    return this.#sendBuffer.urgentBytes;
  }

  get view(): DataView {
    return viewOf(this.bytes);
  }

  reserve(n: number, attached = 0): number {
    const at = this.#sendBuffer.reserveUrgent(n + attached);
    this.#at = at + n;
    return at;
  }

  lend(chunk: Uint8Array): void {
    this.bytes.set(chunk, this.#at);
  }

  cut(
    make: MakeLargeMessage,
    id: number,
    isRequest: boolean,
    size: number,
  ): MessageBuffer {
    return this.#sendBuffer.cut(make, id, isRequest, size, true);
  }
}
