/**
 * What a connection makes of the bytes that come.
 *
 * Invariants owned here:
 * - Reading never stops while the connection lives, however stalled our own
 *   writes are: replies, cancels and pings always get through. (On a wire
 *   where one end alone calls, it waits while that end's calls are as many as
 *   we hold.)
 * - A protocol fault is told to the peer by GOAWAY, and every answer made
 *   before it still arrives.
 * - The end of the stream means two things: after a GOAWAY the peer still reads
 *   our answers, without one it is lost.
 *
 * @module
 */

import { outside } from "./async_context.ts";
import type { BytePath } from "./byte_path.ts";
import type { Share } from "./buffers.ts";
import type { Clock } from "./clock.ts";
import type { Codec } from "./codec.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Ending } from "./ending.ts";
import { ConnectionError } from "./errors.ts";
import type { Farewell } from "./farewell.ts";
import type { PeerGoaway } from "./goaway.ts";
import type { Pending } from "./pending.ts";
import { type ChunkSink, MESSAGES_PER_TURN, readLoop } from "./read_loop.ts";
import type { Streams } from "./streams/streams.ts";
import type { Tick } from "./tick.ts";
import type { Watchdog } from "./watchdog.ts";

/** What reading needs of its connection. */
export interface ReadingContext {
  readonly path: BytePath;
  readonly clock: Clock;
  readonly codec: Codec;
  readonly pending: Pending;
  readonly dispatch: Dispatch;
  readonly ending: Ending;
  readonly farewell: Farewell;
  readonly peerGoaway: PeerGoaway;
  readonly tick: Tick;
  readonly watchdog: Watchdog;
  /** What the connection holds, as its server counts it. */
  readonly share: Share | undefined;
  /** The connection's streams, made when they are asked for. */
  streams(): Streams;
}

/** Reads one connection. */
export class Reading implements ChunkSink {
  /** Bytes decoded so far. */
  bytes = 0;
  /** Resolves when reading has ended, for whatever reason. */
  readonly done: Promise<void>;
  readonly #context: ReadingContext;
  /** Goes on, where it waits. */
  #resume: (() => void) | undefined;

  /** Starts. */
  constructor(context: ReadingContext) {
    this.#context = context;
    const { path, clock, ending } = context;
    // Whoever opens the connection does so for all calls that come by it.
    this.done = outside(readLoop, path, clock, this).catch((cause) => {
      ending.lose("reading failed", cause);
    });
  }

  /** A chunk has come, of which `at` bytes are decoded; returns how far it came. */
  chunk(chunk: Uint8Array, at: number): number {
    const { codec, pending, ending, tick, watchdog, share } = this.#context;
    if (ending.over) {
      this.#context.farewell.discard(chunk.length);
      return chunk.length;
    }
    try {
      const to = codec.decode(chunk, at, MESSAGES_PER_TURN);
      this.bytes += to - at;
      at = to;
      tick.stale();
      watchdog.heard();
      pending.pump();
      share?.note();
    } catch (error) {
      // The one place where a breach of the rules becomes teardown. Reading
      // goes on, to discard.
      ending.end(toFault(error), "goaway");
    }
    return ending.over ? chunk.length : at;
  }

  /** On a wire without windows: what reading waits for, if the peer's calls are more than we hold. */
  room(): Promise<void> | undefined {
    const { dispatch, ending } = this.#context;
    if (ending.over || !dispatch.full) return undefined;
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** What comes is only discarded from now on. Returns `done`. */
  finish(): Promise<void> {
    this.#resume?.();
    return this.done;
  }

  /** A batch has gone: there may be room. */
  batchHandedOver(): void {
    if (!this.#context.dispatch.full) this.#resume?.();
  }

  /** The peer has sent its FIN: after a GOAWAY it still reads our answers, without one it is lost. */
  end(): void {
    const { codec, pending, dispatch, ending, peerGoaway } = this.#context;
    if (ending.over) return;
    try {
      codec.end();
    } catch (error) {
      ending.end(toFault(error), "goaway");
      return;
    }
    if (codec.features.goaway && peerGoaway.reason === undefined) {
      const text = "the peer ended the connection without a GOAWAY";
      ending.end(new ConnectionError("unavailable", text), "flush");
      return;
    }
    const text = "the peer closed the connection";
    const reason = peerGoaway.reason ??
      new ConnectionError("unavailable", text);
    // Nothing can be answered any more; what we serve still is.
    pending.end(reason);
    dispatch.drain();
    dispatch.halfClosed(reason);
    // Made if there are none yet: a handler that runs may still answer with one.
    this.#context.streams().deafen();
    ending.halfClosed();
  }
}

/** Anything but a ConnectionError would be a mistake of this library's own. */
function toFault(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  return new ConnectionError("internal", "decoding failed", { cause: error });
}
