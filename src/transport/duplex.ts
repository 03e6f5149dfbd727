/**
 * How a connection takes over a duplex: the check of what a user passes, and
 * the channel through which its bytes then go.
 *
 * A duplex of this library carries its own channel under a registered symbol,
 * so nothing here imports a transport. Any other duplex is read and written
 * through its two streams.
 *
 * Invariants:
 * - Both streams of a duplex stay locked for the connection's life, whichever
 *   channel is used.
 * - Only the very object that carries a channel is read through it. A copy of
 *   it, a proxy, and an object that inherits from it are read through their
 *   streams, which may have been exchanged.
 *
 * @module
 */

import { shared } from "../base/brand.ts";
import { checkStreamPair } from "../base/inspect.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";

/** The result of a read. (`ReadableStreamReadResult` is no global of Node's types.) */
export type ReadResult = Awaited<
  ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>
>;

/** Both directions of one duplex, without the cost of streams where it can do without. */
export interface ByteChannel {
  /** Whether the writer may use the chunks of a write again once it has succeeded. */
  readonly borrows: boolean;
  /** Resolves when the transport is connected, and rejects if it never will be; undefined if it is. Before that nothing should be written, as nothing is sent. */
  readonly opened?: Promise<void> | undefined;
  /** Reads the next chunk; one read at a time. */
  read(): Promise<ReadResult>;
  /** Writes all chunks, of which there must be at least one. Until it settles they belong to the transport; if the channel does not borrow, for good. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Sends FIN after what was written. Never rejects. */
  close(): Promise<void>;
  /** Ends both directions at once. */
  destroy(reason: unknown): void;
  /** Calls `failed` once nothing more can be written, even if nobody writes. After the peer's FIN no read would report that the peer is gone. */
  watch(failed: (reason: unknown) => void): void;
}

/** A channel that a duplex carries. It can be taken once. */
export interface OwnChannel extends ByteChannel {
  /** The duplex that carries it. */
  readonly duplex: object | undefined;
  /** Whether it can be taken: nobody has taken it or used a stream of the duplex, and writing has not failed. */
  readonly free: boolean;
  /** Takes it, if it is free; then the streams of the duplex are locked. */
  take(): boolean;
}

/** Another copy of the library looks for it, too: see `base/brand.ts`. */
const CHANNEL = /* @__PURE__ */ shared("channel");

/** Lets a duplex carry `channel`, whose `duplex` it must be. */
export function attachChannel(duplex: object, channel: OwnChannel): void {
  // Not enumerable, or a copy of the duplex would have it.
  Object.defineProperty(duplex, CHANNEL, { value: channel });
}

/** The channel that a duplex carries, if any. */
export function channelOf(duplex: object): OwnChannel | undefined {
  const own = Object.getOwnPropertyDescriptor(duplex, CHANNEL);
  const channel = own?.value as OwnChannel | undefined;
  return channel?.duplex === duplex ? channel : undefined;
}

/**
 * Checks that a value is a duplex that a connection can take over.
 *
 * A `Deno.Conn` passes, too, but its streams break the contract; `toDuplex` of
 * `deno_conn.ts` adapts it first.
 *
 * @throws {TypeError} If it is no duplex, one of its streams is locked, or
 *   `writable` has failed.
 */
export function checkDuplex(value: Duplex): Duplex & DuplexInfo {
  const object = typeof value === "object" && value !== null;
  // To look at the streams of such a duplex would create them.
  if (!object || !channelOf(value)?.free) checkStreamPair(value);
  return value;
}

/**
 * Takes a duplex over: from now on its bytes go through the channel.
 *
 * @throws {TypeError} If one of the streams is locked.
 */
export function openChannel(duplex: Duplex): ByteChannel {
  const channel = channelOf(duplex);
  return channel?.take() ? channel : new WebStreamChannel(duplex);
}

/** A reader and a writer of any duplex's streams. */
class WebStreamChannel implements ByteChannel {
  readonly borrows = false;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ readable, writable }: Duplex) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // `read` and `write` report failures; these would report them once more.
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
  }

  read(): Promise<ReadResult> {
    return this.#reader.read();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    const last = chunks.length - 1;
    for (let i = 0; i < last; i++) {
      // The last write reports the failure of all: a stream fails for good.
      this.#writer.write(chunks[i]).catch(ignore);
    }
    return this.#writer.write(chunks[last]);
  }

  close(): Promise<void> {
    return this.#writer.close().catch(ignore);
  }

  destroy(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }

  watch(failed: (reason: unknown) => void): void {
    this.#writer.closed.catch(failed);
  }
}

function ignore(): void {}
