/**
 * One direction of a faulty transport: a pipe of bytes that a test can split,
 * merge, delay, stall, cut, reset, garble and duplicate.
 *
 * Invariants owned here:
 * - A fault strikes at a byte: exactly `at` bytes were delivered before it,
 *   however they were cut into chunks.
 * - No clock and no chance but those given.
 *
 * @module
 */

import type { Clock } from "../../mod.ts";
import { ReadHalf } from "../../src/transport/read_half.ts";
import { WriteHalf } from "../../src/transport/write_half.ts";
import type { Random } from "./random.ts";

/** What goes wrong once `at` bytes were delivered. */
export type Fault =
  /** FIN comes in place of all that would follow. */
  | { readonly kind: "cut"; readonly at: number }
  /** Both directions are lost. */
  | { readonly kind: "reset"; readonly at: number }
  /** Nothing is delivered until `resume`. */
  | { readonly kind: "stall"; readonly at: number }
  /** Bit `bit` of the next byte is flipped. */
  | { readonly kind: "garble"; readonly at: number; readonly bit: number }
  /** The next `length` bytes come twice (or as many as are there). */
  | {
    readonly kind: "duplicate";
    readonly at: number;
    readonly length: number;
  };

/** How bytes are cut into chunks on their way. */
export interface Shape {
  readonly random: Random;
  /** Largest chunk delivered, in bytes; what gathers meanwhile is merged. */
  readonly maxChunk: number;
  /** Longest delay between chunks, in ms of `clock`; 0 for none. */
  readonly maxDelay: number;
  readonly clock: Clock;
}

/** What one direction is made with. */
export interface LineOptions {
  /** Bytes held before the writer has to wait. Default 64 KiB. */
  readonly capacity?: number;
  /** In any order. */
  readonly faults?: readonly Fault[];
  /** Cuts and delays; without one, chunks pass as they are. */
  readonly shape?: Shape;
  /** Delivers only what `deliver` is called for, and lets a waiting writer go on only by `admit`. */
  readonly manual?: boolean;
}

/** What a line tells the pair it belongs to. */
export interface LineEvents {
  /** A `reset` fault strikes. */
  reset(): void;
  /** The writer gave up: both directions are lost. */
  aborted(reason: unknown): void;
}

/** What comes after the bytes that are held. */
type Ending = { readonly reason: unknown } | "fin";

/** One direction. */
export class FaultLine extends WriteHalf {
  /** What the other end reads. */
  readonly intake: ReadHalf;
  /** Bytes the writer has handed over, and bytes the reader was given. */
  entered = 0;
  delivered = 0;
  /** Chunks the writer has handed over. */
  chunks = 0;
  /** Sees bytes as they are handed over, and as they are delivered. */
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
  /** Nothing is delivered any more: what is written vanishes. */
  #over = false;
  #timer: unknown;
  /** Lets the write that waits go on. */
  #waiting: (() => void) | undefined;

  constructor(options: LineOptions, events: LineEvents) {
    super(options.capacity);
    this.#faults = [...options.faults ?? []].sort((a, b) => a.at - b.at);
    this.#shape = options.shape;
    this.#manual = options.manual === true;
    this.#events = events;
    this.intake = new ReadHalf(this.highWaterMark, {
      onRead: () => this.#flowOn(),
      onCancel: () => this.#vanish(),
    });
  }

  /** Bytes handed over and not delivered. */
  get held(): number {
    return this.#heldBytes;
  }

  /** Whether a FIN or a loss waits behind what is held. */
  get ending(): boolean {
    return !this.#over && this.#ending !== undefined;
  }

  /** Whether its end, or its loss, has been delivered. */
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

  /** Ends that. */
  resume(): void {
    this.#stalled = false;
    this.#flow();
  }

  /** Puts a FIN in place of all that was not delivered. */
  cut(): void {
    this.#strike({ kind: "cut", at: this.delivered });
  }

  /** Delivers up to `n` bytes as one chunk, and the end once nothing else is held. */
  deliver(n: number): void {
    if (this.#stalled || this.#over) return;
    this.#move(n);
    if (this.#heldBytes === 0 && !this.#stalled) this.#finish();
  }

  /** The end that reads this line gave up: what is written vanishes. */
  drop(reason: unknown): void {
    this.intake.abort(reason);
    this.#vanish();
  }

  /** The end that writes this line is lost: told behind what is held. */
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
      this.#heldBytes + this.intake.bytes <= this.highWaterMark;
  }

  /** Lets the writer go on if it waits and there is room; false if not. */
  admit(): boolean {
    if (this.#waiting === undefined || !this.#room) return false;
    this.#release();
    return true;
  }

  #flowOn(): void {
    if (!this.#manual) this.admit();
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

  /** Goes on by itself, as fast as its shape says. */
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

  /** Moves up to `n` bytes on, to the next fault at most; then strikes that. */
  #move(n: number): void {
    this.#strikeHere();
    while (n > 0 && this.#heldBytes > 0 && !this.#stalled && !this.#over) {
      const next = this.#faults[0]?.at ?? Infinity;
      const take = Math.min(n, this.#heldBytes, next - this.delivered);
      this.#push(this.#take(take));
      n -= take;
      this.#strikeHere();
    }
  }

  #strikeHere(): void {
    while (this.#faults[0]?.at === this.delivered && !this.#over) {
      const fault = this.#faults[0];
      const more = fault.kind === "garble" || fault.kind === "duplicate";
      // These two need the bytes they strike.
      if (more && this.#heldBytes === 0) return;
      this.#faults.shift();
      this.#strike(fault);
    }
  }

  #strike(fault: Fault): void {
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
    this.intake.push(bytes);
    this.#flowOn();
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
    if (ending === "fin") this.intake.end();
    else this.intake.fail(ending.reason);
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
