/**
 * What a connection makes of the bytes that come.
 *
 * Invariants owned here:
 * - Reading never stops while the connection lives, however stalled our own
 *   writes are: replies, cancels and pings always get through. (It may wait for
 *   its turn to read a large message, which comes whatever this connection
 *   does; and on a wire where one end alone calls, while that end's calls are
 *   as many as we hold.)
 * - A protocol fault is told to the peer by GOAWAY, and every answer made
 *   before it still arrives.
 * - The end of the stream means two things: after a GOAWAY without a code the
 *   peer still reads our answers; without a GOAWAY, or after one with a code,
 *   nobody does.
 *
 * @module
 */

import type { MemoryShare, ServeSide, Watchdog } from "./contract.ts";
import { outside } from "../base/async_context.ts";
import { toChunk } from "../base/bytes.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { Clock, Tick } from "../base/clock.ts";
import type { Codec } from "../wire/codec.ts";
import type { PeerGoaway, Shutdown } from "./shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import type { Linger } from "./linger.ts";
import type { LargeRead, LargeReads } from "../base/large_reads.ts";
import type { PendingCalls } from "../call/pending_calls.ts";

import { isA } from "../base/user_code.ts";

/** What reading needs of its connection. */
export interface ReaderContext {
  readonly channel: ByteChannel;
  readonly clock: Clock;
  readonly codec: Codec;
  readonly pending: PendingCalls;
  readonly serveSide: ServeSide;
  readonly shutdown: Shutdown;
  readonly linger: Linger;
  readonly peerGoaway: PeerGoaway;
  readonly tick: Tick;
  readonly watchdog: Watchdog;
  /** What the connection holds, as its server counts it. */
  readonly share: MemoryShare | undefined;
  /** The large messages of all connections, at a server. */
  readonly largeReads: LargeReads | undefined;
}

/** Reads one connection. */
export class Reader implements ChunkHandler {
  /** Bytes decoded so far. */
  bytes = 0;
  /** Resolves when reading has ended, for whatever reason. */
  readonly done: Promise<void>;
  readonly #context: ReaderContext;
  readonly #large: LargeRead | undefined;
  /** Goes on, where it waits. */
  #resume: (() => void) | undefined;

  /** Starts. */
  constructor(context: ReaderContext) {
    this.#context = context;
    const { channel, clock, shutdown, largeReads } = context;
    this.#large = largeReads?.reader(() => this.#resume?.());
    // Whoever opens the connection does so for all calls that come by it.
    this.done = outside(readLoop, channel, clock, this).catch((cause) => {
      // A transport that yields no bytes is a mistake of its user's.
      if (isA(cause, ConnectionError) && cause.code === BAD_CHUNK) {
        shutdown.end(cause, "destroy");
      } else shutdown.onConnectionLost("reading failed", cause);
    });
  }

  /** A chunk has come, of which `at` bytes are decoded; returns how far it came. */
  chunk(chunk: Uint8Array, at: number): number {
    const { codec, pending, shutdown, tick, watchdog, share } = this.#context;
    if (shutdown.over) {
      this.#context.linger.discard(chunk.length);
      return chunk.length;
    }
    try {
      const to = codec.decode(chunk, at, MESSAGES_PER_TURN);
      this.bytes += to - at;
      at = to;
      tick.stale();
      watchdog.heard();
      pending.queue.flushQueue();
      share?.recordProgress();
    } catch (error) {
      // The one place where a breach of the rules becomes teardown. Reading
      // goes on, to discard.
      shutdown.end(toFault(error), "goaway");
    }
    return shutdown.over ? chunk.length : at;
  }

  /** Whether a large message may be read now. */
  mayRead(bytes: number): boolean {
    return this.#large === undefined || this.#large.ask(bytes);
  }

  /** What reading waits for: its turn to read a large message, or on a wire without windows for room, if the peer's calls are more than we hold. */
  room(): Promise<void> | undefined {
    const { serveSide, shutdown } = this.#context;
    const waits = this.#large?.waiting || serveSide.full;
    if (shutdown.over || !waits) return undefined;
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** What comes is only discarded from now on. Returns `done`. */
  finish(): Promise<void> {
    this.#large?.end();
    this.#resume?.();
    return this.done;
  }

  /** A batch has gone: there may be room. */
  onFlush(): void {
    if (!this.#context.serveSide.full) this.#resume?.();
  }

  /** The peer has sent its FIN. */
  end(): void {
    const { codec, shutdown, peerGoaway } = this.#context;
    if (shutdown.over) return;
    try {
      codec.end();
    } catch (error) {
      shutdown.end(toFault(error), "goaway");
      return;
    }
    if (codec.features.goaway && peerGoaway.reason === undefined) {
      const text = "the peer ended the connection without a GOAWAY";
      shutdown.end(new ConnectionError("unavailable", text), "flush");
      return;
    }
    const { fault, reason } = peerGoaway;
    if (fault !== undefined) return shutdown.end(fault, "flush");
    const text = "the peer closed the connection";
    shutdown.halfClose(reason ?? new ConnectionError("unavailable", text));
  }
}

/** The code of what `toChunk` throws, and no transport of ours. */
const BAD_CHUNK = "invalid_argument";

/** Anything but a ConnectionError would be a mistake of this library's own. */
function toFault(error: unknown): ConnectionError {
  if (isA(error, ConnectionError)) return error;
  return new ConnectionError("internal", "decoding failed", { cause: error });
}

/** Messages decoded before the event loop gets a turn. */
export const MESSAGES_PER_TURN = 4096;

/** Chunks read before it gets one: a transport without a socket may never turn it by itself. */
const CHUNKS_PER_TURN = 8;

/** Takes what is read. */
export interface ChunkHandler {
  /** Takes `chunk` from `at`; returns how far it came, less than its length to be called again after a turn. */
  chunk(chunk: Uint8Array, at: number): number;
  /** The stream has ended. */
  end(): void;
  /** What to wait for before the rest of a chunk is taken; undefined for a turn of the event loop. */
  room(): Promise<void> | undefined;
}

/** Reads until the end. What the stream or the sink throws rejects. */
export async function readLoop(
  channel: Pick<ByteChannel, "read">,
  clock: Clock,
  sink: ChunkHandler,
): Promise<void> {
  for (let chunks = 1;; chunks++) {
    const { done, value } = await channel.read();
    if (done) return sink.end();
    // Whatever the transport is: here all of them pass.
    const chunk = toChunk(value);
    let at = sink.chunk(chunk, 0);
    while (at < chunk.length) {
      await (sink.room() ?? clock.turn());
      at = sink.chunk(chunk, at);
    }
    if (chunks % CHUNKS_PER_TURN === 0) await clock.turn();
  }
}
