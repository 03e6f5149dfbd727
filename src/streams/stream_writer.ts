/**
 * The writing side of one stream: items of a local source in, DATA frames out.
 *
 * Order and bounds:
 * - The source is asked for nothing before both sides have opened the stream,
 *   and for no further item while one waits to be written. (Bytes below half a
 *   frame are the exception: they gather.)
 * - No DATA is written without credit for it, of the stream and of the
 *   connection. An item that waits for more than {@linkcode QUANTUM} bytes of
 *   the stream's is cut to what there is; that of the connection is reserved for
 *   all of it before its first part is written.
 * - END is written once, when the source and its cleanup are over. After its
 *   call is over a writer writes nothing.
 * - The source is cancelled at most once, by `cancel`, `release` or `complete`.
 *   Only after `complete` are the items written that it had been asked for.
 *
 * @module
 */

import { isBytes, lengthOf, plainView } from "../base/bytes.ts";
import { protocolError, RpcError } from "../base/errors.ts";
import { typeName } from "../base/inspect.ts";
import type { PullSource, Thrown } from "../base/pull_source.ts";
import type { StreamFailure } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import {
  BYTES,
  CHARGE_BESIDE,
  MAX_CREDIT,
  MAX_DATA,
  MAX_ITEM,
  QUANTUM,
} from "../wire/protocol.ts";
import type { WriterView } from "./contract.ts";
import type { StreamOwner } from "./stream_host.ts";
import type { ScheduledWriter } from "../wire/fragments/write_scheduler.ts";
import { type CreditUser, itemCharge } from "./send_credit.ts";

/**
 * - `waiting`: not opened yet.
 * - `open`: items are taken from the source and written.
 * - `stopping`: the source is being cancelled.
 * - `over`
 */
type StreamWriterState = "waiting" | "open" | "stopping" | "over";

/** An item to write: `bytes` from `at` to `end`, cut as the credit allows. */
interface UnsentItem {
  readonly kind: number;
  bytes: Uint8Array;
  at: number;
  end: number;
  /** Whether the memory is the writer's own, so that it may write to it. */
  own: boolean;
}

