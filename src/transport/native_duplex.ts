/**
 * The duplexes of this library's own transports: two halves that are no
 * streams, and streams over them.
 *
 * A chunk through a pair of Web Streams costs several promises and a queue in
 * each direction, and the pair itself takes about 8 KiB. So the streams are
 * created when somebody asks for them, and a connection takes the halves.
 *
 * Invariants:
 * - The halves are taken once, and only if nobody has asked for a stream:
 *   otherwise chunks might be in it. From then on the streams are locked.
 * - An end or a failure shows on the streams at once, whether or not somebody
 *   reads or writes. What arrived before it is read first.
 *
 * @module
 */

import { typeName } from "../base/inspect.ts";
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
 * @param info What the transport knows about the connection.
 */
export function nativeDuplex<Info extends object>(
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

interface NativeDuplex {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly ref: () => void;
  readonly unref: () => void;
}

/** The prototype of all of them, so that no connection holds two functions of its own. */
const REFS = {
  ref(this: object): void {
    setRef(this, true);
  },
  unref(this: object): void {
    setRef(this, false);
  },
};

/** Does nothing for a proxy, or for an object that inherits from the duplex: these carry no channel. */
function setRef(duplex: object, on: boolean): void {
  (channelOf(duplex) as NativeChannel | undefined)?.setRef(on);
}

/** Both halves of a duplex. A connection that has taken it uses the halves in place of the streams. */
class NativeChannel implements OwnChannel {
  /** When a write succeeds, every transport of this library has sent or copied the bytes. */
  readonly borrows = true;
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

  get free(): boolean {
    return !this.#taken && !this.#readable && !this.#writable &&
      !this.#writeHalf.failure;
  }

  get opened(): Promise<void> | undefined {
    return this.#writeHalf.opened;
  }

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

  destroy(reason: unknown): void {
    this.#writeHalf.abort(reason);
    this.#readHalf.cancel();
  }

  watch(failed: (reason: unknown) => void): void {
    this.#writeHalf.watch(failed);
  }

  /** Says whether the transport keeps the process alive. */
  setRef(on: boolean): void {
    this.#writeHalf.setRef(on);
  }
}

function readableOver(readHalf: ReadHalf): ReadableStream<Uint8Array> {
  let pulling = false;
  let ended: { failure: ReadFailure | undefined } | undefined;
  // Not during a pull, which may just have been given a chunk. And not with a
  // failure while the stream's own queue has a chunk that nobody waited for:
  // the stream would drop it. The next pull reports the failure.
  const settle = (controller: ReadableStreamDefaultController) => {
    if (ended === undefined || pulling) return;
    if (ended.failure === undefined) controller.close();
    else if (controller.desiredSize === 0) {
      controller.error(ended.failure.reason);
    }
  };
  return new ReadableStream<Uint8Array>({
    start: (controller) =>
      readHalf.watch((failure) => {
        ended = { failure };
        settle(controller);
      }),
    pull: async (controller) => {
      pulling = true;
      const { done, value } = await readHalf.read();
      pulling = false;
      // Throws after a cancel in between; the stream ignores that.
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
      // The sink's own `abort` is called only when the current write has
      // settled, and a write to a stalled peer never settles by itself.
      signal.addEventListener("abort", () => writeHalf.abort(signal.reason));
      writeHalf.watch((reason) => {
        // An aborted stream fails by itself. An error from here, before it has
        // noted the abort, would make the promise of `abort` reject.
        if (!signal.aborted) controller.error(reason);
      });
    },
    write: (chunk: unknown) => {
      if (chunk instanceof Uint8Array) {
        return chunk.byteLength > 0 ? writeHalf.write([chunk]) : undefined;
      }
      const reason = new TypeError(
        `Cannot write: expected a Uint8Array, received ${typeName(chunk)}`,
      );
      writeHalf.abort(reason);
      throw reason;
    },
    close: () => writeHalf.close(),
  }, {
    highWaterMark: Math.max(1, writeHalf.highWaterMark),
    // `write` refuses what is no `Uint8Array`.
    size: (chunk) => chunk instanceof Uint8Array ? chunk.byteLength : 0,
  });
}
