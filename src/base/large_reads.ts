/**
 * When a large message may be read: its payload is parsed at once, and all
 * else that the process has to do waits meanwhile.
 *
 * Invariants owned here:
 * - In one turn of the event loop messages of {@linkcode LARGE} bytes and more
 *   come to at most {@linkcode PER_TURN} bytes over all connections of a
 *   server, or it is a single one. Smaller ones are none of this file's
 *   business: a plain call pays one comparison.
 * - Who has to wait stands in line, each reader once, and has its turn in the
 *   order of the line: so connections that send large messages take turns.
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
  readonly #line = new LinkedList<LargeRead>();
  #left = PER_TURN;
  #resting = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A reader; `again` is called when what had to wait may be read. */
  reader(again: () => void): LargeRead {
    return new LargeRead(this, again);
  }

  /** Takes `bytes` of this turn, if there are as many left; what is more than one turn has goes alone. */
  take(bytes: number): boolean {
    if (bytes > this.#left && this.#left < PER_TURN) return false;
    this.#left -= bytes;
    if (!this.#resting) this.#rest();
    return true;
  }

  /** Enters the line. */
  join(read: LargeRead): void {
    this.#line.push(read);
  }

  /** Leaves it. */
  leave(read: LargeRead): void {
    this.#line.remove(read);
  }

  /** Whether somebody waits: nobody goes before those. */
  get busy(): boolean {
    return this.#line.length > 0;
  }

  async #rest(): Promise<void> {
    this.#resting = true;
    do {
      await this.#clock.turn();
      this.#left = PER_TURN;
      let read: LargeRead | undefined;
      while ((read = this.#line.first) !== undefined && this.take(read.size)) {
        read.grant();
      }
    } while (this.#left < PER_TURN);
    this.#resting = false;
  }
}

/** One who reads large messages: one at a time. */
export class LargeRead implements ListNode<LargeRead> {
  previous: LargeRead | undefined = undefined;
  next: LargeRead | undefined = undefined;
  /** Of the message that waits, in bytes. */
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

  /** Whether a message of so many bytes may be read now; if not, it stands in line from here on. */
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
        this.#reads.join(this);
        return false;
    }
  }

  /** Its turn has come. */
  grant(): void {
    this.#reads.leave(this);
    this.#state = "granted";
    this.#again();
  }

  /** It reads nothing any more. */
  end(): void {
    if (this.waiting) this.#reads.leave(this);
    this.#state = "idle";
  }
}
