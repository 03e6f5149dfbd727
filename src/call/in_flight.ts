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

import type { Call, Numbered } from "./call.ts";
import type { Codec } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

import type { PeerHello } from "../types/connection.ts";
import { EARLY_BYTES, EARLY_CALLS, EARLY_MESSAGE } from "../wire/protocol.ts";
import { noServicesError, queueFullError } from "./errors.ts";

/** The table of sent calls, with the window they fill. */
export class InFlightCalls {
  readonly window: SendWindow;
  readonly #codec: Codec;
  readonly #sendBuffer: FrameBuffer;
  readonly #ring: CallTable<Call>;
  /** The first count of the batch that is filling: ids are handed out in the order of writing. */
  #batchStart: number;
  readonly #firstId: number;
  /** Places of taken-back requests in the batch that is filling. */
  #retractedCalls = 0;
  #retractedBytes = 0;
  /** Calls of the batch that is filling whose hand-over somebody awaits. */
  #awaited: Call[] = [];

  constructor(codec: Codec, sendBuffer: FrameBuffer, firstId: number) {
    this.#codec = codec;
    this.#sendBuffer = sendBuffer;
    this.#ring = new CallTable(firstId);
    this.#firstId = this.#batchStart = firstId;
    this.window = new SendWindow(codec.overhead, !codec.features.window);
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
    const sendBuffer = this.#sendBuffer;
    this.#ring.add(call);
    this.window.take(call.size);
    call.state = "sent";
    const { extra } = call;
    if (extra?.sent !== undefined || extra?.streams !== undefined) {
      this.#awaited.push(call);
    }
    const id = call.seq >>> 0;
    this.#codec.request(sendBuffer, id, call.method, remaining, metadata);
    call.batchOffset = sendBuffer.batchOffset;
    extra?.streams?.onWritten(id);
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
    return call?.extra?.streams?.reader ? undefined : call;
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
    if (!this.#codec.retract(this.#sendBuffer, call.batchOffset)) return false;
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
  onFlush(): void {
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
        call.extra?.streams?.start();
      }
    }
  }
}

/** Entries by wire id. */
export class CallTable<T extends Numbered> {
  /** How many entries there are. */
  size = 0;
  /** The count handed out last. */
  last: number;
  /** Doubled as needed: an end that only serves keeps its one slot. */
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

/** Calls and bytes in flight against what the peer grants. */
export class SendWindow {
  /** Calls that hold a place. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** Before the peer's HELLO is read, the protocol's constants hold. */
  granted: PeerHello = {
    maxMessage: EARLY_MESSAGE,
    windowCalls: EARLY_CALLS,
    windowBytes: EARLY_BYTES,
  };
  #greeted = false;
  readonly #overhead: number;
  readonly #granter: string;

  /**
   * @param overhead What a call's size counts beyond the body that `maxMessage` bounds, in bytes.
   * @param own Whether it is this end itself that grants, on a wire where no peer does.
   */
  constructor(overhead: number, own = false) {
    this.#overhead = overhead;
    this.#granter = own ? "this end's" : "the peer's";
  }

  /** The peer has said what it grants; what is in flight already stays counted. */
  grant(hello: PeerHello): void {
    this.#greeted = true;
    this.granted = hello;
  }

  /** What the peer has said; undefined before its HELLO is read. */
  get helloReceived(): PeerHello | undefined {
    return this.#greeted ? this.granted : undefined;
  }

  /** Whether a call of this size may be sent now. */
  canSend(size: number): boolean {
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    return this.calls < windowCalls && this.bytes + size <= windowBytes &&
      size <= maxMessage + this.#overhead;
  }

  /** Whether there is room for anything at all. */
  get open(): boolean {
    return this.calls < this.granted.windowCalls &&
      this.bytes < this.granted.windowBytes;
  }

  /** Calls for which there is room. */
  get free(): number {
    return this.open ? this.granted.windowCalls - this.calls : 0;
  }

  /** Whether there is room for a good many calls: an eighth of the window, at most 512 calls and 32 KiB. */
  get roomy(): boolean {
    const { windowCalls, windowBytes } = this.granted;
    return windowCalls - this.calls >= Math.min(512, windowCalls >>> 3) &&
      windowBytes - this.bytes >= Math.min(32_768, windowBytes / 8);
  }

  /**
   * Says whether a call of this size can ever be sent; before the peer's HELLO
   * is read, nobody knows.
   *
   * @throws {RpcError} If it cannot: `unavailableError` where the peer serves
   * nothing, else `resource_exhausted`.
   */
  checkFit(size: number): void {
    if (!this.#greeted) return;
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    if (windowCalls === 0) throw noServicesError();
    const most = maxMessage + this.#overhead;
    if (size <= Math.min(most, windowBytes)) return;
    const limit = size > most
      ? `maxMessage, ${maxMessage} bytes,`
      : `windowBytes, ${windowBytes} bytes,`;
    throw queueFullError(
      `a call of ${size} bytes; ${this.#granter} ${limit} has no room`,
    );
  }

  take(size: number): void {
    this.calls++;
    this.bytes += size;
  }

  release(calls: number, bytes: number): void {
    this.calls -= calls;
    this.bytes -= bytes;
  }
}
