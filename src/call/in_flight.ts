/**
 * The calls that occupy the peer's window: written into the batch that is
 * filling, or flushed and not answered.
 *
 * - A call occupies its slot from entering the batch until its answer is read,
 *   also if its caller was notified meanwhile. One that was taken back from its
 *   batch occupies it until that batch is flushed: so call-then-abort in a loop
 *   is bounded by the window, too.
 * - Only a call that was flushed can be answered.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { PeerHello } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { EARLY_BYTES, EARLY_CALLS, EARLY_MESSAGE } from "../wire/protocol.ts";
import type { Call, Numbered } from "./call.ts";
import { noServicesError, queueFullError } from "./errors.ts";

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

/** What the protocol lets a caller assume before the peer's HELLO is read. */
const EARLY: PeerHello = {
  maxMessage: EARLY_MESSAGE,
  windowCalls: EARLY_CALLS,
  windowBytes: EARLY_BYTES,
};

/** Calls and bytes in flight against what the peer grants. */
export class SendWindow {
  /** Calls that occupy a slot. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** What the peer's HELLO grants. Calls in flight when it is read stay counted. */
  granted = EARLY;
  readonly #overhead: number;
  readonly #granter: string;

  constructor({ overhead, features }: Codec) {
    this.#overhead = overhead;
    // On a protocol without windows the local limits hold.
    this.#granter = features.window ? "the peer's" : "the local";
  }

  /** The peer's HELLO; undefined before it is read. */
  get helloReceived(): PeerHello | undefined {
    return this.granted === EARLY ? undefined : this.granted;
  }

  /** Whether a call of this size may be sent now. */
  canSend(size: number): boolean {
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    return this.calls < windowCalls && this.bytes + size <= windowBytes &&
      size <= maxMessage + this.#overhead;
  }

  /** How many calls it has room for. */
  get free(): number {
    const { windowCalls, windowBytes } = this.granted;
    return this.bytes < windowBytes ? Math.max(0, windowCalls - this.calls) : 0;
  }

  /** Whether it has room for a good many calls: an eighth of the window, at most 512 calls and 32 KiB. */
  get roomy(): boolean {
    const { windowCalls, windowBytes } = this.granted;
    return windowCalls - this.calls >= Math.min(512, windowCalls >>> 3) &&
      windowBytes - this.bytes >= Math.min(32_768, windowBytes / 8);
  }

  /**
   * Checks that a call of this size can be sent at some time; passes before the
   * peer's HELLO is read.
   *
   * @throws {RpcError} `unavailable` if the peer serves nothing, else
   *   `resource_exhausted`.
   */
  checkFit(size: number): void {
    const { granted } = this;
    if (granted === EARLY) return;
    if (granted.windowCalls === 0) throw noServicesError();
    const most = granted.maxMessage + this.#overhead;
    if (size <= Math.min(most, granted.windowBytes)) return;
    const limit = size > most ? "maxMessage" : "windowBytes";
    throw queueFullError(
      `a call of ${size} bytes exceeds ${this.#granter} ${limit}, ${
        granted[limit]
      } bytes`,
    );
  }

  acquire(size: number): void {
    this.calls++;
    this.bytes += size;
  }

  release(calls: number, bytes: number): void {
    this.calls -= calls;
    this.bytes -= bytes;
  }
}

/** What the calls in flight need of their connection. */
export interface InFlightCallsContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly clock: Clock;
}

/** The table of calls in flight, and the window that they fill. */
export class InFlightCalls extends CallTable<Call> {
  readonly window: SendWindow;
  readonly #context: InFlightCallsContext;
  /** The first count of the batch that is filling: ids are handed out in the order of writing. */
  #batchStart: number;
  readonly #firstId: number;
  /** Requests taken back from the batch that is filling. */
  #retractedCalls = 0;
  #retractedBytes = 0;
  /** Calls of that batch of which somebody awaits the flush. */
  #awaited: Call[] = [];

  constructor(context: InFlightCallsContext, firstId: number) {
    super(firstId);
    this.#context = context;
    this.#firstId = this.#batchStart = firstId;
    this.window = new SendWindow(context.codec);
  }

  /** Registers a call, then writes it with the prepared payload. */
  send(call: Call): void {
    const { codec, sendBuffer, clock } = this.#context;
    this.add(call);
    this.window.acquire(call.size);
    call.state = "sent";
    const { extra } = call;
    let remaining = -1;
    if (extra !== undefined) {
      if (extra.expiresAt !== Infinity) {
        const left = Math.ceil(extra.expiresAt - clock.now());
        remaining = Math.min(0xffffffff, Math.max(1, left));
      }
      if (extra.sent !== undefined || extra.streams !== undefined) {
        this.resolveOnFlush(call);
      }
    }
    const id = call.seq >>> 0;
    codec.request(sendBuffer, id, call.method, remaining, extra?.metadata);
    call.batchOffset = sendBuffer.batchOffset;
    extra?.streams?.onWritten(id);
  }

  /** The call of this id that was flushed and is not over. */
  live(id: number): Call | undefined {
    const call = this.get(id);
    return call !== undefined && this.flushed(call) ? call : undefined;
  }

  /** The same, if it has no answer yet. */
  unanswered(id: number): Call | undefined {
    const call = this.live(id);
    return call?.extra?.streams?.reader ? undefined : call;
  }

  /** Whether a call with this id was flushed, or could have been. */
  used(id: number): boolean {
    const last = this.#batchStart - 1;
    return last >= this.#firstId && ((id - last) | 0) <= 0;
  }

  /** Takes a call out and frees its slot now. */
  drop(call: Call): void {
    this.window.release(1, call.size);
    this.#remove(call);
  }

  /** Takes a call out; its slot is free when the batch that is filling is flushed. */
  dropOnFlush(call: Call): void {
    this.#retractedCalls++;
    this.#retractedBytes += call.size;
    this.#remove(call);
  }

  #remove(call: Call): void {
    this.remove(call);
    call.extra?.streams?.close();
  }

  /** Takes a request back, if it is still in the batch that is filling. */
  retract(call: Call): boolean {
    const { codec, sendBuffer } = this.#context;
    if (this.flushed(call)) return false;
    if (!codec.retract(sendBuffer, call.batchOffset)) return false;
    this.dropOnFlush(call);
    return true;
  }

  /** Takes out the request with this id, which the flush must not send; undefined if it was taken back. */
  spoil(id: number): Call | undefined {
    const call = this.get(id);
    if (call === undefined || this.flushed(call)) return undefined;
    this.dropOnFlush(call);
    return call;
  }

  /** Whether the batch that a call was written into was flushed. */
  flushed(call: Call): boolean {
    return call.seq >= 0 && call.seq < this.#batchStart;
  }

  /** Calls `call.extra.sent` when the batch that is filling is flushed. */
  resolveOnFlush(call: Call): void {
    this.#awaited.push(call);
  }

  /** A batch was flushed, or never will be: what was taken back from it frees its slots. */
  freeRetracted(): void {
    this.window.release(this.#retractedCalls, this.#retractedBytes);
    this.#retractedCalls = this.#retractedBytes = 0;
  }

  /** A batch was flushed. */
  onFlush(): void {
    this.#batchStart = this.last + 1;
    this.freeRetracted();
    if (this.#awaited.length === 0) return;
    const awaited = this.#awaited;
    this.#awaited = [];
    for (const call of awaited) {
      // One that was taken back is not sent, though another connection may
      // have given it an id by now.
      if (this.get(call.seq >>> 0) !== call) continue;
      call.extra?.sent?.(true);
      call.extra?.streams?.start();
    }
  }
}
