/**
 * The sending end of one stream: a source of the user's in, frames out.
 *
 * Invariants owned here:
 * - Nothing is asked of the source before the stream is open at both ends, and
 *   no further item while one waits to be written (bytes below half a frame
 *   excepted, which gather).
 * - No DATA without credit for it. What waits for more than {@linkcode QUANTUM}
 *   is cut to what there is.
 * - END is written once, when the source is done or its cleanup is over; an
 *   outlet whose call is over writes nothing any more.
 * - A source is told to end once, by `cancel`, `release` or `complete`. Only
 *   after the last is what it had been asked for still written.
 *
 * @module
 */

import { ConnectionError, RpcError } from "../base/errors.ts";
import { isBytes, lengthOf, plainView } from "../base/bytes.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import {
  BYTES,
  CHARGE_BESIDE,
  MAX_CREDIT,
  MAX_DATA,
  MAX_ITEM,
  QUANTUM,
} from "../wire/protocol.ts";
import type { PullSource, Thrown } from "../base/pull_source.ts";
import type { StreamFailure, StreamFrameWriter } from "../wire/codec.ts";
import type { ScheduledWriter, WriteScheduler } from "./write_scheduler.ts";

/** What an outlet asks of its connection. */
export interface StreamWriterOwner {
  readonly sendBuffer: FrameBuffer;
  readonly frames: StreamFrameWriter;
  readonly turns: WriteScheduler;
  /** Whether the peer sends no more credit. */
  readonly peerHalfClosed: boolean;
  /** The call's id. */
  readonly id: number;
  /** Whether this end made the call. */
  readonly caller: boolean;
  /** The largest body the peer accepts. */
  readonly most: number;
  /** What waits to be written has grown by so many bytes. */
  waits(bytes: number): void;
  /** Prepares an item. Throws what its stream fails with if it has no form on the wire. */
  prepare(item: unknown): void;
  /** What the peer is told of what the stream fails with. */
  toRpcError(error: unknown): StreamFailure;
  /** The source is over, and END written if it was to be; its cleanup threw something, if that is given. */
  done(thrown: Thrown | undefined): void;
}

/**
 * Where a stream is for its producer: `waiting` to be opened; `open`;
 * `stopping`, its source being cancelled; `over`.
 */
type StreamWriterState = "waiting" | "open" | "stopping" | "over";

/** What waits to be written: `bytes` from `at` to `end`, cut as credit allows. */
interface UnsentItem {
  readonly kind: number;
  bytes: Uint8Array;
  at: number;
  end: number;
  /** Whether the bytes are ours to write to. */
  own: boolean;
}

/** One stream that goes out. */
export class StreamWriter implements ScheduledWriter {
  previous: ScheduledWriter | undefined = undefined;
  next: ScheduledWriter | undefined = undefined;
  lined = false;
  /** Items that the source gave. */
  items = 0;
  /** What the source failed with. */
  failure: { readonly error: unknown } | undefined;
  readonly #owner: StreamWriterOwner;
  readonly #source: PullSource;
  #state: StreamWriterState = "waiting";
  #credit = 0;
  /** The source was asked, and has not answered. */
  #asked = false;
  /** Nothing more is wanted of the source; whether it has to be told; whether it has ended of itself: it is not told then, as by no loop over it. */
  #dry = false;
  #broken = false;
  #creditExhausted = false;
  /** Under way, or over, since it was asked for no more: see `complete`. */
  #cleanup: Promise<Thrown | undefined> | undefined;
  #ended: unknown;
  #untidy: Thrown | undefined;
  #rest: UnsentItem | undefined;
  /** What came while bytes gathered in `#rest`, and does not fit there. */
  #behind: UnsentItem | undefined;
  readonly #next = (next: IteratorResult<unknown>) => this.#came(next);
  readonly #threw = (error: unknown) => {
    // It was told to end, and says that it has.
    if (this.#ended !== undefined && isGivingUp(error, this.#ended)) return;
    this.#fail(error, false);
  };

  constructor(owner: StreamWriterOwner, source: PullSource) {
    this.#owner = owner;
    this.#source = source;
  }

  /** What the peer has granted and is not used, while it is open. */
  get granted(): number {
    return this.#state === "open" ? this.#credit : 0;
  }

  /** Whether anything its reader says changes it. */
  get live(): boolean {
    return this.#state === "open" || this.#state === "waiting";
  }

