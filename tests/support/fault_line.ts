/**
 * One direction of a faulty transport: a pipe of bytes that a test can split,
 * merge, delay, stall, cut, reset, garble and duplicate.
 *
 * - A fault happens at a byte: exactly `at` bytes are delivered before it, however
 *   they are cut into chunks.
 * - It uses no clock and no random numbers but those that it is given.
 *
 * @module
 */

import type { Clock } from "../../mod.ts";
import { ReadHalf } from "../../src/transport/read_half.ts";
import { WriteHalf } from "../../src/transport/write_half.ts";
import type { Random } from "./random.ts";

/** A fault that happens once `at` bytes are delivered. */
export type Fault =
  /** A FIN takes the place of all further bytes. */
  | { readonly kind: "cut"; readonly at: number }
  /** Both directions are lost. */
  | { readonly kind: "reset"; readonly at: number }
  /** Nothing is delivered until `resume`. */
  | { readonly kind: "stall"; readonly at: number }
  /** Bit `bit` of the next byte is flipped. */
  | { readonly kind: "garble"; readonly at: number; readonly bit: number }
  /** The next `length` bytes are delivered twice, or fewer if the chunk has fewer. */
  | {
    readonly kind: "duplicate";
    readonly at: number;
    readonly length: number;
  };

/** How bytes are cut into chunks on their way. */
export interface Shape {
  readonly random: Random;
  /** Largest chunk delivered, in bytes. Bytes that wait are merged. */
  readonly maxChunk: number;
  /** Longest delay between chunks, in ms of `clock`; 0 for none. */
  readonly maxDelay: number;
  readonly clock: Clock;
}

/** Options of one direction. */
export interface LineOptions {
  /** How many bytes it holds before the writer has to wait. Default 64 KiB. */
  readonly capacity?: number;
  /** In any order. */
  readonly faults?: readonly Fault[];
  /** Cuts and delays; without one, chunks pass as they are. */
  readonly shape?: Shape;
  /** Delivers bytes only when `deliver` is called, and lets a waiting writer continue only when `resumeWriter` is called. */
  readonly manual?: boolean;
}

/** Events of a line, which the pair handles. */
export interface LineEvents {
  /** A `reset` fault happens. */
  reset(): void;
  /** The writer has aborted: both directions are lost. */
  aborted(reason: unknown): void;
}

/** What follows the held bytes. */
type Ending = { readonly reason: unknown } | "fin";

/** One direction. */
export class FaultLine extends WriteHalf {
  /** The half that the receiver reads. */
  readonly reader: ReadHalf;
  /** Bytes that the writer has written, and bytes that the reader has received. */
  entered = 0;
  delivered = 0;
  /** Chunks that the writer has written. */
  chunks = 0;
  /** Called with bytes as they are written, and as they are delivered. */
  onEntered: ((bytes: Uint8Array) => void) | undefined;
  onDelivered: ((bytes: Uint8Array) => void) | undefined;

  readonly #faults: Fault[];
  readonly #shape: Shape | undefined;
  readonly #manual: boolean;
  readonly #events: LineEvents;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #stalled = false;
  #ending: Ending | undefined;
  /** Nothing is delivered any more: bytes that are written vanish. */
  #over = false;
  #timer: unknown;
  /** Lets the waiting write continue. */
  #waiting: (() => void) | undefined;

  constructor(options: LineOptions, events: LineEvents) {
    super(options.capacity);
    this.#faults = [...options.faults ?? []].sort((a, b) => a.at - b.at);
    this.#shape = options.shape;
    this.#manual = options.manual === true;
    this.#events = events;
    this.reader = new ReadHalf(this.highWaterMark, {
      onRead: () => this.#afterRead(),
      onCancel: () => this.#vanish(),
    });
  }

  /** Bytes written and not delivered. */
  get held(): number {
    return this.#heldBytes;
  }

  /** Whether a FIN or an error follows the held bytes. */
  get ending(): boolean {
    return !this.#over && this.#ending !== undefined;
  }

  /** Whether its end or its error has been delivered. */
  get over(): boolean {
    return this.#over;
  }

  get stalled(): boolean {
    return this.#stalled;
  }

  /** Delivers nothing from now on. */
  stall(): void {
    this.#stalled = true;
  }

  /** Delivers again. */
  resume(): void {
    this.#stalled = false;
    this.#flow();
  }

  /** Replaces all bytes that are not delivered with a FIN. */
  cut(): void {
    this.#apply({ kind: "cut", at: this.delivered });
  }

