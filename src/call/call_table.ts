/**
 * The calls in flight by id; ids are handed out here.
 *
 * Ids increase in the order in which requests are written, and wrap around at
 * 2^32. An id whose call is still in flight is skipped. Every operation takes
 * constant time, but for growing and for listing.
 *
 * @module
 */

import type { Numbered } from "./call.ts";

/** Entries by wire id. */
export class CallTable<T extends Numbered> {
  /** How many entries there are. */
  size = 0;
  /** The count handed out last. */
  last: number;
  /** Doubled as needed: a side that only serves keeps its one slot. */
  #slots: (T | undefined)[] = [undefined];
  #mask = 0;

  /** @param firstId The first id to hand out. */
  constructor(firstId: number) {
    this.last = firstId - 1;
  }

  /** Gives an entry the next free id. */
  add(entry: T): void {
    if (this.size * 2 > this.#mask) this.#grow();
    let seq = this.last + 1;
    // `&` takes a count past 2^32 modulo 2^32, just as the wire id is.
    while (this.#slots[seq & this.#mask] !== undefined) seq++;
    this.#slots[seq & this.#mask] = entry;
    this.last = entry.seq = seq;
    this.size++;
  }

  /** The entry with this wire id. */
  get(id: number): T | undefined {
    const entry = this.#slots[id & this.#mask];
    return entry !== undefined && entry.seq >>> 0 === id ? entry : undefined;
  }

  /** Takes an entry out. */
  remove(entry: T): void {
    this.#slots[entry.seq & this.#mask] = undefined;
    this.size--;
  }

  /** The count that a wire id of the last 2^31 ids stands for. */
  widen(id: number): number {
    return this.last + ((id - this.last) | 0);
  }

  /** All entries, oldest id first. */
  all(): T[] {
    return this.after(-Infinity);
  }

  /** Those after a count, oldest id first. */
  after(seq: number): T[] {
    const entries = this.#slots.filter((entry) =>
      entry !== undefined && entry.seq > seq
    );
    return (entries as T[]).sort((a, b) => a.seq - b.seq);
  }

  #grow(): void {
    const old = this.#slots;
    this.#mask = 2 * this.#mask + 1;
    this.#slots = new Array(this.#mask + 1).fill(undefined);
    for (const entry of old) {
      if (entry !== undefined) this.#slots[entry.seq & this.#mask] = entry;
    }
  }
}
