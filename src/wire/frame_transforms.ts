/**
 * The frame codec as Web Streams: whole frames in, bytes out, and back.
 *
 * Invariant owned here: what a user gets is the user's own; a frame's body
 * never shares memory with a transport's chunk.
 *
 * @module
 */

import { checkStreamPair } from "../base/inspect.ts";
import type { Duplex } from "../types/duplex.ts";
import { HEADER_SIZE, HELLO, writeHeader } from "./frame.ts";
import { checkHelloBits, FrameDecoder } from "./frame_decoder.ts";
import { copyBytes, toChunk } from "../base/bytes.ts";

/** One frame: what its header says, and its body. */
export interface Frame {
  /** What it is; see `docs/protocol.md`. */
  kind: number;
  /** Bits whose meaning depends on the kind; 0 unless given. */
  flags?: number | undefined;
  /** The call it belongs to; 0 unless given. */
  id?: number | undefined;
  /** Its content; empty unless given. */
  body?: Uint8Array | undefined;
}

/** Options of {@linkcode FrameDecoderStream} and {@linkcode framed}. */
export interface FrameDecoderOptions {
  /** The largest body accepted, in bytes; 4 MiB unless given. */
  maxBody?: number | undefined;
}

/** The default of {@linkcode FrameDecoderOptions.maxBody}: 4 MiB. */
const DEFAULT_MAX_BODY = 4 * 1024 * 1024;
/** The most a frame's length field can say. */
const MOST_BODY = 0xffffffff;

/**
 * A TransformStream from frames to bytes: one chunk a frame.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrameEncoderStream } from "@sluice/rpc";
 *
 * const bytes = ReadableStream.from([{ kind: 6, id: 1 }]).pipeThrough(new FrameEncoderStream());
 * for await (const chunk of bytes) {
 *   assertEquals(chunk, new Uint8Array([0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1]));
 * }
 * ```
 */
export class FrameEncoderStream extends TransformStream<Frame, Uint8Array> {
  /** Makes one; it has no options. */
  constructor() {
    super({
      transform(frame, controller) {
        controller.enqueue(encodeFrame(frame));
      },
    });
  }
}

/**
 * A TransformStream from bytes, however cut, to whole frames.
 *
 * It errors with a {@linkcode ConnectionError}: `frame_too_large`,
 * `protocol_error`, or `truncated` if the bytes end inside a frame.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrameDecoderStream, FrameEncoderStream } from "@sluice/rpc";
 *
 * const frames = ReadableStream.from([{ kind: 6, id: 1 }])
 *   .pipeThrough(new FrameEncoderStream())
 *   .pipeThrough(new FrameDecoderStream({ maxBody: 1024 }));
 * for await (const frame of frames) assertEquals(frame.id, 1);
 * ```
 */
export class FrameDecoderStream
  extends TransformStream<Uint8Array, Required<Frame>> {
  /**
   * Makes one, with a limit on the body.
   *
   * @throws {RangeError} If the limit is not a whole number from 0 to 2^32 - 1.
   */
  constructor(options: FrameDecoderOptions = {}) {
    const { maxBody = DEFAULT_MAX_BODY } = options;
    // A NaN would be no limit at all.
    if (!Number.isInteger(maxBody) || maxBody < 0 || maxBody > MOST_BODY) {
      throw new RangeError(
        `Cannot use maxBody: a whole number from 0 to ${MOST_BODY}, received ${maxBody}`,
      );
    }
    let decoder: FrameDecoder;
    super({
      start(controller) {
        decoder = new FrameDecoder({
          frame(kind, flags, id, bytes, start, end) {
            if (kind === HELLO) checkHelloBits(flags);
            const body = copyBytes(bytes, start, end);
            controller.enqueue({ kind, flags, id, body });
          },
        }, maxBody);
      },
      transform(chunk) {
        decoder.push(toChunk(chunk));
      },
      flush() {
        decoder.end();
      },
    });
  }
}

/** A duplex of whole frames; made by {@linkcode framed}. */
export interface FramedDuplex {
  /** The peer's frames. */
  readonly readable: ReadableStream<Required<Frame>>;
  /** Takes frames for the peer. */
  readonly writable: WritableStream<Frame>;
}

/**
 * Turns a duplex of bytes into a duplex of frames: for tools that speak the
 * wire without the client and server, such as a proxy or a conformance test.
 *
 * Closing, aborting and cancelling pass through to the duplex underneath.
 *
 * @throws {TypeError} If it is no duplex, or one of its streams is locked.
 * @throws {RangeError} If `maxBody` is not a whole number from 0 to 2^32 - 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { framed, memoryPair } from "@sluice/rpc";
 *
 * const [a, b] = memoryPair();
 * const writer = framed(a).writable.getWriter();
 * await writer.write({ kind: 6, id: 7 });
 * const { value } = await framed(b).readable.getReader().read();
 * assertEquals(value?.id, 7);
 * await writer.close();
 * ```
 */
export function framed(
  duplex: Duplex,
  options: FrameDecoderOptions = {},
): FramedDuplex {
  checkStreamPair(duplex);
  const { readable, writable } = duplex;
  const decoder = new FrameDecoderStream(options);
  const encoder = new FrameEncoderStream();
  // What ends the pipe ends both its streams, which is how the user sees it.
  encoder.readable.pipeTo(writable).catch(() => {});
  return {
    readable: readable.pipeThrough(decoder),
    writable: encoder.writable,
  };
}

/** The bytes of one frame. */
function encodeFrame(frame: Frame): Uint8Array {
  const { kind, flags = 0, id = 0, body } = frame;
  const length = body?.length ?? 0;
  const bytes = new Uint8Array(HEADER_SIZE + length);
  writeHeader(bytes, 0, length, kind, flags, id);
  if (body !== undefined) bytes.set(body, HEADER_SIZE);
  return bytes;
}
