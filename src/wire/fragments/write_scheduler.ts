/**
 * Decides which large message or stream of a connection writes next.
 *
 * Order and bound:
 * - Large messages, and streams with an item to send and credit for it, write
 *   one frame each, round robin, and only while little waits to be written: a
 *   call made meanwhile waits behind no more than that, however many they are.
 * - Every batch takes one such frame even if it is full: otherwise calls could
 *   starve them.
 * - Large responses are written one after another, urgent ones first; of large
 *   requests there is one at a time. So a peer has at most two unfinished ones.
 *
 * @module
 */

import { LinkedList, type ListNode } from "../../base/linked_list.ts";
import type { Limits } from "../../types/connection.ts";
import type { FrameBuffer, LargeMessage } from "../frame_buffer.ts";

/** An entry of the queue: writes frames, one at a time. */
export interface ScheduledWriter extends ListNode<ScheduledWriter> {
  /** Whether it is in the queue. */
  queued: boolean;
  /** Writes a frame; returns whether it has another one to write now. */
  write(): boolean;
}

/** The queue of what one connection has to write besides small messages. */
export class WriteScheduler {
  readonly #queue = new LinkedList<ScheduledWriter>();
  readonly #requests = new LargeMessages();
  readonly #responses = new LargeMessages();
  readonly #sendBuffer: FrameBuffer;
  readonly #most: number;
  /** The batch that has got its frame. */
  #batch = -1;

  constructor(
    sendBuffer: FrameBuffer,
    { highWaterMark, maxSendBuffer }: Limits,
  ) {
    this.#sendBuffer = sendBuffer;
    // What is written here must not keep handlers from starting by itself.
    this.#most = Math.min(highWaterMark / 2, maxSendBuffer / 4);
  }

  /** Whether a writer that is not in the queue may write a frame now. */
  get free(): boolean {
    return this.#queue.length === 0 && this.#open;
  }

  get #open(): boolean {
    const { ahead, pace, batch } = this.#sendBuffer;
    return ahead < Math.min(pace, this.#most) || batch !== this.#batch;
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
      this.#write(writer);
    }
  }

  #write(writer: ScheduledWriter): void {
    this.onFrame();
    if (writer.write()) this.enqueue(writer);
  }

  /** Writes a large message. A request begins at once, because ids are in the order of writing. */
  add(message: LargeMessage): void {
    message.cut();
    if (message.isRequest) {
      this.#requests.add(message);
      this.#write(this.#requests);
    } else {
      this.#responses.add(message);
      this.enqueue(this.#responses);
    }
    this.writeReady();
  }

  /** Gives a large request up, whose last fragment was not handed over. Returns whether it was not written yet. */
  abort(message: LargeMessage): boolean {
    const open = this.#requests.remove(message);
    if (this.#requests.empty) this.dequeue(this.#requests);
    message.abort();
    return open;
  }

  /** The connection ends: writes all that is left of the large messages. */
  finish(): void {
    this.#requests.finish();
    this.#responses.finish();
  }

  /** Drops the large messages. */
  discard(): void {
    this.#requests.discard();
    this.#responses.discard();
    const { size, ahead } = this.#sendBuffer;
    this.#sendBuffer.park(ahead - size);
  }
}

/** The large messages of one direction of calls, written one after another. */
class LargeMessages implements ScheduledWriter {
  queued = false;
  previous: ScheduledWriter | undefined = undefined;
  next: ScheduledWriter | undefined = undefined;
  #messages: LargeMessage[] = [];

  get empty(): boolean {
    return this.#messages.length === 0;
  }

  /** Adds a message: an urgent one behind those that are urgent or have begun. */
  add(message: LargeMessage): void {
    const messages = this.#messages;
    let at = messages.length;
    if (message.urgent) {
      at = messages.findIndex(({ urgent, begun }) => !urgent && !begun);
      if (at < 0) at = messages.length;
    }
    messages.splice(at, 0, message);
  }

  /** Takes a message out; returns whether it was in. */
  remove(message: LargeMessage): boolean {
    const at = this.#messages.indexOf(message);
    if (at >= 0) this.#messages.splice(at, 1);
    return at >= 0;
  }

  write(): boolean {
    const [message] = this.#messages;
    if (message !== undefined && !message.write()) {
      this.#messages.shift();
      message.onEnd?.();
    }
    return !this.empty;
  }

  finish(): void {
    for (const message of this.#messages.splice(0)) {
      while (message.write());
    }
  }

  discard(): void {
    this.#messages = [];
  }
}
