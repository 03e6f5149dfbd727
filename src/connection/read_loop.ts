/**
 * Reads a connection's bytes, in turns.
 *
 * Invariants owned here:
 * - There is one reader, and it reads until the stream ends, so that what the
 *   peer still sends never stops it from hearing us.
 * - The work between two turns of the event loop is bounded, in messages and
 *   in chunks.
 *
 * @module
 */

import type { BytePath } from "../transport/byte_path.ts";
import type { Clock } from "../base/clock.ts";
import { toChunk } from "../transport/chunk.ts";

/** Messages decoded before the event loop gets a turn. */
export const MESSAGES_PER_TURN = 4096;

/** Chunks read before it gets one: a transport without a socket may never turn it by itself. */
const CHUNKS_PER_TURN = 8;

/** Takes what is read. */
export interface ChunkSink {
  /** Takes `chunk` from `at`; returns how far it came, less than its length to be called again after a turn. */
  chunk(chunk: Uint8Array, at: number): number;
  /** The stream has ended. */
  end(): void;
  /** What to wait for before the rest of a chunk is taken; undefined for a turn of the event loop. */
  room(): Promise<void> | undefined;
}

/** Reads until the end. What the stream or the sink throws rejects. */
export async function readLoop(
  path: Pick<BytePath, "read">,
  clock: Clock,
  sink: ChunkSink,
): Promise<void> {
  for (let chunks = 1;; chunks++) {
    const { done, value } = await path.read();
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
