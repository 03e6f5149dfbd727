/**
 * Reads what arrives on a connection.
 *
 * - Reading never stops while the connection lives, however stalled the local
 *   writes are: replies, CANCELs and PINGs always get through. (It may wait
 *   until a large message may be read, which does not depend on this
 *   connection; and on a protocol where only one side calls, while that side's
 *   calls fill the window.)
 * - The peer receives a GOAWAY for a protocol fault, after every reply that was
 *   made before the fault.
 * - The end of the stream means two things: after a GOAWAY without a code the
 *   peer still reads replies; without a GOAWAY, or after one with a code, it
 *   does not. A LAST with ALL is such an end, too; what follows it is discarded.
 *
 * @module
 */

import { outside } from "../base/async_context.ts";
import { toChunk } from "../base/bytes.ts";
import type { Clock, Tick } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import type { LargeRead, LargeReads } from "../base/large_reads.ts";
import { isInstanceOf } from "../base/user_code.ts";
import type { Codec } from "../wire/codec.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { PendingCalls } from "../call/pending_calls.ts";
import type { IncomingCalls, MemoryShare, Watchdog } from "./contract.ts";
import type { Linger } from "./linger.ts";
import type { PeerGoaway, Shutdown } from "./shutdown.ts";

/** What reading needs of its connection. */
export interface ReaderContext {
  readonly channel: ByteChannel;
  readonly clock: Clock;
  readonly codec: Codec;
  readonly pending: PendingCalls;
  readonly incoming: IncomingCalls;
  readonly shutdown: Shutdown;
  readonly linger: Linger;
  readonly peerGoaway: PeerGoaway;
  readonly tick: Tick;
  readonly watchdog: Watchdog | undefined;
  readonly share: MemoryShare | undefined;
  readonly largeReads: LargeReads | undefined;
}

/** Reads one connection. */
export class Reader implements ChunkHandler {
  /** Bytes decoded so far. */
  bytes = 0;
  readonly #context: ReaderContext;
  /** Resolves when reading has ended, for whatever reason. */
  readonly #done: Promise<void>;
  /** Decides when a large message may be read, on a server. */
  readonly large: LargeRead | undefined;
  /** Ends the wait for `room`. */
  #resume: (() => void) | undefined;

  /** Starts reading. */
  constructor(context: ReaderContext) {
    this.#context = context;
    const { channel, clock, shutdown, largeReads } = context;
    this.large = largeReads?.reader(() => this.#resume?.());
    // Outside the caller's async context, which is not that of the calls that arrive.
    this.#done = outside(readLoop, channel, clock, this).catch((cause) => {
      // A transport that yields something other than bytes is a mistake of its user.
      if (isInstanceOf(cause, ConnectionError) && cause.code === BAD_CHUNK) {
        shutdown.end(cause, "destroy");
      } else shutdown.onConnectionLost("reading failed", cause);
    });
  }

  /** Decodes `chunk` from `at`; returns where it stopped. */
  chunk(chunk: Uint8Array, at: number): number {
    const { codec, pending, shutdown, tick, watchdog, share } = this.#context;
    if (shutdown.ended) {
      this.#context.linger.discard(chunk.length);
      return chunk.length;
    }
    try {
      const to = codec.decode(chunk, at, MESSAGES_PER_TURN);
      this.bytes += to - at;
      at = to;
      tick.stale();
      watchdog?.onRead();
      pending.queue.flushQueue();
      share?.recordProgress();
    } catch (error) {
      // The one place where a protocol fault becomes teardown. Reading goes on,
      // to discard.
      shutdown.end(toFault(error), "goaway");
    }
    return shutdown.ended ? chunk.length : at;
  }

  /** What reading waits for: until a large message may be read or, on a protocol without windows, until the peer's calls do not fill the window. */
  room(): Promise<void> | undefined {
    const { incoming, shutdown } = this.#context;
    const waits = this.large?.waiting || incoming.receiveWindow.full;
    if (shutdown.ended || !waits) return undefined;
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** Discards what arrives from now on. Resolves when reading has ended. */
  finish(): Promise<void> {
    this.large?.end();
    this.#resume?.();
    return this.#done;
  }

  /** A batch was handed to the transport: there may be room. */
  onFlush(): void {
    if (!this.#context.incoming.receiveWindow.full) this.#resume?.();
  }

  /** The peer has sent its FIN, or a LAST with ALL in its place. */
  end(): void {
    const { codec, shutdown, peerGoaway } = this.#context;
    if (shutdown.ended) return;
    try {
      codec.end();
    } catch (error) {
      return shutdown.end(toFault(error), "goaway");
    }
    const { fault, reason, last } = peerGoaway;
    const unannounced = codec.features.goaway && last === Infinity;
    const text = unannounced
      ? "the peer ended the connection without a GOAWAY"
      : "the peer closed the connection";
    const why = fault ?? reason ?? new ConnectionError("unavailable", text);
    if (unannounced || fault !== undefined) shutdown.end(why, "flush");
    else shutdown.onPeerHalfClose(why);
  }
}

/** The code of what `toChunk` throws, and no transport of this library. */
const BAD_CHUNK = "invalid_argument";

/** Any other error than a `ConnectionError` is a bug of this library. */
function toFault(error: unknown): ConnectionError {
  if (isInstanceOf(error, ConnectionError)) return error;
  return new ConnectionError("internal", "decoding failed", { cause: error });
}

/** Messages decoded before the event loop gets a turn. */
export const MESSAGES_PER_TURN = 4096;

/** Chunks read before it gets one: a transport without a socket may never turn it by itself. */
const CHUNKS_PER_TURN = 8;

/** Takes the chunks that are read. */
export interface ChunkHandler {
  /** Takes `chunk` from `at`; returns where it stopped. If that is before the end, it is called again after a turn. */
  chunk(chunk: Uint8Array, at: number): number;
  /** The stream has ended. */
  end(): void;
  /** What to wait for before the rest of a chunk is taken; undefined for a turn of the event loop. */
  room(): Promise<void> | undefined;
}

/** Reads until the end. Rejects with what the stream or the handler throws. */
async function readLoop(
  channel: Pick<ByteChannel, "read">,
  clock: Clock,
  handler: ChunkHandler,
): Promise<void> {
  for (let chunks = 1;; chunks++) {
    const { done, value } = await channel.read();
    if (done) return handler.end();
    // Every transport's chunks pass here.
    const chunk = toChunk(value);
    let at = handler.chunk(chunk, 0);
    while (at < chunk.length) {
      await (handler.room() ?? clock.turn());
      at = handler.chunk(chunk, at);
    }
    if (chunks % CHUNKS_PER_TURN === 0) await clock.turn();
  }
}
