/**
 * The frames of streams on the native protocol: DATA, END, STOP, CREDIT.
 * `docs/protocol.md` section 14 is normative for their layouts.
 *
 * The handler is notified of a frame only after its whole body was checked: a
 * body is exactly as long as its layout says.
 *
 * @module
 */

import {
  CREDIT,
  DATA,
  END,
  FLAG_CALLER,
  FLAG_ERROR,
  FLAG_MORE,
  HEADER_SIZE,
  STOP,
  writeHeader,
} from "./frame.ts";
import { CodeAndText, type FrameWriter } from "./frame_writer.ts";
import { type FieldReader, writeU32 } from "./fields.ts";
import { decodePayload, type PayloadEncoder } from "./payload.ts";
import type { Serializer } from "../types/connection.ts";
import type {
  Fragment,
  PayloadView,
  StreamAddress,
  StreamCodec,
  StreamFailure,
  StreamFrameHandler,
  StreamFrameWriter,
} from "./codec.ts";

/** Writes the frames. */
export class NativeStreamFrames implements StreamFrameWriter {
  readonly #frames: FrameWriter;
  readonly #payload: PayloadEncoder;
  readonly #serializer: Serializer | undefined;

  constructor(frames: FrameWriter, serializer: Serializer | undefined) {
    this.#frames = frames;
    this.#payload = frames.payload;
    this.#serializer = serializer;
  }

  prepare(): void {
    this.#payload.prepareStream();
  }

  get size(): number {
    return this.#payload.size;
  }

  cut(): Fragment {
    const payload = this.#payload;
    const cut = { kind: payload.kind, bytes: payload.toBytes() };
    payload.clear();
    return cut;
  }

  open({ kind, bytes, at, end }: PayloadView, owned: boolean): unknown {
    return decodePayload(kind, bytes, at, end, this.#serializer, owned);
  }

  data(stream: StreamAddress): void {
    this.#writePayload(stream, DATA, 0);
  }

  part(
    stream: StreamAddress,
    { kind, bytes }: Fragment,
    start: number,
    end: number,
    more: boolean,
  ): void {
    const flags = more ? FLAG_MORE : 0;
    const at = this.#begin(stream, 1 + end - start, DATA, flags);
    const { sendBuffer } = stream;
    sendBuffer.bytes[at] = kind;
    sendBuffer.bytes.set(bytes.subarray(start, end), at + 1);
  }

  end(stream: StreamAddress): void {
    this.#begin(stream, 0, END, 0);
  }

  fail(
    stream: StreamAddress,
    { code, message, data }: StreamFailure,
    maxBody: number,
  ): void {
    const payload = this.#payload;
    const text = new CodeAndText(code, message);
    let fits = false;
    try {
      payload.prepare(data, false);
      fits = text.size + 1 + payload.size <= maxBody;
    } catch {
      // Data that cannot be encoded must not keep the failure from the peer.
    }
    if (!fits) payload.prepare(undefined, false);
    this.#writePayload(stream, END, FLAG_ERROR, text);
  }

  stop(stream: StreamAddress, code: string, text: string): void {
    const reason = new CodeAndText(code, text);
    const at = beginUrgent(stream, reason.size, STOP);
    reason.write(stream.sendBuffer.urgentBytes, at);
  }

  credit(stream: StreamAddress, bytes: number): void {
    const at = beginUrgent(stream, 4, CREDIT);
    writeU32(stream.sendBuffer.urgentBytes, at, bytes);
  }

  #begin(
    stream: StreamAddress,
    size: number,
    kind: number,
    flags: number,
  ): number {
    const { sendBuffer, id } = stream;
    flags |= flagOf(stream);
    return this.#frames.begin(sendBuffer, HEADER_SIZE + size, kind, flags, id);
  }

  /** Writes a frame that ends with the prepared payload, behind `text` if there is one. */
  #writePayload(
    stream: StreamAddress,
    kind: number,
    flags: number,
    text?: CodeAndText,
  ): void {
    const { sendBuffer, id } = stream;
    const frames = this.#frames;
    const size = HEADER_SIZE + (text?.size ?? 0) + 1 + this.#payload.size;
    flags |= flagOf(stream);
    const at = frames.beginWithPayload(sendBuffer, size, kind, flags, id);
    frames.endWithPayload(
      sendBuffer,
      text?.write(sendBuffer.bytes, at) ?? at,
    );
  }
}

/** Begins an urgent frame with a body of `size` bytes; returns where the body begins. */
function beginUrgent(
  stream: StreamAddress,
  size: number,
  kind: number,
): number {
  const { sendBuffer, id } = stream;
  const at = sendBuffer.reserveUrgent(HEADER_SIZE + size);
  writeHeader(sendBuffer.urgentBytes, at, size, kind, flagOf(stream), id);
  return at + HEADER_SIZE;
}

function flagOf({ caller }: StreamAddress): number {
  return caller ? FLAG_CALLER : 0;
}

/** Reads one frame and notifies the handler; returns false if `kind` is not a frame of streams. */
function readStreamFrame(
  handler: StreamFrameHandler,
  kind: number,
  flags: number,
  id: number,
  body: FieldReader,
  owned: boolean,
): boolean {
  const caller = (flags & FLAG_CALLER) !== 0;
  switch (kind) {
    case DATA:
      body.payload();
      handler.onData(id, caller, body, (flags & FLAG_MORE) !== 0, owned);
      return true;
    case END:
      if ((flags & FLAG_ERROR) === 0) {
        body.done();
        handler.onEnd(id, caller);
      } else {
        const code = body.text(body.u8(), "error code");
        const message = body.text(body.u16(), "error message");
        body.payload();
        handler.onEnd(id, caller, code, message);
      }
      return true;
    case STOP: {
      const code = body.text(body.u8(), "STOP code");
      const text = body.text(body.u16(), "STOP text");
      body.done();
      handler.onStop(id, caller, code, text);
      return true;
    }
    case CREDIT: {
      const bytes = body.u32();
      body.done();
      handler.onCredit(id, caller, bytes);
      return true;
    }
    default:
      return false;
  }
}

/** The frames of streams on the native protocol, for the codec's settings. */
export const nativeStreamCodec: StreamCodec = {
  writer: (frames, serializer) => new NativeStreamFrames(frames, serializer),
  read: readStreamFrame,
};