/** One outgoing stream. */
export class StreamWriter implements ScheduledWriter, CreditUser, WriterView {
  previous: ScheduledWriter | undefined = undefined;
  next: ScheduledWriter | undefined = undefined;
  queued = false;
  reserved = 0;
  needed = 0;
  /** Items taken from the source. */
  items = 0;
  /** Why the stream failed, if it did. */
  failure: { readonly error: unknown } | undefined;
  readonly #owner: StreamOwner;
  readonly #source: PullSource;
  #state: StreamWriterState = "waiting";
  #credit = 0;
  /** Whether the source was asked for an item that has not come yet. */
  #pulling = false;
  /** Whether no item comes any more: the stream ends behind what is unsent. */
  #exhausted = false;
  /** Whether the source has ended by itself, or was cancelled: it is not cancelled again. */
  #sourceEnded = false;
  /** Set by `complete`: the source was asked to end, and `cleanup` resolves when it has. */
  #completion:
    | {
      readonly reason: unknown;
      readonly cleanup: Promise<Thrown | undefined>;
    }
    | undefined;
  /** What that cleanup threw. */
  #thrown: Thrown | undefined;
  #unsent: UnsentItem | undefined;
  /** An item that came while bytes gathered in `#unsent`, and does not fit there. */
  #nextUnsent: UnsentItem | undefined;
  readonly #onItem = (result: IteratorResult<unknown>) => this.#take(result);
  readonly #onThrown = (error: unknown) => {
    // A source that was asked to end may answer with an error that says so.
    const completion = this.#completion;
    if (completion && isCancellation(error, completion.reason)) return;
    this.#fail(error, true);
  };

  constructor(owner: StreamOwner, source: PullSource) {
    this.#owner = owner;
    this.#source = source;
  }

  /** Unused credit, in bytes. */
  get granted(): number {
    return this.#state === "open" ? this.#credit : 0;
  }

  /** Whether CREDIT or STOP would change anything. */
  get live(): boolean {
    return this.#state === "open" || this.#state === "waiting";
  }

  /** Starts to write: both sides have opened the stream. */
  start(credit: number): void {
    if (this.#state !== "waiting") return;
    this.#state = "open";
    this.#credit = credit;
    this.#pull();
  }

  /**
   * Adds credit that the reader grants.
   *
   * @throws {ConnectionError} `protocol_error`, if that makes more than the protocol allows.
   */
  grant(bytes: number): void {
    if (this.#state !== "open") return;
    this.#credit += bytes;
    if (this.#credit > MAX_CREDIT) {
      protocolError(
        `the peer granted a stream ${this.#credit} bytes; at most ${MAX_CREDIT} are allowed`,
      );
    }
    this.advance();
  }

  // What ends it.

  /** Cancels the source. Once its cleanup is over, END tells the peer `failure`. */
  cancel(reason: unknown, failure = CANCELLED): void {
    if (this.live) this.#stop("stopping", reason, failure);
  }

  /** Cancels the source because the call or the connection is over: the peer is not notified. */
  release(reason: unknown): void {
    if (this.live) this.#stop("over", reason);
    else this.#state = "over";
  }

  /** Asks the source for no more. The items that it gave or had been asked for are still written; then END says that the stream ended in order. */
  async complete(reason: unknown): Promise<void> {
    if (this.#state !== "open" || this.#exhausted || this.#completion) return;
    const cleanup = this.#source.cancel(reason);
    this.#completion = { reason, cleanup };
    const thrown = await cleanup;
    // A failure or a cancellation that came meanwhile ends the stream instead.
    if (this.#state !== "open" || this.#exhausted) return;
    if (!isCancellation(thrown?.error, reason)) this.#thrown = thrown;
    this.#exhaust();
  }

  #stop(
    state: StreamWriterState,
    reason: unknown,
    failure?: StreamFailure,
  ): void {
    this.#state = state;
    this.#drop();
    this.#cleanUp(reason, failure);
  }

  #drop(): void {
    for (const item of [this.#unsent, this.#nextUnsent]) {
      if (item !== undefined) this.#owner.host.addUnsent(item.at - item.end);
    }
    this.#unsent = this.#nextUnsent = undefined;
    const { host } = this.#owner;
    host.scheduler.dequeue(this);
    if (this.reserved + this.needed === 0) return;
    host.sendCredit.release(this);
    host.scheduler.writeReady();
  }

  /** Ends the stream when the source's cleanup is over: now, if the source has ended. */
  #cleanUp(reason: unknown, failure: StreamFailure | undefined): void {
    if (this.#sourceEnded) return this.#end(failure, this.#thrown);
    const cleanup = this.#completion?.cleanup ?? this.#source.cancel(reason);
    cleanup.then((thrown) => this.#end(failure, thrown));
  }

  #end(failure: StreamFailure | undefined, thrown: Thrown | undefined): void {
    // Otherwise the call is over, and only its owner waits for the cleanup.
    if (this.#state === "stopping") this.#writeEnd(failure);
    this.#owner.onSourceDone(thrown);
  }

  #writeEnd(failure: StreamFailure | undefined): void {
    const owner = this.#owner;
    let trailers: MetadataBlock | undefined;
    try {
      trailers = owner.outgoingTrailers(failure !== undefined);
    } catch (error) {
      this.failure = { error };
      failure = owner.toRpcError(error);
    }
    // The code that made the trailers may have ended the call.
    if (this.#state !== "stopping") return;
    this.#state = "over";
    const { frames, context } = owner.host;
    if (failure === undefined) frames.end(owner, trailers);
    else frames.fail(owner, failure, trailers, context.peerMaxMessage());
  }

  // What the source gives.

  #pull(): void {
    const idle = !this.#pulling && !this.#exhausted && !this.#completion;
    if (!idle || this.#state !== "open") return;
    this.#pulling = true;
    this.#source.next().then(this.#onItem, this.#onThrown);
  }

  #take(result: IteratorResult<unknown>): void {
    this.#pulling = false;
    // Nobody wants the item if the stream was cancelled meanwhile.
    if (this.#state !== "open") return;
    let item: unknown;
    try {
      // Anything but a result object would be taken for an endless stream.
      if (typeof result !== "object" || result === null) {
        throw new TypeError(
          `Cannot read the stream: next() gave no result object, received ${typeof result}`,
        );
      }
      if (result.done) {
        // `complete` goes on when the cleanup is over.
        if (!this.#completion) this.#exhaust();
        return;
      }
      item = result.value;
    } catch (error) {
      return this.#fail(error, false);
    }
    if (this.#source.messages && !isBytes(item)) {
      const text = `Cannot send a message: expected bytes, received ${
        typeName(item)
      }`;
      return this.#fail(new TypeError(text), false);
    }
    if (this.#source.messages || !isBytes(item)) return this.#encode(item);
    let end: number;
    try {
      end = lengthOf(item);
    } catch {
      // Its memory is gone. Encoding it throws the error that says so.
      return this.#encode(item);
    }
    if (end === 0) return this.#pull();
    const bytes = plainView(item);
    this.#add({ kind: BYTES, bytes, at: 0, end, own: false });
  }

  #encode(item: unknown): void {
    const { host } = this.#owner;
    const { frames, scheduler, sendCredit } = host;
    try {
      // Runs the user's code, which may end the call or the connection.
      this.#owner.prepare(item);
    } catch (error) {
      return this.#fail(error, false);
    }
    if (this.#state !== "open") return;
    if (this.#source.messages) frames.markMessage();
    const { size } = frames;
    const charge = size + CHARGE_BESIDE;
    if (size > MAX_ITEM) {
      const text = `an item of ${size} bytes; at most ${MAX_ITEM} fit`;
      this.#fail(new RpcError("resource_exhausted", text), false);
    } else if (itemCharge(size) > sendCredit.mostForItem) {
      const text = `an item of ${size} bytes, too large for a connection ` +
        `with a credit of ${2 * sendCredit.mostForItem} bytes`;
      this.#fail(new RpcError("resource_exhausted", text), false);
    } else if (
      size <= MAX_DATA && charge <= this.#credit && scheduler.free &&
      this.#unsent === undefined && sendCredit.use(charge)
    ) {
      this.items++;
      this.#credit -= charge;
      scheduler.onFrame();
      frames.data(this.#owner);
      this.#pull();
    } else {
      this.#add({ ...frames.takeItem(), at: 0, end: size, own: false });
    }
  }

  /** Ends the stream behind what is unsent: the source has ended. */
  #exhaust(): void {
    this.#exhausted = this.#sourceEnded = true;
    this.advance();
  }

  /** Fails the stream behind what is unsent. */
  #fail(error: unknown, sourceEnded: boolean): void {
    this.#pulling = false;
    if (this.#state !== "open") return;
    this.failure = { error };
    this.#exhausted = true;
    this.#sourceEnded ||= sourceEnded;
    this.advance();
  }

  #add(item: UnsentItem): void {
    this.items++;
    this.#owner.host.addUnsent(item.end - item.at);
    if (this.#unsent === undefined) this.#unsent = item;
    else if (!append(this.#unsent, item)) this.#nextUnsent = item;
    this.advance();
  }

  // Writing.

  /** Writes and asks the source, as far as credit and the scheduler allow. */
  advance(): void {
    if (this.#state !== "open") return;
    const item = this.#unsent;
    if (item === undefined) {
      return this.#exhausted ? this.#finish() : this.#pull();
    }
    const { scheduler, peerHalfClosed } = this.#owner.host;
    const waits = this.needed > 0;
    if (this.#sendable && !(waits && peerHalfClosed)) {
      if (!waits) scheduler.enqueue(this);
      scheduler.writeReady();
    } else if (peerHalfClosed) {
      this.#drop();
      const text = "the peer has sent FIN, and can grant the stream no credit";
      return this.#fail(new RpcError("unavailable", text), false);
    }
    // Small bytes gather while they wait.
    const alone = item === this.#unsent && this.#nextUnsent === undefined;
    if (alone && item.kind === BYTES && item.end - item.at < MAX_DATA / 2) {
      if (!item.own) move(item, 0);
      this.#pull();
    }
  }

  get #sendable(): boolean {
    const item = this.#unsent;
    if (item === undefined) return false;
    const charge = item.end - item.at + CHARGE_BESIDE;
    return this.#credit >= Math.min(charge, QUANTUM);
  }

  write(): boolean {
    const item = this.#unsent;
    if (item === undefined || !this.#sendable) return false;
    const owner = this.#owner;
    const { host } = owner;
    const { at, end } = item;
    if (item.bytes.length < end) {
      // Its producer has transferred the memory away while it waited.
      this.#drop();
      this.#encode(item.bytes);
      return false;
    }
    const { sendCredit } = host;
    const isBytes = item.kind === BYTES;
    const all = end - at + CHARGE_BESIDE;
    let most = Math.min(all, MAX_DATA + CHARGE_BESIDE, this.#credit);
    const whole = this.reserved === 0 && (isBytes || most === all);
    if (!whole || !sendCredit.use(most)) {
      const least = isBytes ? Math.min(all, QUANTUM) : itemCharge(end - at);
      if (this.reserved === 0 && !sendCredit.reserve(this, least)) {
        if (host.peerHalfClosed) this.advance();
        return false;
      }
      // Bytes can be cut anywhere: as many as there is credit for.
      if (isBytes) most = sendCredit.extend(this, most);
      sendCredit.useReserved(this, most);
      if (isBytes || most === all) sendCredit.release(this);
    }
    const until = at + most - CHARGE_BESIDE;
    const more = !isBytes && until < end;
    this.#credit -= most;
    item.at = until;
    host.addUnsent(at - until);
    host.frames.fragment(owner, item, at, until, more);
    if (until === end) {
      this.#unsent = this.#nextUnsent;
      this.#nextUnsent = undefined;
    }
    // What is left may wait for credit that cannot come any more.
    const stuck = host.peerHalfClosed && !this.#sendable;
    if (this.#unsent === undefined || stuck) this.advance();
    return this.#sendable;
  }

  onReserved(): void {
    this.#owner.host.scheduler.enqueue(this);
  }

  /** Everything is written that the source gave. */
  #finish(): void {
    const { failure } = this;
    const sent = failure && this.#owner.toRpcError(failure.error);
    // `toRpcError` may run the user's code, which may have ended the call.
    if (this.#state !== "open") return;
    this.#state = "stopping";
    this.#cleanUp(failure?.error, sent);
  }
}

const CANCELLED: StreamFailure = {
  code: "cancelled",
  message: "the stream was cancelled",
};

/** Whether an error only says that the source was asked to end: it is the signal's reason, or the `AbortError` of the platform's functions. */
function isCancellation(error: unknown, reason: unknown): boolean {
  if (error === reason) return true;
  try {
    return (error as Error).name === "AbortError";
  } catch {
    return false;
  }
}

/** Appends bytes to bytes that wait, if both fit in one frame. The buffer doubles, so that many small items are not copied again and again. */
function append(item: UnsentItem, next: UnsentItem): boolean {
  const length = next.end - next.at;
  const bytes = item.kind === BYTES && next.kind === BYTES;
  if (!bytes || item.end - item.at + length > MAX_DATA) return false;
  if (item.end + length > item.bytes.length) move(item, length);
  item.bytes.set(next.bytes.subarray(next.at, next.end), item.end);
  item.end += length;
  return true;
}

/** Moves what waits into memory of the writer's own, with room for `length` bytes more: the producer may use its memory again. */
function move(item: UnsentItem, length: number): void {
  const end = item.end - item.at;
  const bytes = new Uint8Array(Math.min(MAX_DATA, 2 * (end + length)));
  bytes.set(item.bytes.subarray(item.at, item.end));
  Object.assign(item, { bytes, at: 0, end, own: true });
}
