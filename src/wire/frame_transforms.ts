/**
 * The native protocol's frames as Web Streams, for tools that speak it without
 * a client or server.
 *
 * Invariant: the body of a decoded frame is a copy that belongs to the user. It
 * shares no memory with a chunk of the transport.
 *
 * @module
 */

import { copyBytes, toChunk } from "../base/bytes.ts";
import { checkStreamPair } from "../base/inspect.ts";
import type { Duplex } from "../types/duplex.ts";
import { HEADER_SIZE, HELLO, writeHeader } from "./frame.ts";
import { checkHelloBits, FrameDecoder } from "./frame_decoder.ts";

/** One frame: the fields of its header, and its body. */
export interface Frame {
  /** The kind, 0 to 255; `docs/protocol.md` lists them. */
  kind: number;
  /** Flags, whose meaning depends on the kind. Default 0. */
  flags?: number | undefined;
  /** The id of the call that the frame belongs to. Default 0. */
  id?: number | undefined;
  /** The content. Default empty. */
  body?: Uint8Array | undefined;
}

/** Options of {@linkcode FrameDecoderStream} and {@linkcode framed}. */
export interface FrameDecoderOptions {
  /** The largest body that is accepted, in bytes. Default 4 MiB. */
  maxBody?: number | undefined;
}

/** 4 MiB. */
const DEFAULT_MAX_BODY = 4_194_304;

/** The largest value of a frame's length field. */
const LARGEST_BODY = 0xffffffff;

/**
 * Encodes frames: `writable` takes frames, `readable` yields their bytes, one
 * chunk for each frame. For `pipeThrough`, like a `TransformStream`.
 *
 * A write settles when the frame's bytes have been read. Closing, aborting and
 * cancelling pass from one side to the other as in any `TransformStream`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrameEncoderStream } from "@sluice/rpc";
 *
 * const frames = ReadableStream.from([{ kind: 6, id: 1 }]);
 * const bytes = frames.pipeThrough(new FrameEncoderStream());
 * assertEquals(await Array.fromAsync(bytes), [
 *   new Uint8Array([0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1]),
 * ]);
 * ```
 */
export class FrameEncoderStream {
  /** Yields the bytes of each frame. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Takes frames. */
  readonly writable: WritableStream<Frame>;

  /** Creates an encoder; it has no options. */
  constructor() {
    const { readable, writable } = new TransformStream<Frame, Uint8Array>({
      transform(frame, controller) {
        controller.enqueue(encodeFrame(frame));
      },
    });
    this.readable = readable;
    this.writable = writable;
  }
}

/**
 * Decodes frames: `writable` takes bytes in chunks of any size, `readable`
 * yields whole frames. For `pipeThrough`, like a `TransformStream`.
 *
 * Frames that a receiver must skip (padding, and kinds reserved for extensions)
 * are left out. Bytes that are no frames error both sides with a
 * {@linkcode ConnectionError}: `frame_too_large` if a body exceeds `maxBody`,
 * `protocol_error` if a header is invalid, `truncated` if the bytes end inside
 * a frame, `invalid_argument` if a chunk is no bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrameDecoderStream, FrameEncoderStream } from "@sluice/rpc";
 *
 * const frames = ReadableStream.from([{ kind: 6, id: 1 }])
 *   .pipeThrough(new FrameEncoderStream())
 *   .pipeThrough(new FrameDecoderStream({ maxBody: 1024 }));
 * const [frame] = await Array.fromAsync(frames);
 * assertEquals([frame.kind, frame.id, frame.body.length], [6, 1, 0]);
 * ```
 */
export class FrameDecoderStream {
  /** Yields whole frames. */
  readonly readable: ReadableStream<Required<Frame>>;
  /** Takes bytes. */
  readonly writable: WritableStream<Uint8Array>;

  /**
   * Creates a decoder.
   *
   * @throws {RangeError} If `maxBody` is not a whole number from 0 to 2^32 - 1.
   */
  constructor(options: FrameDecoderOptions = {}) {
    const { maxBody = DEFAULT_MAX_BODY } = options;
    // NaN would be no limit at all.
    if (!Number.isInteger(maxBody) || maxBody < 0 || maxBody > LARGEST_BODY) {
      throw new RangeError(
        `Cannot use maxBody: expected a whole number from 0 to ${LARGEST_BODY}, received ${maxBody}`,
      );
    }
    let decoder: FrameDecoder;
    const { readable, writable } = new TransformStream<
      Uint8Array,
      Required<Frame>
    >({
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
    this.readable = readable;
    this.writable = writable;
  }
}

/** A duplex of whole frames, as {@linkcode framed} returns it. */
export interface FramedDuplex {
  /** Yields the peer's frames. */
  readonly readable: ReadableStream<Required<Frame>>;
  /** Sends frames to the peer. */
  readonly writable: WritableStream<Frame>;
}

/**
 * Turns a duplex of bytes into a duplex of frames, for tools that speak the
 * native protocol without a client or server, such as a proxy or a conformance
 * test.
 *
 * Closing, aborting and cancelling pass through to the duplex underneath. A
 * fault in the peer's bytes errors `readable` as in
 * {@linkcode FrameDecoderStream}; writing goes on, so that the peer can still
 * be sent the reason. Adapt a `Deno.Conn` with {@linkcode toDuplex} first.
 *
 * @throws {TypeError} If it is no duplex, one of its streams is locked, or
 *   `writable` has failed.
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
  const decoder = new FrameDecoderStream(options);
  const encoder = new FrameEncoderStream();
  // A failure of the pipe also errors its two streams, where the user sees it.
  encoder.readable.pipeTo(duplex.writable).catch(() => {});
  return {
    readable: duplex.readable.pipeThrough(decoder),
    writable: encoder.writable,
  };
}

/** The bytes of a frame. */
export function encodeFrame(frame: Frame): Uint8Array {
  const { kind, flags = 0, id = 0, body } = frame;
  const length = body?.length ?? 0;
  const bytes = new Uint8Array(HEADER_SIZE + length);
  writeHeader(bytes, 0, length, kind, flags, id);
  if (body !== undefined) bytes.set(body, HEADER_SIZE);
  return bytes;
}
