/**
 * The services of the stream benchmarks.
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

/** The largest values of memory of a server. */
export interface Most {
  /** Bytes that waited to be read or were granted, as flow control counts them. */
  readonly streams: number;
  /** MB of the process. */
  readonly resident: number;
}

/** The echo services, and some that stream. */
export type StreamServices = EchoServices & {
  readonly Streams: {
    /** Counts the bytes. */
    count(bytes: ReadableStream<Uint8Array>): Promise<number>;
    /** Returns this many chunks. */
    chunks(count: number): AsyncGenerator<Uint8Array>;
    /** Watches the streams of the caller's connection from now on. */
    watch(none: undefined, ctx: CallContext): void;
    most(): Most;
  };
};

/** The first byte of a plain socket that wants a byte for each chunk. */
export const ECHO = 1;

/** A number of chunks, which all share one memory. */
export async function* chunks(count: number): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK).fill(7);
  for (let i = 0; i < count; i++) yield chunk;
}

/** Reads to the end, and returns the number of bytes. */
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

/** Milliseconds between two measurements. */
const LOOK = 5;

/** Makes the services. */
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