  /** It is open at both ends: the source is asked for its first item. */
  start(credit: number): void {
    if (this.#state !== "waiting") return;
    this.#state = "open";
    this.#credit = credit;
    this.#ask();
  }

  // What its reader says.

  /**
   * More credit has come.
   *
   * @throws {ConnectionError} `protocol_error`, if that is more than can be.
   */
  grant(bytes: number): void {
    if (this.#state !== "open") return;
    this.#credit += bytes;
    if (this.#credit > MAX_CREDIT) {
      throw new ConnectionError(
        "protocol_error",
        `credit of ${this.#credit} bytes; at most ${MAX_CREDIT} can be granted`,
      );
    }
    this.advance();
  }

  // What ends it.

  /** Cancels the source; once its cleanup is over, END says that it was cancelled, or what `failure` says. */
  cancel(reason: unknown, failure = CANCELLED): void {
    switch (this.#state) {
      case "waiting":
      case "open":
        this.#state = "stopping";
        this.#drop();
        this.#clean(reason, failure);
        return;
      case "stopping":
      case "over":
        return;
    }
  }

  /** Its call is over, or its connection: the source is cancelled, and nobody told. */
  release(reason: unknown): void {
    switch (this.#state) {
      case "waiting":
      case "open":
        this.#state = "over";
        this.#drop();
        this.#clean(reason, CANCELLED);
        return;
      case "stopping":
        this.#state = "over";
        return;
      case "over":
        return;
    }
  }

  /** Asks the source for no more. What it has given, and what it had been asked for, is still written; then END says that all is well. */
  async complete(reason: unknown): Promise<void> {
    if (this.#state !== "open" || this.#dry || this.#cleanup) return;
    this.#ended = reason;
    this.#cleanup = this.#source.cancel(reason);
    const thrown = await this.#cleanup;
    // What failed meanwhile has been told; so has who was cancelled.
    if (this.#state !== "open" || this.#dry) return;
    this.#dry = this.#creditExhausted = true;
    if (!isGivingUp(thrown?.error, reason)) this.#untidy = thrown;
    this.advance();
  }

  #drop(): void {
    for (const rest of [this.#rest, this.#behind]) {
      if (rest !== undefined) this.#owner.waits(rest.at - rest.end);
    }
    this.#rest = this.#behind = undefined;
    this.#owner.turns.dequeue(this);
  }

  async #clean(reason: unknown, failure: StreamFailure): Promise<void> {
    const thrown = this.#creditExhausted
      ? undefined
      : await (this.#cleanup ?? this.#source.cancel(reason));
    // Over: there is nobody to tell, but the cleanup counts all the same.
    if (this.#state === "stopping") this.#end(failure);
    this.#owner.done(thrown);
  }

  #end(failure: StreamFailure | undefined): void {
    const { frames, sendBuffer, id, caller, most } = this.#owner;
    this.#state = "over";
    if (failure === undefined) frames.end(sendBuffer, id, caller);
    else frames.fail(sendBuffer, id, caller, failure, most);
  }

  // What the source says.

  #ask(): void {
    if (this.#asked || this.#dry || this.#state !== "open") return;
    if (this.#cleanup !== undefined) return;
    this.#asked = true;
    this.#source.next().then(this.#next, this.#threw);
  }

  #came(next: IteratorResult<unknown>): void {
    this.#asked = false;
    // Cancelled meanwhile: the item is nobody's.
    if (this.#state !== "open") return;
    let item: unknown;
    try {
      if (typeof next !== "object" || next === null) throw noResult(next);
      if (next.done) {
        // Its cleanup has to be over first.
        if (this.#cleanup !== undefined) return;
        this.#dry = this.#creditExhausted = true;
        return this.advance();
      }
      item = next.value;
    } catch (error) {
      return this.#fail(error, true);
    }
    if (isBytes(item)) this.#take(item);
    else this.#encode(item);
  }

  #take(item: Uint8Array): void {
    let end: number;
    try {
      end = lengthOf(item);
    } catch {
      // Its memory is gone, which to encode it says.
      return this.#encode(item);
    }
    const bytes = plainView(item);
    if (end > 0) this.#add({ kind: BYTES, bytes, at: 0, end, own: false });
    else this.#ask();
  }

  #encode(item: unknown): void {
    const { frames, sendBuffer, turns, id, caller } = this.#owner;
    try {
      // Runs user code, which may end the call or the connection.
      this.#owner.prepare(item);
    } catch (error) {
      return this.#fail(error, true);
    }
    if (this.#state !== "open") return;
    const { size } = frames;
    const charge = size + CHARGE_BESIDE;
    if (size > MAX_ITEM) {
      const text = `an item of ${size} bytes; at most ${MAX_ITEM} fit`;
      this.#fail(new RpcError("resource_exhausted", text), true);
    } else if (
      size <= MAX_DATA && charge <= this.#credit && turns.free &&
      this.#rest === undefined
    ) {
      this.items++;
      this.#credit -= charge;
      turns.note();
      frames.data(sendBuffer, id, caller);
      this.#ask();
    } else {
      this.#add({ ...frames.cut(), at: 0, end: size, own: false });
    }
  }

  /** The source has failed, or has to. */
  #fail(error: unknown, broken: boolean): void {
    this.#asked = false;
    if (this.#state !== "open") return;
    this.failure = { error };
    this.#dry = true;
    this.#creditExhausted ||= !broken;
    this.#broken = broken;
    this.advance();
  }

  #add(rest: UnsentItem): void {
    this.items++;
    this.#owner.waits(rest.end - rest.at);
    if (this.#rest === undefined) this.#rest = rest;
    else if (!gather(this.#rest, rest)) this.#behind = rest;
    this.advance();
  }

  // Writing.

  /** Goes on as far as credit, turns and the source allow. */
  advance(): void {
    if (this.#state !== "open") return;
    const { turns, peerHalfClosed: deaf } = this.#owner;
    const rest = this.#rest;
    if (rest === undefined) return this.#dry ? this.#finish() : this.#ask();
    if (this.#sendable) {
      turns.enqueue(this);
      turns.writeReady();
    } else if (deaf) {
      this.#drop();
      this.#fail(new RpcError("unavailable", DEAF), true);
      return;
    }
    // Small bytes gather while they wait.
    const waits = rest === this.#rest && this.#behind === undefined;
    if (waits && rest.kind === BYTES && rest.end - rest.at < MAX_DATA / 2) {
      if (!rest.own) widen(rest, 0);
      this.#ask();
    }
  }

  get #sendable(): boolean {
    const rest = this.#rest;
    if (rest === undefined) return false;
    const charge = rest.end - rest.at + CHARGE_BESIDE;
    return this.#credit >= Math.min(charge, QUANTUM);
  }

  write(): boolean {
    const rest = this.#rest;
    if (rest === undefined || !this.#sendable) return false;
    const { sendBuffer, frames, id, caller, peerHalfClosed: deaf } =
      this.#owner;
    const { at, end } = rest;
    if (rest.bytes.length < end) {
      // Its producer gave the memory away while it waited.
      this.#drop();
      this.#encode(rest.bytes);
      return false;
    }
    const room = Math.min(MAX_DATA, this.#credit - CHARGE_BESIDE);
    const until = Math.min(end, at + room);
    const more = rest.kind !== BYTES && until < end;
    this.#credit -= until - at + CHARGE_BESIDE;
    rest.at = until;
    this.#owner.waits(at - until);
    frames.part(sendBuffer, id, caller, rest, at, until, more);
    if (until === end) {
      this.#rest = this.#behind;
      this.#behind = undefined;
    }
    // No credit comes any more that what is left could wait for.
    if (this.#rest === undefined || (deaf && !this.#sendable)) this.advance();
    return this.#sendable;
  }

  /** Everything is written that the source gave. */
  #finish(): void {
    const { failure } = this;
    if (failure === undefined) {
      this.#end(undefined);
      this.#owner.done(this.#untidy);
      return;
    }
    const words = this.#owner.toRpcError(failure.error);
    // What describes it is the user's, and may have ended the call.
    if (this.#state !== "open") return;
    if (this.#broken) {
      this.#state = "stopping";
      this.#clean(failure.error, words);
    } else {
      this.#end(words);
      this.#owner.done(undefined);
    }
  }
}

/** What is no result of an iterator would be taken for an endless row of items. */
function noResult(next: unknown): TypeError {
  return new TypeError(
    `Cannot read the stream: next() gave no result object, received ${typeof next}`,
  );
}

const DEAF = "the peer reads no further";
const CANCELLED: StreamFailure = {
  code: "cancelled",
  message: "the stream was cancelled",
};

/** Whether an error only says that its thrower was told to end: by the signal's reason, or as the platform's functions do. */
function isGivingUp(error: unknown, reason: unknown): boolean {
  if (error === reason) return true;
  try {
    return (error as Error).name === "AbortError";
  } catch {
    return false;
  }
}

/** Adds bytes to bytes that wait, if both fit in a frame: into a buffer that grows, so that many small ones are not copied again and again. */
function gather(rest: UnsentItem, more: UnsentItem): boolean {
  const length = more.end - more.at;
  const both = rest.kind === BYTES && more.kind === BYTES;
  if (!both || rest.end - rest.at + length > MAX_DATA) return false;
  if (rest.end + length > rest.bytes.length) widen(rest, length);
  rest.bytes.set(more.bytes.subarray(more.at, more.end), rest.end);
  rest.end += length;
  return true;
}

/** Moves what waits into memory of our own, with room for more: the producer may use its own again. */
function widen(rest: UnsentItem, length: number): void {
  const waiting = rest.end - rest.at;
  const room = Math.min(MAX_DATA, 2 * (waiting + length));
  const bytes = new Uint8Array(room);
  bytes.set(rest.bytes.subarray(rest.at, rest.end));
  Object.assign(rest, { bytes, at: 0, end: waiting, own: true });
}
