/**
 * Whose turn it is to write.
 *
 * Invariants owned here:
 * - Streams that have something to send and credit for it write one frame
 *   each, by turns, and only while little waits to be written: so a call that
 *   is made meanwhile waits behind no more than that, however many streams
 *   there are. One frame of them goes with every batch all the same, or calls
 *   could starve them.
 * - A stream stands in line at most once.
 *
 * @module
 */

import type { Limits } from "../types/connection.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

/** Outgoing bytes above which streams wait. (With half of it a stream of bytes loses a tenth of its speed on Node; a small call beside it waits as long: `bench:streams`.) */
const STREAM_MARK = 256 * 1024;

/** Something that writes frames, one at a time. */
export interface ScheduledWriter extends ListNode<ScheduledWriter> {
  /** Whether it stands in line. */
  lined: boolean;
  /** Writes a frame; returns whether it has another one to write now. */
  write(): boolean;
}

/** The line of one connection's streams. */
export class WriteScheduler {
  readonly #line = new LinkedList<ScheduledWriter>();
  readonly #sendBuffer: FrameBuffer;
  readonly #mark: number;
  /** The batch that has had its frame. */
  #batch = -1;

  constructor(sendBuffer: FrameBuffer, limits: Limits) {
    this.#sendBuffer = sendBuffer;
    const { highWaterMark, maxSendBuffer: maxSendBuffer } = limits;
    // Streams alone must not keep handlers from starting.
    this.#mark = Math.min(STREAM_MARK, highWaterMark / 2, maxSendBuffer / 4);
  }

  /** Whether a frame may be written now by one that does not stand in line. */
  get free(): boolean {
    return this.#line.length === 0 && this.#open;
  }

  get #open(): boolean {
    const { size, batch } = this.#sendBuffer;
    return size < this.#mark || batch !== this.#batch;
  }

  /** A frame was written. */
  note(): void {
    this.#batch = this.#sendBuffer.batch;
  }

  /** Stands in line. */
  enqueue(writer: ScheduledWriter): void {
    if (writer.lined) return;
    writer.lined = true;
    this.#line.push(writer);
  }

  /** Leaves the line. */
  dequeue(writer: ScheduledWriter): void {
    if (!writer.lined) return;
    writer.lined = false;
    this.#line.remove(writer);
  }

  /** Lets write who may. */
  writeReady(): void {
    let writer: ScheduledWriter | undefined;
    while ((writer = this.#line.first) !== undefined && this.#open) {
      this.dequeue(writer);
      this.note();
      if (writer.write()) this.enqueue(writer);
    }
  }
}
