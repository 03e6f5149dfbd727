/**
 * A first-in, first-out queue whose entries can leave from the middle.
 *
 * Entering, leaving and taking the first cost the same however long the queue
 * is, and an entry that left holds no memory here. (An array with holes would
 * grow without bound under call-then-abort in a loop.)
 *
 * @module
 */

/** An entry of a {@linkcode LinkedList}; in at most one list at a time. */
export interface ListNode<T> {
  /** The entry that was added before this one. */
  previous: T | undefined;
  /** The entry that was added after this one. */
  next: T | undefined;
}

/** A doubly linked list threaded through its entries. */
export class LinkedList<T extends ListNode<T>> {
  /** The entry that waits longest. */
  first: T | undefined;
  /** The entry that entered last. */
  last: T | undefined;
  /** How many there are. */
  length = 0;

  /** Enters at the end. */
  push(entry: T): void {
    entry.previous = this.last;
    if (this.last === undefined) this.first = entry;
    else this.last.next = entry;
    this.last = entry;
    this.length++;
  }

  /** All of them, in order; safe against changes meanwhile. */
  all(): T[] {
    const all: T[] = [];
    for (let e = this.first; e !== undefined; e = e.next) all.push(e);
    return all;
  }

  /** Whether an entry that is in no other list is in this one. */
  has(entry: T): boolean {
    return entry.previous !== undefined || this.first === entry;
  }

  /** Takes out an entry that is in. */
  remove(entry: T): void {
    const { previous, next } = entry;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    entry.previous = entry.next = undefined;
    this.length--;
  }
}
