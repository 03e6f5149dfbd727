/**
 * The reading side of one stream: DATA frames of the peer in, a
 * `ReadableStream` out.
 *
 * Order and bounds:
 * - Items stay bytes until they are read, and are decoded one at a time, when
 *   the local reader asks. Credit is given back for items that were read.
 * - The stream ends once. Items that had arrived before the producer ended or
 *   failed are still read; an abort, or the end of the call, ends it at once.
 * - The bytes of an item belong to its reader.
 *
 * @module
 */

import { protocolError, RpcError, toSendableError } from "../base/errors.ts";
import { LARGE, type LargeRead } from "../base/large_reads.ts";
import { toInspectable } from "../base/user_code.ts";
import type { StreamFailure } from "../wire/codec.ts";
import type { PayloadView } from "../wire/values/payload.ts";
import { BYTES, CHARGE_BESIDE, MAX_DATA, UNDEFINED } from "../wire/protocol.ts";
import type { ReaderView } from "./contract.ts";
import { StreamWindow } from "./flow_control.ts";
import { ItemBuffer } from "./item_buffer.ts";
import type { StreamOwner } from "./stream_host.ts";

/**
 * - `open`: items may arrive.
 * - `ended`: the producer has ended it; the reader reads what had arrived.
 * - `stopped`: the reader wants no more; the producer has not ended it yet.
 * - `over`
 */
type StreamReaderState = "open" | "ended" | "stopped" | "over";

/** One incoming stream. */
export class StreamReader implements ReaderView {
  readonly readable: ReadableStream<unknown>;
  /** Items that have arrived. */
  items = 0;
  /** Whether the producer has not sent END: true also after the reader or the call gave it up. */
  live = true;
  /** Why it failed; undefined if it ended in order, or its reader cancelled it. */
  failure: { readonly error: unknown } | undefined;
  readonly #owner: StreamOwner;
  readonly #window: StreamWindow;
  readonly #buffer = new ItemBuffer();
  #state: StreamReaderState = "open";
  #controller!: ReadableStreamDefaultController<unknown>;
  /** Items in the buffer. */
  #buffered = 0;
  /** The kind of the item whose parts are arriving; -1 between items. */
  #partKind = -1;
  /** Whether the local reader waits for an item. */
  #pulled = false;
  /** Whether it has waited since credit was granted last. */
  #drained = false;
  /** Made for the first large item. */
  #large: LargeRead | undefined;

