/**
 * What the benchmarks of streams call.
 *
 * @module
 */

import {
  type CallContext,
  type EchoServices,
  echoServices,
} from "../../mod.ts";
import { Peak } from "../demo/usage.ts";
import { CHUNK } from "../rows.ts";

/** What the memory of a server was at most. */
export interface Most {
  /** Bytes that waited to be read, or might still have come, as they are charged. */
  readonly streams: number;
  /** MB of the process. */
  readonly resident: number;
}

/** The echo services, and some that stream. */
export type StreamServices = EchoServices & {
  readonly Streams: {
    /** Counts the bytes. */
    count(bytes: ReadableStream<Uint8Array>): Promise<number>;
    /** As many chunks. */
    chunks(count: number): AsyncGenerator<Uint8Array>;
    /** Watches the streams of its caller's connection from now on. */
    watch(none: undefined, ctx: CallContext): void;
    most(): Most;
  };
};

/** What a plain socket begins with that wants an answer to each chunk. */
export const ECHO = 1;

/** So many chunks, all the same memory. */
export async function* chunks(count: number): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK).fill(7);
  for (let i = 0; i < count; i++) yield chunk;
}

/** Reads to the end; returns the bytes there were. */
export async function count(
  bytes: ReadableStream<Uint8Array>,
): Promise<number> {
  let size = 0;
  const reader = bytes.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return size;
    size += value.length;
  }
}

/** Milliseconds between two looks. */
const LOOK = 5;

/** Makes them. */
export function streamServices(): StreamServices {
  const peak = new Peak();
  let streams = 0;
  return {
    ...echoServices(),
    Streams: {
      count,
      chunks,
      watch(_, { connection }) {
        const timer = setInterval(() => {
          const { streamHeld, streamGranted } = connection.stats();
          streams = Math.max(streams, streamHeld + streamGranted);
        }, LOOK);
        connection.closed.then(() => clearInterval(timer));
      },
      most: () => ({ streams, resident: peak.megabytes() }),
    },
  };
}
