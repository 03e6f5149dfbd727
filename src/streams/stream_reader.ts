/**
 * The reading end of one stream: frames of the peer's in, a `ReadableStream`
 * out.
 *
 * Invariants owned here:
 * - Items stay bytes until they are read, and are read one at a time: nothing
 *   is decoded, and no credit given back, for a reader that does not ask.
 * - It ends once. What had come before an end or a failure of its producer's
 *   is still read; an abort, or the end of its call, ends it at once.
 * - The bytes of an item are its reader's own.
 *
 * @module
 */

import { ConnectionError, RpcError } from "../base/errors.ts";
import { LARGE, type LargeRead } from "../base/large_reads.ts";
import {
  BYTES,
  CHARGE_BESIDE,
  MAX_DATA,
  MAX_ITEM,
  UNDEFINED,
} from "../wire/protocol.ts";
import { tame } from "../base/user_code.ts";
import { StreamWindow, type WindowBudget } from "./flow_control.ts";
import { ItemBuffer, join } from "./item_buffer.ts";
import type { PayloadView } from "../wire/codec.ts";

/** What an inlet asks of its connection. */
export interface StreamReaderOwner {
  /** Grants the producer `bytes` more. */
  credit(bytes: number): void;
  /** Tells the producer that no more is wanted. */
  stop(reason: unknown): void;
  /** Who says when a large item may be parsed, if somebody does; `again` is called when one that had to wait may be. */
  largeRead(again: () => void): LargeRead | undefined;
  /** The item in a frame. Throws if it does not parse. */
  open(view: PayloadView, owned: boolean): unknown;
  /** What a reader is told whose item does not parse. */
  unreadable(cause: unknown): RpcError;
  /** Names the call in what its reader is told. */
  blame(error: RpcError): RpcError;
}

/**
 * Where a stream is for its reader: `open`; `ended` by its producer, while what
 * came before is read; `stopped` by its reader, until the producer has ended
 * it; `over`.
 */
type StreamReaderState = "open" | "ended" | "stopped" | "over";

/** One stream that comes in. */
export class StreamReader {
  readonly readable: ReadableStream<unknown>;
  readonly #owner: StreamReaderOwner;
  readonly #window: StreamWindow;
  readonly #store = new ItemBuffer();
  #state: StreamReaderState = "open";
  #output!: ReadableStreamDefaultController<unknown>;
  /** Items that have come. */
  items = 0;
  /** Whether its producer has not said its END: also of one that its reader, or its own end, has given up. */
  live = true;
  /** Those of them that wait to be read. */
  #items = 0;
  /** The kind of the item whose frames are coming; -1 between items. */
  #unfinished = -1;
  /** A read waits. */
  #wanted = false;
  /** One has waited since credit was granted last. */
  #drained = false;
  #settled = false;
  /** Made for the first large item. */
  #large: LargeRead | undefined;
  /** What it failed with. */
  #failure: { readonly error: unknown } | undefined;

  constructor(owner: StreamReaderOwner, credit: number, budget: WindowBudget) {
    this.#owner = owner;
    this.#window = new StreamWindow(
      credit,
      budget,
      () => this.#extendForItem(),
    );
    this.readable = new ReadableStream({
      start: (controller) => void (this.#output = controller),
      pull: () => this.#deliver(),
      cancel: (reason) => this.#cancel(reason),
    }, { highWaterMark: 0 });
  }

  /** What waits to be read, in bytes as they are charged. */
  get held(): number {
    return this.#window.held;
  }

  /** What its producer may still send, while it is open. */
  get granted(): number {
    return this.#state === "open" ? this.#window.credit : 0;
  }

