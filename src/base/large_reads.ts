/**
 * Decides when a large message may be read: its payload is parsed in one piece,
 * and everything else in the process waits meanwhile.
 *
 * - In one turn of the event loop a server reads at most {@linkcode PER_TURN}
 *   bytes of large messages over all its connections, or a single larger one.
 *   Messages below {@linkcode LARGE} bytes are not limited: a plain call pays
 *   one comparison.
 * - Readers that have to wait are queued, each of them once, and read in the
 *   order of the queue: so connections that send large messages take turns.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { LinkedList, type ListNode } from "./linked_list.ts";

/** The least size of a large message, in bytes: JSON of this size takes about 0.1 ms. */
export const LARGE: number = 8 * 1024;

/** Bytes of large messages that are read in one turn of the event loop. */
const PER_TURN = 256 * 1024;

/** The large messages of one server. */
export class LargeReads {
  readonly #clock: Clock;
  readonly #queue = new LinkedList<LargeRead>();
  #left = PER_TURN;
  #resting = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Makes a reader; `again` is called when the message that had to wait may be read. */
  reader(again: () => void): LargeRead {
    return new LargeRead(this, again);
  }

  /** Takes `bytes` of this turn if that many are left. A message that exceeds a whole turn is read alone. */
  take(bytes: number): boolean {
    if (bytes > this.#left && this.#left < PER_TURN) return false;
    this.#left -= bytes;
    if (!this.#resting) this.#rest();
    return true;
  }

  enqueue(read: LargeRead): void {
    this.#queue.push(read);
  }

  dequeue(read: LargeRead): void {
    this.#queue.remove(read);
  }

  /** Whether readers wait: no other reader overtakes them. */
  get busy(): boolean {
    return this.#queue.length > 0;
  }

  async #rest(): Promise<void> {
    this.#resting = true;
    do {
      await this.#clock.turn();
      this.#left = PER_TURN;
      let read: LargeRead | undefined;
      while ((read = this.#queue.first) !== undefined && this.take(read.size)) {
        read.grant();
      }
    } while (this.#left < PER_TURN);
    this.#resting = false;
  }
}

/** A reader of large messages, one at a time. */
export class LargeRead implements ListNode<LargeRead> {
  previous: LargeRead | undefined = undefined;
  next: LargeRead | undefined = undefined;
  /** The size of the message that waits, in bytes. */
  size = 0;
  readonly #reads: LargeReads;
  readonly #again: () => void;
  #state: "idle" | "waiting" | "granted" = "idle";

  constructor(reads: LargeReads, again: () => void) {
    this.#reads = reads;
    this.#again = again;
  }

  /** Whether a message has to wait. */
  get waiting(): boolean {
    return this.#state === "waiting";
  }

  /** Whether a message of this size may be read now; if not, it is queued. */
  ask(bytes: number): boolean {
    switch (this.#state) {
      case "granted":
        this.#state = "idle";
        return true;
      case "waiting":
        return false;
      case "idle":
        if (!this.#reads.busy && this.#reads.take(bytes)) return true;
        this.#state = "waiting";
        this.size = bytes;
        this.#reads.enqueue(this);
        return false;
    }
  }

  /** The message that waits may be read. */
  grant(): void {
    this.#reads.dequeue(this);
    this.#state = "granted";
    this.#again();
  }

  /** Reads nothing any more. */
  end(): void {
    if (this.waiting) this.#reads.dequeue(this);
    this.#state = "idle";
  }
}