  /** Delivers up to `n` bytes as one chunk, and then the end if no bytes are left. */
  deliver(n: number): void {
    if (this.#stalled || this.#over) return;
    this.#move(n);
    if (this.#heldBytes === 0 && !this.#stalled) this.#finish();
  }

  /** The reader has given up: bytes that are written vanish. */
  drop(reason: unknown): void {
    this.reader.abort(reason);
    this.#vanish();
  }

  /** The writer is lost: the reader gets an error after the held bytes. */
  lose(reason: unknown): void {
    this.#end({ reason });
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) await this.#enter(chunk);
  }

  close(): Promise<void> {
    this.#end("fin");
    return Promise.resolve();
  }

  abort(reason: unknown): void {
    this.#events.aborted(reason);
  }

  async #enter(chunk: Uint8Array): Promise<void> {
    if (this.failure) throw this.failure.reason;
    this.chunks++;
    this.entered += chunk.length;
    this.onEntered?.(chunk);
    if (this.#over || chunk.length === 0) return;
    this.#held.push(new Uint8Array(chunk));
    this.#heldBytes += chunk.length;
    this.#flow();
    if (!this.#room) await this.untilDone((done) => this.#waiting = done);
  }

  get #room(): boolean {
    return this.#over ||
      this.#heldBytes + this.reader.bytes <= this.highWaterMark;
  }

  /** Lets a waiting writer continue if there is room. Returns false if it cannot. */
  resumeWriter(): boolean {
    if (this.#waiting === undefined || !this.#room) return false;
    this.#release();
    return true;
  }

  #afterRead(): void {
    if (!this.#manual) this.resumeWriter();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  #end(how: Ending): void {
    if (this.#over || this.#ending !== undefined) return;
    this.#ending = how;
    this.#flow();
  }

  /** Delivers by itself, as fast as its shape says. */
  #flow(): void {
    if (this.#manual || this.#stalled || this.#over) return;
    const shape = this.#shape;
    if (shape === undefined) {
      while (this.#heldBytes > 0 && !this.#stalled && !this.#over) {
        this.#move(this.#held[0].length);
      }
      this.deliver(0);
    } else if (this.#timer === undefined) this.#delay(shape);
  }

  #delay(shape: Shape): void {
    const { random, maxDelay, maxChunk, clock } = shape;
    this.#timer = clock.setTimeout(() => {
      this.#timer = undefined;
      this.deliver(random.between(1, maxChunk));
      if (this.#heldBytes > 0) this.#flow();
    }, random.between(0, maxDelay));
  }

  /** Delivers up to `n` bytes, and applies each fault at its byte. */
  #move(n: number): void {
    this.#applyFaultsHere();
    while (n > 0 && this.#heldBytes > 0 && !this.#stalled && !this.#over) {
      const next = this.#faults[0]?.at ?? Infinity;
      const take = Math.min(n, this.#heldBytes, next - this.delivered);
      this.#push(this.#take(take));
      n -= take;
      this.#applyFaultsHere();
    }
  }

  #applyFaultsHere(): void {
    while (this.#faults[0]?.at === this.delivered && !this.#over) {
      const fault = this.#faults[0];
      const more = fault.kind === "garble" || fault.kind === "duplicate";
      // These two need the bytes that they change.
      if (more && this.#heldBytes === 0) return;
      this.#faults.shift();
      this.#apply(fault);
    }
  }

  #apply(fault: Fault): void {
    switch (fault.kind) {
      case "cut":
        this.#ending = "fin";
        this.#finish();
        return;
      case "reset":
        this.#events.reset();
        return;
      case "stall":
        this.#stalled = true;
        return;
      case "garble":
        this.#held[0][0] ^= 1 << fault.bit;
        return;
      case "duplicate": {
        const length = Math.min(fault.length, this.#held[0].length);
        this.#held.unshift(this.#held[0].slice(0, length));
        this.#heldBytes += length;
        return;
      }
    }
  }

  #push(bytes: Uint8Array): void {
    this.delivered += bytes.length;
    this.onDelivered?.(bytes);
    this.reader.push(bytes);
    this.#afterRead();
  }

  /** The next `n` held bytes as one chunk. */
  #take(n: number): Uint8Array {
    const first = this.#held[0];
    this.#heldBytes -= n;
    if (first.length === n) return this.#held.shift() as Uint8Array;
    const bytes = new Uint8Array(n);
    for (let at = 0; at < n;) {
      const chunk = this.#held[0];
      const part = chunk.subarray(0, n - at);
      bytes.set(part, at);
      at += part.length;
      if (part.length === chunk.length) this.#held.shift();
      else this.#held[0] = chunk.subarray(part.length);
    }
    return bytes;
  }

  /** Delivers the end. */
  #finish(): void {
    const ending = this.#ending;
    if (this.#over || ending === undefined) return;
    this.#vanish();
    if (ending === "fin") this.reader.end();
    else this.reader.fail(ending.reason);
  }

  #vanish(): void {
    this.#over = true;
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#timer !== undefined) this.#shape?.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#release();
  }
}
