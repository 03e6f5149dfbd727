/**
 * Decides which outgoing stream of a connection writes next.
 *
 * Order and bound:
 * - Streams with an item to send and credit for it write one frame each, round
 *   robin, and only while little waits to be written: a call made meanwhile
 *   waits behind no more than that, however many streams there are.
 * - Every batch takes one frame of a stream even if it is full: otherwise calls
 *   could starve the streams.
 *
 * @module
 */

import { LinkedList, type ListNode } from "../base/linked_list.ts";
import type { Limits } from "../types/connection.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

/** Outgoing bytes above which streams wait. (With half of it a stream of bytes loses a tenth of its speed on Node; a small call beside it waits as long: `bench:streams`.) */
const STREAM_MARK = 256 * 1024;

/** An entry of the queue: writes frames, one at a time. */
export interface ScheduledWriter extends ListNode<ScheduledWriter> {
  /** Whether it is in the queue. */
  queued: boolean;
  /** Writes a frame; returns whether it has another one to write now. */
  write(): boolean;
}

/** The queue of one connection's streams that have something to write. */
export class WriteScheduler {
  readonly #queue = new LinkedList<ScheduledWriter>();
  readonly #sendBuffer: FrameBuffer;
  readonly #mark: number;
  /** The batch that has got its frame. */
  #batch = -1;

  constructor(
    sendBuffer: FrameBuffer,
    { highWaterMark, maxSendBuffer }: Limits,
  ) {
    this.#sendBuffer = sendBuffer;
    // Streams alone must not keep handlers from starting.
    this.#mark = Math.min(STREAM_MARK, highWaterMark / 2, maxSendBuffer / 4);
  }

  /** Whether a writer that is not in the queue may write a frame now. */
  get free(): boolean {
    return this.#queue.length === 0 && this.#open;
  }

  get #open(): boolean {
    const { size, batch } = this.#sendBuffer;
    return size < this.#mark || batch !== this.#batch;
  }

  /** Called for every frame that is written. */
  onFrame(): void {
    this.#batch = this.#sendBuffer.batch;
  }

  /** Adds a writer at the end, if it is not in the queue. */
  enqueue(writer: ScheduledWriter): void {
    if (writer.queued) return;
    writer.queued = true;
    this.#queue.push(writer);
  }

  /** Takes a writer out, if it is in the queue. */
  dequeue(writer: ScheduledWriter): void {
    if (!writer.queued) return;
    writer.queued = false;
    this.#queue.remove(writer);
  }

  /** Lets writers write, as many as may now. */
  writeReady(): void {
    let writer: ScheduledWriter | undefined;
    while ((writer = this.#queue.first) !== undefined && this.#open) {
      this.dequeue(writer);
      this.onFrame();
      if (writer.write()) this.enqueue(writer);
    }
  }
}
