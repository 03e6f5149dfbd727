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
import { type Linked, List } from "../base/linked_list.ts";
import type { Outbox } from "../connection/send_buffer.ts";

/** Outgoing bytes above which streams wait. (With half of it a stream of bytes loses a tenth of its speed on Node; a small call beside it waits as long: `bench:streams`.) */
const STREAM_MARK = 256 * 1024;

/** Something that writes frames, one at a time. */
export interface Writer extends Linked<Writer> {
  /** Whether it stands in line. */
  lined: boolean;
  /** Writes a frame; returns whether it has another one to write now. */
  write(): boolean;
}

/** The line of one connection's streams. */
export class Turns {
  readonly #line = new List<Writer>();
  readonly #outbox: Outbox;
  readonly #mark: number;
  /** The batch that has had its frame. */
  #batch = -1;

  constructor(outbox: Outbox, limits: Limits) {
    this.#outbox = outbox;
    const { highWaterMark, maxOutbox } = limits;
    // Streams alone must not keep handlers from starting.
    this.#mark = Math.min(STREAM_MARK, highWaterMark / 2, maxOutbox / 4);
  }

  /** Whether a frame may be written now by one that does not stand in line. */
  get free(): boolean {
    return this.#line.length === 0 && this.#open;
  }

  get #open(): boolean {
    const { size, batch } = this.#outbox;
    return size < this.#mark || batch !== this.#batch;
  }

  /** A frame was written. */
  note(): void {
    this.#batch = this.#outbox.batch;
  }

  /** Stands in line. */
  join(writer: Writer): void {
    if (writer.lined) return;
    writer.lined = true;
    this.#line.push(writer);
  }

  /** Leaves the line. */
  leave(writer: Writer): void {
    if (!writer.lined) return;
    writer.lined = false;
    this.#line.remove(writer);
  }

  /** Lets write who may. */
  pump(): void {
    let writer: Writer | undefined;
    while ((writer = this.#line.first) !== undefined && this.#open) {
      this.leave(writer);
      this.note();
      if (writer.write()) this.join(writer);
    }
  }
}