  /** What its reader fails with; undefined if it ended in order, or its reader wanted no more. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  // What its producer says.

  /**
   * A frame of an item.
   *
   * @throws {ConnectionError} If it is more than was granted, or breaks an item.
   */
  data(view: PayloadView, more: boolean, owned: boolean): void {
    switch (this.#state) {
      case "open":
      case "stopped":
        break;
      case "ended":
      case "over":
        return;
    }
    const length = view.end - view.at;
    if (length > MAX_DATA) fault(`a DATA payload of ${length} bytes`);
    const stopped = this.#state === "stopped";
    // The parts of an item are joined as they come: only the first takes more than its bytes.
    const beside = this.#unfinished < 0 ? CHARGE_BESIDE : 0;
    this.#window.take(length + CHARGE_BESIDE, stopped ? 0 : length + beside);
    this.#follow(view.kind, more, length);
    if (stopped) return;
    this.#store.push(view, more, owned);
    if (more) {
      if (this.#wanted) this.#extendForItem();
      return;
    }
    this.items++;
    this.#items++;
    if (this.#wanted) this.#deliver();
  }

  /** The producer has ended it, in order or by a failure. */
  end(failure?: { readonly error: unknown }): void {
    this.live = false;
    switch (this.#state) {
      case "open":
        if (this.#unfinished >= 0 && failure === undefined) {
          fault("END inside an item");
        }
        // An item that is cut off is not delivered.
        if (this.#unfinished >= 0) {
          this.#window.drop(this.#store.abandon() + CHARGE_BESIDE);
        }
        this.#failure = failure;
        this.#state = "ended";
        if (this.#wanted) this.#deliver();
        return;
      case "stopped":
        this.#close();
        return;
      case "ended":
      case "over":
        return;
    }
  }

  // What ends it otherwise.

  /** Its own end closes: its reader finds the end behind what has come, and the producer is told to stop. */
  finish(reason: unknown): void {
    if (this.#state !== "open") return;
    this.#state = "ended";
    this.#owner.stop(reason);
    if (this.#wanted) this.#deliver();
  }

  /** Its call is given up: its reader fails at once, and what still comes is discarded until the producer has ended it. */
  abort(reason: unknown): void {
    switch (this.#state) {
      case "open":
        this.#discard();
        this.#state = "stopped";
        this.#error(reason);
        return;
      case "ended":
        this.#close();
        this.#error(reason);
        return;
      case "stopped":
      case "over":
        return;
    }
  }

  /** Its call is over, or its connection: nothing comes any more. One whose producer has ended it is read to its end all the same. */
  onConnectionLost(reason: unknown): void {
    switch (this.#state) {
      case "open":
        this.#close();
        this.#error(reason);
        return;
      case "stopped":
        this.#close();
        return;
      case "ended":
      case "over":
        return;
    }
  }

  /** Its call has given its place back, and the window goes with it: what is left to be read is its reader's. */
  settle(): void {
    this.#settled = true;
    this.#window.close();
  }

  // What its reader does.

  #cancel(reason: unknown): void {
    switch (this.#state) {
      case "open":
        this.#discard();
        this.#state = "stopped";
        this.#owner.stop(reason);
        return;
      case "ended":
        this.#close();
        return;
      case "stopped":
      case "over":
        return;
    }
  }

  /** Frames of an item are of one kind; only a kind that has to arrive whole is cut. */
  #follow(kind: number, more: boolean, length: number): void {
    if (this.#unfinished >= 0 && kind !== this.#unfinished) {
      fault("an item of two payload kinds");
    }
    if (more && (kind === BYTES || kind === UNDEFINED)) {
      fault(`MORE on payload kind ${kind}`);
    }
    if (more && length === 0) fault("an empty part that is not the last");
    this.#unfinished = more ? kind : -1;
  }

  /** Hands the reader an item, now or when there is one. */
  #deliver(): void {
    this.#wanted = false;
    if (this.#items > 0) {
      if (this.#mayRead()) this.#read();
      else this.#wanted = true;
      return;
    }
    switch (this.#state) {
      case "open":
        this.#wanted = this.#drained = true;
        if (this.#unfinished >= 0) this.#extendForItem();
        return;
      case "ended":
        this.#close();
        if (this.#failure === undefined) this.#output.close();
        else this.#output.error(this.#failure.error);
        return;
      case "stopped":
      case "over":
        return;
    }
  }

  /** Whether the next item may be parsed now; `#deliver` is called again when it may. */
  #mayRead(): boolean {
    const size = this.#store.nextSize;
    if (size < LARGE) return true;
    this.#large ??= this.#owner.largeRead(() => {
      if (this.#wanted) this.#deliver();
    });
    return this.#large === undefined || this.#large.ask(size);
  }

  #read(): void {
    this.#items--;
    let charge = 0;
    let item: unknown;
    try {
      const whole = this.#assemble();
      charge = whole.charge;
      item = this.#owner.open(whole, whole.owned);
    } catch (cause) {
      this.#refuse(this.#owner.unreadable(cause));
      return;
    }
    this.#store.forget();
    this.#consumed(charge);
    this.#output.enqueue(item);
  }

  /** Frames were read: a producer that may go on is granted as much again. */
  #consumed(charge: number): void {
    if (this.#state === "open" && !this.#settled) {
      this.#grant(this.#window.read(charge, this.#drained));
    } else this.#window.drop(charge);
  }

  /** The next item, in one piece. */
  #assemble(): PayloadView & { owned: boolean; charge: number } {
    const { view } = this.#store;
    const parts: Uint8Array[] = [];
    let size = 0;
    do {
      this.#store.take();
      const { bytes, at, end, more } = view;
      size += end - at;
      if (!more && parts.length === 0) {
        const { kind, owned } = view;
        return { kind, bytes, at, end, owned, charge: size + CHARGE_BESIDE };
      }
      // Small ones share a block, which stays as it is until the next comes.
      parts.push(bytes.subarray(at, end));
    } while (view.more);
    const bytes = join(parts, size);
    const charge = size + CHARGE_BESIDE;
    return { kind: view.kind, bytes, at: 0, end: size, owned: true, charge };
  }

  /** A reader waits for the rest of an item: there must be room for all of it. */
  #extendForItem(): void {
    const waits = this.#wanted && this.#unfinished >= 0;
    if (this.#state !== "open" || !waits) return this.#window.stopWaiting();
    const grant = this.#window.extendForItem();
    // What little could be granted still is no use to a producer that needs more.
    const fits = this.#store.unfinished <= MAX_ITEM && !this.#window.exhausted;
    if (fits) return this.#grant(grant);
    const text = "an item of the stream is larger than its reader can take";
    this.#refuse(new RpcError("resource_exhausted", text));
  }

  #grant(bytes: number): void {
    if (bytes === 0) return;
    this.#drained = false;
    this.#owner.credit(bytes);
  }

  // Ending.

  /** This end cannot read it any further. */
  #refuse(error: RpcError): void {
    switch (this.#state) {
      case "open":
        this.#discard();
        this.#state = "stopped";
        this.#owner.stop(error);
        break;
      case "ended":
        this.#close();
        break;
      case "stopped":
      case "over":
        return;
    }
    this.#error(this.#owner.blame(error));
  }

  /** Fails its reader. */
  #error(reason: unknown): void {
    this.#failure = { error: reason };
    this.#output.error(tame(reason));
  }

  #discard(): void {
    this.#store.clear();
    this.#items = 0;
    this.#wanted = false;
    this.#large?.end();
    this.#window.discard();
  }

  #close(): void {
    this.#discard();
    this.#state = "over";
  }
}

function fault(message: string): never {
  throw new ConnectionError("protocol_error", message);
}
