/**
 * Helpers for tests of the frame decoder: sample frames, bytes cut into chunks,
 * and the allocations of a run.
 *
 * @module
 */

import { assertInstanceOf } from "@std/assert";
import { ConnectionError, type Frame } from "../../mod.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { frame, join, KIND } from "./raw_peer.ts";
import { pattern } from "./transports.ts";

/** The result of decoding some chunks. */
export interface Decoded {
  frames: Required<Frame>[];
  headers: number;
  copied: number;
}

/** Cuts bytes at the given offsets, which ascend. Offsets beyond the end do not cut. */
export function chunked(
  bytes: Uint8Array,
  cuts: readonly number[],
): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    const to = Math.min(cut, bytes.length);
    // Each chunk has memory of its own, as with a transport.
    chunks.push(Uint8Array.from(bytes.subarray(from, to)));
    from = to;
  }
  return chunks;
}

/** Decodes all chunks, and the end of the stream. */
export function decodeAll(
  chunks: Iterable<Uint8Array>,
  maxBody = 1024,
): Decoded {
  const frames: Required<Frame>[] = [];
  const decoder = new FrameDecoder({
    frame(kind, flags, id, bytes, start, end) {
      const body = Uint8Array.from(bytes.subarray(start, end));
      frames.push({ kind, flags, id, body });
    },
  }, maxBody);
  for (const chunk of chunks) decoder.push(chunk);
  decoder.end();
  return { frames, ...decoder.counters };
}

/** The error with which decoding ends. */
export function faultOf(
  chunks: Iterable<Uint8Array>,
  maxBody = 1024,
): ConnectionError {
  try {
    decodeAll(chunks, maxBody);
  } catch (error) {
    assertInstanceOf(error, ConnectionError);
    return error;
  }
  throw new Error("the bytes were accepted");
}

/** One frame of each kind that a decoder delivers, some with an empty body. */
export function sampleFrames(): {
  bytes: Uint8Array;
  frames: Required<Frame>[];
  bodyBytes: number;
} {
  const frames: Required<Frame>[] = [
    { kind: KIND.HELLO, flags: 0, id: 0, body: pattern(29) },
    { kind: KIND.REQUEST, flags: 3, id: 0xffffffff, body: pattern(17, 9) },
    { kind: KIND.PING, flags: 0, id: 0x01020304, body: pattern(0) },
    { kind: KIND.REPLY, flags: 2, id: 0, body: pattern(1) },
    { kind: KIND.ERROR, flags: 1, id: 0x80000000, body: pattern(12, 3) },
    { kind: KIND.CANCEL, flags: 0, id: 2, body: pattern(0) },
    { kind: KIND.GOAWAY, flags: 1, id: 5, body: pattern(3) },
    { kind: KIND.LAST, flags: 1, id: 0, body: pattern(0) },
  ];
  const bytes = join(
    ...frames.map(({ kind, id, body, flags }) => frame(kind, id, body, flags)),
  );
  const bodyBytes = frames.reduce((n, { body }) => n + body.length, 0);
  return { bytes, frames, bodyBytes };
}

/** Runs a function, and returns its result with the sizes of the byte arrays that it allocated. */
export function allocations<T>(run: () => T): { result: T; sizes: number[] } {
  const Real = globalThis.Uint8Array;
  const sizes: number[] = [];
  globalThis.Uint8Array = new Proxy(Real, {
    construct(target, args) {
      if (typeof args[0] === "number") sizes.push(args[0]);
      return Reflect.construct(target, args);
    },
  });
  try {
    return { result: run(), sizes };
  } finally {
    globalThis.Uint8Array = Real;
  }
}
