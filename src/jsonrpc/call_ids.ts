/**
 * The peer's calls that have no answer yet, under ids of our own.
 *
 * JSON-RPC's ids are strings or numbers in any order; a dispatch wants numbers
 * that increase. A notification is a call here whose answer is never written.
 *
 * Invariants owned here:
 * - A call is in from being read until it is answered, however that ends.
 * - At most `maxCalls` calls and `maxBytes` bytes are in.
 *
 * @module
 */

import type { AnswerBatch } from "./batch.ts";
import type { WireId } from "./message.ts";

/** A call of the peer's. */
export interface IncomingId {
  /** Its id at the peer; undefined for a notification. */
  readonly wireId: WireId | undefined;
  readonly method: string;
  /** What it counts, in bytes. */
  readonly size: number;
  /** The batch it came in, which its answer goes into. */
  readonly batch: AnswerBatch | undefined;
  /** Cancelled on a wire where that means that no answer follows. */
  silenced: boolean;
}

/** The table of them. */
export class CallIds {
  readonly #calls = new Map<number, IncomingId>();
  /** Our id by the peer's; of two calls with one id, the later. */
  readonly #ids = new Map<WireId, number>();
  #bytes = 0;
  #lastId = 0;
  readonly #maxCalls: number;
  readonly #maxBytes: number;

  constructor(maxCalls: number, maxBytes: number) {
    // One is always let in, if only to be told that there is no such method.
    this.#maxCalls = Math.max(1, maxCalls);
    this.#maxBytes = maxBytes;
  }

  /** Whether there is room for one more. */
  admits(size: number): boolean {
    return this.#calls.size === 0 ||
      (this.#calls.size < this.#maxCalls &&
        this.#bytes + size <= this.#maxBytes);
  }

  /** Enters a call; returns our id for it. */
  add(served: IncomingId): number {
    const id = this.#nextId();
    this.#calls.set(id, served);
    if (served.wireId !== undefined) this.#ids.set(served.wireId, id);
    this.#bytes += served.size;
    return id;
  }

  /** Our id of a call that is in, by the peer's. */
  find(wireId: WireId): number | undefined {
    return this.#ids.get(wireId);
  }

  /** A call that is in, by our id. */
  get(id: number): IncomingId | undefined {
    return this.#calls.get(id);
  }

  /** Takes an answered call out. */
  take(id: number): IncomingId | undefined {
    const served = this.#calls.get(id);
    if (served === undefined) return undefined;
    this.#calls.delete(id);
    this.#bytes -= served.size;
    const { wireId } = served;
    if (wireId !== undefined && this.#ids.get(wireId) === id) {
      this.#ids.delete(wireId);
    }
    return served;
  }

  /** Ids are u32 and wrap; one whose call still runs is skipped. */
  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0; while (
      this.#calls.has(this.#lastId)
    );
    return this.#lastId;
  }
}
