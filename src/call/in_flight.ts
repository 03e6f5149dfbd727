/**
 * The calls that hold a place in the window: in the batch, or on their way.
 *
 * Invariants owned here:
 * - A call holds its place from entering the batch until its answer is read,
 *   whatever its caller was told meanwhile. One that was taken back holds it
 *   until its batch is handed over: so call-then-abort in a loop is bounded by
 *   the window too.
 * - Only a call that was handed over can be answered.
 *
 * @module
 */

import type { Call } from "./call.ts";
import type { Codec } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { Outbox } from "../connection/send_buffer.ts";
import { Ring } from "./ring.ts";
import { Window } from "./window.ts";

/** The table of sent calls, with the window they fill. */
export class Sent {
  readonly window: Window;
  readonly #codec: Codec;
  readonly #outbox: Outbox;
  readonly #ring: Ring<Call>;
  /** The first count of the batch that is filling: ids are handed out in the order of writing. */
  #batchStart: number;
  readonly #firstId: number;
  /** Places of taken-back requests in the batch that is filling. */
  #retractedCalls = 0;
  #retractedBytes = 0;
  /** Calls of the batch that is filling whose hand-over somebody awaits. */
  #awaited: Call[] = [];

  constructor(codec: Codec, outbox: Outbox, firstId: number) {
    this.#codec = codec;
    this.#outbox = outbox;
    this.#ring = new Ring(firstId);
    this.#firstId = this.#batchStart = firstId;
    this.window = new Window(codec.overhead, !codec.features.window);
  }

  /** How many calls are in. */
  get size(): number {
    return this.#ring.size;
  }

  /** The count of the latest one. */
  get last(): number {
    return this.#ring.last;
  }

  /** All of them, in the order they were sent. */
  all(): Call[] {
    return this.#ring.all();
  }

  /** Those sent after the one with the count `seq`, in the order they were sent. */
  after(seq: number): Call[] {
    return this.#ring.after(seq);
  }

  /** The 53-bit count that an id of ours on the wire stands for. */
  widen(id: number): number {
    return this.#ring.widen(id);
  }

  /** Registers a call, then writes it, with the prepared payload. */
  send(
    call: Call,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    const outbox = this.#outbox;
    this.#ring.add(call);
    this.window.take(call.size);
    call.state = "sent";
    const { extra } = call;
    if (extra?.sent !== undefined || extra?.streams !== undefined) {
      this.#awaited.push(call);
    }
    const id = call.seq >>> 0;
    this.#codec.request(outbox, id, call.method, remaining, metadata);
    call.place = outbox.place;
    extra?.streams?.written(id);
  }

  /** Takes an answered call out and frees its place; undefined if no call of this id can be answered. */
  take(id: number): Call | undefined {
    const call = this.find(id);
    if (call !== undefined) this.drop(call);
    return call;
  }

  /** The call of this id that can be answered: it was handed over, and has no answer yet. */
  find(id: number): Call | undefined {
    const call = this.live(id);
    return call?.extra?.streams?.answered ? undefined : call;
  }

  /** The call of this id that the peer knows of, and is not over. */
  live(id: number): Call | undefined {
    const call = this.#ring.get(id);
    return call !== undefined && this.handedOver(call) ? call : undefined;
  }

  /** Whether a call with this id was handed over, or could have been. */
  used(id: number): boolean {
    const last = this.#batchStart - 1;
    return last >= this.#firstId && ((id - last) | 0) <= 0;
  }

  /** Takes a call out and frees its place now. */
  drop(call: Call): void {
    this.#ring.remove(call);
    this.window.release(1, call.size);
    call.extra?.streams?.close();
  }

  /** Takes a call out; its place is freed when the batch that is filling is handed over. */
  release(call: Call): void {
    this.#ring.remove(call);
    call.extra?.streams?.close();
    this.#retractedCalls++;
    this.#retractedBytes += call.size;
  }

  /** Takes a request back, if it is still in the batch that is filling. */
  retract(call: Call): boolean {
    if (this.handedOver(call)) return false;
    if (!this.#codec.retract(this.#outbox, call.place)) return false;
    this.release(call);
    return true;
  }

  /** Takes out the request with this id, which is to be handed over and must not be; undefined if it was taken back. */
  spoil(id: number): Call | undefined {
    const call = this.#ring.get(id);
    if (call === undefined || this.handedOver(call)) return undefined;
    this.release(call);
    return call;
  }

  /** Whether a call's frame is the transport's. */
  handedOver(call: Call): boolean {
    return call.seq >= 0 && call.seq < this.#batchStart;
  }

  /** Resolves `call.extra.sent` when the batch that is filling is handed over. */
  awaitHandOver(call: Call): void {
    this.#awaited.push(call);
  }

  /** A batch has gone, or never will: what was taken back from it frees its places. */
  freeRetracted(): void {
    if (this.#retractedCalls === 0) return;
    this.window.release(this.#retractedCalls, this.#retractedBytes);
    this.#retractedCalls = this.#retractedBytes = 0;
  }

  /** A batch has gone. */
  batchHandedOver(): void {
    this.#batchStart = this.#ring.last + 1;
    this.freeRetracted();
    if (this.#awaited.length > 0) {
      const awaited = this.#awaited;
      this.#awaited = [];
      for (const call of awaited) {
        // One that was taken back is not sent, though another connection may
        // have given it an id by now.
        if (this.#ring.get(call.seq >>> 0) !== call) continue;
        call.extra?.sent?.resolve(true);
        call.extra?.streams?.handedOver();
      }
    }
  }
}
