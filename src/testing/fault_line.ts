/**
 * One direction of a faulty transport: a pipe of bytes that a test can split,
 * merge, delay, stall, cut, reset, garble and duplicate.
 *
 * - A fault happens at a byte: exactly `at` bytes are delivered before it, however
 *   they are cut into chunks.
 * - It uses no clock and no random numbers but those that it is given.
 * - It holds at most `capacity` bytes, beyond one chunk, before its writer waits.
 *
 * @module
 */

import { type Clock, systemClock } from "../base/clock.ts";
import { BUFFER, ReadHalf } from "../transport/read_half.ts";
import { WriteHalf } from "../transport/write_half.ts";
import { Random } from "./random.ts";

/** A fault that happens once `at` bytes of one direction have been delivered; `at` is a whole number from 0. */
export type Fault =
  /** A FIN takes the place of all further bytes. */
  | { readonly kind: "cut"; readonly at: number }
  /** Both directions are lost, for both sides. */
  | { readonly kind: "reset"; readonly at: number }
  /** Nothing is delivered until `resume`. */
  | { readonly kind: "stall"; readonly at: number }
  /** Bit `bit` (0 to 7) of the next byte is flipped. */
  | { readonly kind: "garble"; readonly at: number; readonly bit: number }
  /** The next `length` bytes are delivered twice, or fewer if the chunk has fewer. */
  | {
    readonly kind: "duplicate";
    readonly at: number;
    readonly length: number;
  };

/** How the bytes of one direction are cut into chunks on their way, at random. */
export interface FaultyChunks {
  /** The same seed gives the same sizes and delays. */
  readonly seed: number;
  /** Largest chunk delivered, in bytes, 1 or more. Bytes that wait are merged. */
  readonly maxChunk: number;
  /** Longest delay before a chunk, in milliseconds. Default 0: a chunk waits only for the timers that are due. */
  readonly maxDelay?: number | undefined;
  /** The clock of the delays. Default the platform's. */
  readonly clock?: Clock | undefined;
}

/** How one direction behaves. */
export interface FaultyDirectionOptions {
  /** How many bytes it holds before its writer has to wait. Default 65,536. */
  readonly capacity?: number | undefined;
  /** What happens to its bytes, in any order. */
  readonly faults?: readonly Fault[] | undefined;
  /** Splits, merges and delays. Without it, chunks pass as they are, at once. */
  readonly chunks?: FaultyChunks | undefined;
}

/** One direction of a faulty transport, as a test sees and controls it. */
export interface FaultyDirection {
  /** Bytes written so far, also those that a fault has dropped. */
  readonly written: number;
  /** Bytes delivered to the reader so far. */
  readonly delivered: number;
  /** Bytes written and not delivered; 0 once a fault has ended the direction. */
  readonly held: number;
  /** Whether it is stalled: by a fault, or by `stall`. */
  readonly stalled: boolean;
  /** Delivers nothing from now on, no end and no error either: as if the cable were pulled. */
  stall(): void;
  /** Delivers again, first what it holds. */
  resume(): void;
  /** Replaces all bytes that are not delivered with a FIN. */
  cut(): void;
}

/** Options of one direction that are for the library's own tests. */
export interface LineOptions extends FaultyDirectionOptions {
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
export class FaultLine extends WriteHalf implements FaultyDirection {
  /** The half that the receiver reads. */
  readonly reader: ReadHalf;
  written = 0;
  delivered = 0;
  /** Chunks that the writer has written. */
  chunks = 0;
  /** Called with bytes as they are written, and as they are delivered. */
  onWritten: ((bytes: Uint8Array) => void) | undefined;
  onDelivered: ((bytes: Uint8Array) => void) | undefined;

  readonly #faults: Fault[];
  readonly #chunks: FaultyChunks | undefined;
  readonly #random: Random | undefined;
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

  /**
   * @throws {RangeError} If a number of the options is out of range.
   * @throws {TypeError} If the kind of a fault is unknown.
   */
  constructor(options: LineOptions, events: LineEvents) {
    const { capacity = BUFFER, faults = [], chunks } = options;
    check("capacity", capacity);
    for (const fault of faults) checkFault(fault);
    super(capacity);
    this.#faults = [...faults].sort((a, b) => a.at - b.at);
    if (chunks !== undefined) {
      check("maxChunk", chunks.maxChunk, 1);
      check("maxDelay", chunks.maxDelay ?? 0);
      this.#random = new Random(chunks.seed);
    }
    this.#chunks = chunks;
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
    this.written += chunk.length;
    this.onWritten?.(chunk);
    if (this.#over || chunk.length === 0) return;
    this.#held.push(new Uint8Array(chunk));
    this.#heldBytes += chunk.length;
    this.#flow();
    if (!this.#room) await this.untilDone((done) => this.#waiting = done);
  }

  get #clock(): Clock {
    return this.#chunks?.clock ?? systemClock;
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

  /** Delivers by itself, as fast as its options say. */
  #flow(): void {
    if (this.#manual || this.#stalled || this.#over) return;
    const random = this.#random;
    if (random === undefined) {
      while (this.#heldBytes > 0 && !this.#stalled && !this.#over) {
        this.#move(this.#held[0].length);
      }
      this.deliver(0);
    } else if (this.#timer === undefined) this.#delay(random);
  }

  #delay(random: Random): void {
    const { maxDelay = 0, maxChunk } = this.#chunks as FaultyChunks;
    this.#timer = this.#clock.setTimeout(() => {
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
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#release();
  }
}

/** Checks a number of the options; `NaN` would never be reached, or would be no limit at all. */
function check(name: string, value: number, least = 0, most = Infinity): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Infinity
    ? `from ${least}`
    : `from ${least} to ${most}`;
  throw new RangeError(
    `Cannot make faults: ${name} must be a whole number ${range}, received ${value}`,
  );
}

function checkFault(fault: Fault): void {
  check("at", fault.at);
  switch (fault.kind) {
    case "cut":
    case "reset":
    case "stall":
      return;
    case "garble":
      return check("bit", fault.bit, 0, 7);
    case "duplicate":
      return check("length", fault.length, 1);
    default: {
      const { kind } = fault as { kind: unknown };
      throw new TypeError(
        `Cannot make faults: there is no kind ${String(kind)}`,
      );
    }
  }
}