  /** @param counts Whether its items count against the connection's credit from the start. */
  constructor(owner: StreamOwner, counts: boolean) {
    const { context, receiveCredit } = owner.host;
    const { streamCredit } = context.limits;
    this.#owner = owner;
    this.#window = new StreamWindow(streamCredit, receiveCredit, counts);
    this.readable = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#deliver(),
      cancel: (reason) => void this.#giveUp({ reason }),
    }, { highWaterMark: 0 });
  }

  /** What waits to be read, in bytes as the window counts them. */
  get held(): number {
    return this.#window.held;
  }

  /** What the producer may still send, in bytes. */
  get granted(): number {
    return this.#state === "open" ? this.#window.credit : 0;
  }

  /** The local reader gets the stream: from now on its items count against the connection's credit. */
  count(): void {
    this.#window.count();
  }

  // What the producer sends.

  /**
   * Takes an item, or a part of one if `more` follows.
   *
   * @throws {ConnectionError} If the producer had no credit for it, or breaks the rules for parts.
   */
  data(view: PayloadView, more: boolean, owned: boolean): void {
    const open = this.#state === "open";
    const { kind } = view;
    const size = view.end - view.at;
    if (!open && this.#state !== "stopped") {
      return this.#owner.host.receiveCredit.take(size + CHARGE_BESIDE);
    }
    if (size > MAX_DATA) refuse(`DATA with a payload of ${size} bytes`);
    const first = this.#partKind < 0;
    // The parts of an item are joined: only the first takes more than its bytes.
    const kept = first ? size + CHARGE_BESIDE : size;
    this.#window.take(size + CHARGE_BESIDE, open ? kept : 0);
    if (!first && kind !== this.#partKind) {
      refuse("an item of two payload kinds");
    }
    if (more && (kind === BYTES || kind === UNDEFINED)) {
      refuse(`a part of an item of payload kind ${kind}`);
    }
    if (more && size === 0) refuse("an empty part that is not the last");
    this.#partKind = more ? kind : -1;
    if (!open) return;
    this.#buffer.push(view, more, owned);
    if (!more) {
      this.items++;
      this.#buffered++;
      if (this.#pulled) this.#deliver();
    } else if (this.#pulled) this.#extendForItem();
  }

  /** The producer has ended the stream, in order or with a failure. */
  end(failure?: { readonly error: unknown }): void {
    this.live = false;
    if (this.#state === "stopped") this.#close();
    if (this.#state !== "open") return;
    if (this.#partKind >= 0) {
      if (failure === undefined) refuse("END inside an item");
      // An item that is cut off is not delivered.
      this.#window.drop(this.#buffer.abandon() + CHARGE_BESIDE);
    }
    this.failure = failure;
    this.#finish();
  }

  // What else ends it.

  /** Ends the stream because the connection closes: the reader finds the end behind what has arrived, and the producer receives STOP. */
  finish(reason: unknown): void {
    if (this.#state !== "open") return;
    this.#sendStop(reason);
    this.#finish();
  }

  /** Fails the reader at once because the call was given up. What still arrives is discarded until the producer ends the stream. */
  abort(reason: unknown): void {
    if (this.#giveUp()) this.#fail(reason);
  }

  /** Fails the reader because nothing arrives any more. A stream that its producer has ended is still read to its end. */
  onConnectionLost(reason: unknown): void {
    const open = this.#state === "open";
    if (!open && this.#state !== "stopped") return;
    this.#close();
    if (open) this.#fail(reason);
  }

  /** The call is over, and its window with it; the reader can still read what is left. */
  onCallClosed(): void {
    if (this.#window.held > 0) unread.register(this.readable, this.#window);
    this.#window.close();
  }

  // What the local reader does.

  /** Gives the reader an item, now or when there is one. */
  #deliver(): void {
    this.#pulled = true;
    if (this.#buffered > 0) {
      if (this.#mayDecode()) this.#decode();
    } else if (this.#state === "open") {
      this.#drained = true;
      if (this.#partKind >= 0) this.#extendForItem();
    } else if (this.#state === "ended") {
      this.#close();
      const { failure } = this;
      if (failure === undefined) this.#controller.close();
      else this.#controller.error(failure.error);
    }
  }

  /** Whether the next item may be decoded now; if not, `#deliver` runs when it may. */
  #mayDecode(): boolean {
    const size = this.#buffer.nextSize;
    if (size < LARGE) return true;
    this.#large ??= this.#owner.host.context.largeReads?.reader(() => {
      if (this.#pulled) this.#deliver();
    });
    return this.#large === undefined || this.#large.ask(size);
  }

  #decode(): void {
    this.#pulled = false;
    this.#buffered--;
    const view = this.#buffer.take();
    const { caller, host } = this.#owner;
    let item: unknown;
    try {
      item = host.frames.decode(view, view.owned);
    } catch (cause) {
      const code = caller ? "invalid_reply" : "invalid_argument";
      const text = `an item of the ${caller ? "result" : "params"}`;
      this.fault(new RpcError(code, `${text} does not parse`, { cause }));
      return;
    }
    // Decoding may run the user's code, which may have ended the stream.
    if (this.#state !== "open" && this.#state !== "ended") return;
    const charge = view.end - view.at + CHARGE_BESIDE;
    if (this.#state === "open") {
      this.#grant(this.#window.read(charge, this.#drained));
    } else this.#window.drop(charge);
    this.#controller.enqueue(item);
  }

  /** The reader waits for the rest of an item: the window must have room for all of it. */
  #extendForItem(): void {
    const grant = this.#window.extendForItem();
    // The little that may still be granted is no use to a producer that needs more.
    const { maxItem } = this.#owner.host.receiveCredit;
    const fits = this.#buffer.unfinished <= maxItem && !this.#window.exhausted;
    if (fits) return this.#grant(grant);
    const text = "an item of the stream is larger than its reader can take";
    this.fault(new RpcError("resource_exhausted", text));
  }

  #grant(bytes: number): void {
    if (bytes === 0) return;
    this.#drained = false;
    this.#owner.host.frames.credit(this.#owner, bytes);
  }

  // Ending.

  #sendStop(reason: unknown): void {
    const { code, message } = toSendableError(reason) ?? CANCELLED;
    this.#owner.host.frames.stop(this.#owner, code, message);
  }

  /** The producer's part is over: what has arrived is left to be read. */
  #finish(): void {
    this.#state = "ended";
    if (this.#pulled) this.#deliver();
  }

  /** Fails the reader with a fault of the stream that this side has found; the producer receives STOP. */
  fault(error: RpcError): void {
    if (this.#giveUp({ reason: error })) {
      this.#fail(this.#owner.annotate(error));
    }
  }

  /** Stops reading, and sends STOP if there is a reason to send; returns false if reading had stopped before. */
  #giveUp(stop?: { readonly reason: unknown }): boolean {
    const open = this.#state === "open";
    if (!open && this.#state !== "ended") return false;
    this.#close();
    if (open) {
      this.#state = "stopped";
      if (stop !== undefined) this.#sendStop(stop.reason);
    }
    return true;
  }

  #fail(error: unknown): void {
    this.failure = { error };
    this.#controller.error(toInspectable(error));
  }

  #close(): void {
    this.#buffer.clear();
    this.#buffered = 0;
    this.#pulled = false;
    this.#large?.end();
    this.#window.drop();
    this.#state = "over";
  }
}

/** Streams that have ended and that nobody has read yet: what they hold is given back when nobody can read them any more. */
const unread = /* @__PURE__ */ new FinalizationRegistry(
  (window: StreamWindow) => window.drop(),
);

/** Ends the connection with a peer that breaks the protocol. */
function refuse(what: string): never {
  protocolError(`the peer sent ${what}`);
}

const CANCELLED: StreamFailure = {
  code: "cancelled",
  message: "the reader has cancelled the stream",
};
