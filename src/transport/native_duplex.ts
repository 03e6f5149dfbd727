/**
 * The duplexes that our own transports hand out: two halves that know nothing
 * of streams, and public streams over them.
 *
 * A chunk through a pair of Web Streams costs several promises and queues a
 * direction, and the pair itself some 8 KiB; so the streams are made when
 * somebody asks for them, and a connection takes the halves instead.
 *
 * Invariants owned here:
 * - The halves are taken once, and only if nobody has asked for a stream: else
 *   chunks might be in it. From then on the streams are locked.
 * - An end or a failure shows on the streams at once, whether or not somebody
 *   reads or writes; what arrived before it is read first.
 *
 * This file is below `duplex.ts`; it imports none of its types.
 *
 * @module
 */

import {
  attachChannel,
  channelOf,
  type OwnChannel,
  type ReadResult,
} from "./duplex.ts";
import type { ReadFailure, ReadHalf } from "./read_half.ts";
import type { WriteHalf } from "./write_half.ts";

/**
 * A duplex over two halves.
 *
 * @param info What else it says of itself.
 */
export function ownDuplex<Info extends object>(
  readHalf: ReadHalf,
  writeHalf: WriteHalf,
  info: Info,
): Info & NativeDuplex {
  const channel = new NativeChannel(readHalf, writeHalf);
  const duplex = {
    __proto__: REFS,
    get readable() {
      return channel.readable;
    },
    get writable() {
      return channel.writable;
    },
    ...info,
  };
  channel.duplex = duplex;
  attachChannel(duplex, channel);
  // The compiler does not know of `__proto__`.
  return duplex as unknown as Info & NativeDuplex;
}

/** What a duplex of ours has, but for what its transport says of itself. */
interface NativeDuplex {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly ref: () => void;
  readonly unref: () => void;
}

/** The prototype of all of them: two functions for each would be held by every connection. */
const REFS = {
  ref(this: object): void {
    setRef(this, true);
  },
  unref(this: object): void {
    setRef(this, false);
  },
};

/** A copy, a proxy or an heir of the duplex has no channel, and does nothing. */
function setRef(duplex: object, on: boolean): void {
  (channelOf(duplex) as NativeChannel | undefined)?.setRef(on);
}

/** Both halves of a duplex of ours; who has taken them uses them instead of the streams. */
class NativeChannel implements OwnChannel {
  /** Every transport of ours has taken the bytes, or a copy, when a write succeeds. */
  readonly borrows = true;
  /** What they are the halves of. */
  duplex: object | undefined = undefined;
  readonly #readHalf: ReadHalf;
  readonly #writeHalf: WriteHalf;
  #readable: ReadableStream<Uint8Array> | undefined;
  #writable: WritableStream<Uint8Array> | undefined;
  #taken = false;

  constructor(readHalf: ReadHalf, writeHalf: WriteHalf) {
    this.#readHalf = readHalf;
    this.#writeHalf = writeHalf;
  }

  get readable(): ReadableStream<Uint8Array> {
    const stream = this.#readable ??= readableOver(this.#readHalf);
    if (this.#taken && !stream.locked) stream.getReader();
    return stream;
  }

  get writable(): WritableStream<Uint8Array> {
    const stream = this.#writable ??= writableOver(this.#writeHalf);
    if (this.#taken && !stream.locked) stream.getWriter();
    return stream;
  }

  /** Whether the halves can be taken: nobody has, nobody has asked for a stream, and writing has not failed. */
  get free(): boolean {
    return !this.#taken && !this.#readable && !this.#writable &&
      !this.#writeHalf.failure;
  }

  /** Takes the halves, if they are free. */
  take(): boolean {
    return this.free && (this.#taken = true);
  }

  read(): Promise<ReadResult> {
    return this.#readHalf.read();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#writeHalf.write(chunks);
  }

  close(): Promise<void> {
    return this.#writeHalf.close().catch(() => {});
  }

  setRef(on: boolean): void {
    this.#writeHalf.setRef(on);
  }

  destroy(reason: unknown): void {
    this.#writeHalf.abort(reason);
    this.#readHalf.cancel();
  }

  watch(failed: (reason: unknown) => void): void {
    this.#writeHalf.watch(failed);
  }
}

function readableOver(readHalf: ReadHalf): ReadableStream<Uint8Array> {
  let pulling = false;
  let over: { failure: ReadFailure | undefined } | undefined;
  // Not while a pull waits, which may have been given a chunk just now. Nor,
  // with a failure, while a chunk that nobody waited for is in the stream's own
  // queue, which the stream would throw away: the next pull will tell of it.
  const settle = (controller: ReadableStreamDefaultController) => {
    if (over === undefined || pulling) return;
    if (over.failure === undefined) controller.close();
    else if (controller.desiredSize === 0) {
      controller.error(over.failure.reason);
    }
  };
  return new ReadableStream<Uint8Array>({
    start: (controller) =>
      readHalf.watch((failure) => {
        over = { failure };
        settle(controller);
      }),
    pull: async (controller) => {
      pulling = true;
      const { done, value } = await readHalf.read();
      pulling = false;
      // After a cancel in between this throws, which nobody hears of.
      if (!done) controller.enqueue(value);
      settle(controller);
    },
    cancel: () => readHalf.cancel(),
  }, { highWaterMark: 0 });
}

function writableOver(writeHalf: WriteHalf): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    start: (controller) => {
      const { signal } = controller;
      // The sink's own `abort` would be called when the write under way has
      // settled, which one towards a stalled peer never does by itself.
      signal.addEventListener("abort", () => writeHalf.abort(signal.reason));
      writeHalf.watch((reason) => {
        // An aborted stream fails by itself. To fail it from here, before it
        // has noted the abort, would make the promise of `abort` reject.
        if (!signal.aborted) controller.error(reason);
      });
    },
    write: (chunk: unknown) => {
      if (chunk instanceof Uint8Array) {
        return chunk.byteLength > 0 ? writeHalf.write([chunk]) : undefined;
      }
      const type = chunk === null ? "null" : typeof chunk;
      const reason = new TypeError(
        `Cannot write: expected a Uint8Array, received ${type}`,
      );
      writeHalf.abort(reason);
      throw reason;
    },
    close: () => writeHalf.close(),
  }, {
    highWaterMark: Math.max(1, writeHalf.highWaterMark),
    // What is no chunk of bytes is refused when its turn comes.
    size: (chunk) => chunk instanceof Uint8Array ? chunk.byteLength : 0,
  });
}
