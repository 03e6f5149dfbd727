/**
 * The frames of streams on the native wire. `docs/protocol.md` section 14 is
 * normative for every layout here.
 *
 * Invariant owned here: a body is exactly as long as its layout says, before
 * its message is told.
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
import type { FrameBuffer } from "./frame_buffer.ts";
import { decodePayload } from "./payload.ts";
import type { Serializer } from "../types/connection.ts";
import type {
  Fragment,
  PayloadView,
  StreamCodec,
  StreamFailure,
  StreamFrameHandler,
  StreamFrameWriter,
} from "./codec.ts";

/** Writes them. */
export class NativeStreamFrames implements StreamFrameWriter {
  readonly #frames: FrameWriter;
  readonly #serializer: Serializer | undefined;

  constructor(frames: FrameWriter, serializer: Serializer | undefined) {
    this.#frames = frames;
    this.#serializer = serializer;
  }

  prepare(): void {
    this.#frames.payload.prepareStream();
  }

  get size(): number {
    return this.#frames.payload.size;
  }

  cut(): Fragment {
    const { payload } = this.#frames;
    const cut = { kind: payload.kind, bytes: payload.toBytes() };
    payload.clear();
    return cut;
  }

  open({ kind, bytes, at, end }: PayloadView, owned: boolean): unknown {
    return decodePayload(kind, bytes, at, end, this.#serializer, owned);
  }

  data(sendBuffer: FrameBuffer, id: number, caller: boolean): void {
    const frames = this.#frames;
    const size = HEADER_SIZE + 1 + frames.payload.size;
    const at = frames.beginWithPayload(
      sendBuffer,
      size,
      DATA,
      flag(caller),
      id,
    );
    frames.endWithPayload(sendBuffer, at);
  }

  part(
    sendBuffer: FrameBuffer,
    id: number,
    caller: boolean,
    { kind, bytes }: Fragment,
    start: number,
    end: number,
    more: boolean,
  ): void {
    const flags = flag(caller) | (more ? FLAG_MORE : 0);
    const size = HEADER_SIZE + 1 + end - start;
    const at = this.#frames.begin(sendBuffer, size, DATA, flags, id);
    sendBuffer.bytes[at] = kind;
    sendBuffer.bytes.set(bytes.subarray(start, end), at + 1);
  }

  end(sendBuffer: FrameBuffer, id: number, caller: boolean): void {
    this.#frames.begin(sendBuffer, HEADER_SIZE, END, flag(caller), id);
  }

  fail(
    sendBuffer: FrameBuffer,
    id: number,
    caller: boolean,
    { code, message, data }: StreamFailure,
    most: number,
  ): void {
    const { payload } = this.#frames;
    const words = new CodeAndText(code, message);
    try {
      payload.prepare(data, false);
    } catch {
      // Data that has no form on the wire does not hold the failure up.
      payload.prepare(undefined, false);
    }
    if (words.size + 1 + payload.size > most) payload.prepare(undefined, false);
    const size = HEADER_SIZE + words.size + 1 + payload.size;
    const flags = flag(caller) | FLAG_ERROR;
    const at = this.#frames.beginWithPayload(sendBuffer, size, END, flags, id);
    this.#frames.endWithPayload(sendBuffer, words.write(sendBuffer.bytes, at));
  }

  stop(
    sendBuffer: FrameBuffer,
    id: number,
    caller: boolean,
    code: string,
    text: string,
  ): void {
    const words = new CodeAndText(code, text);
    const at = sendBuffer.reserveUrgent(HEADER_SIZE + words.size);
    const { urgentBytes } = sendBuffer;
    writeHeader(urgentBytes, at, words.size, STOP, flag(caller), id);
    words.write(urgentBytes, at + HEADER_SIZE);
  }

  credit(
    sendBuffer: FrameBuffer,
    id: number,
    caller: boolean,
    bytes: number,
  ): void {
    const at = sendBuffer.reserveUrgent(HEADER_SIZE + 4);
    const { urgentBytes } = sendBuffer;
    writeHeader(urgentBytes, at, 4, CREDIT, flag(caller), id);
    writeU32(urgentBytes, at + HEADER_SIZE, bytes);
  }
}

function flag(caller: boolean): number {
  return caller ? FLAG_CALLER : 0;
}

/** Tells what one of their frames says; false if `kind` is no kind of theirs. */
function readStreamFrame(
  receiver: StreamFrameHandler,
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
      receiver.onData(id, caller, body, (flags & FLAG_MORE) !== 0, owned);
      return true;
    case END: {
      if ((flags & FLAG_ERROR) === 0) {
        body.done();
        receiver.onEnd(id, caller);
        return true;
      }
      const code = body.text(body.u8(), "error code");
      const message = body.text(body.u16(), "error message");
      body.payload();
      receiver.onFail(id, caller, code, message);
      return true;
    }
    case STOP: {
      const code = body.text(body.u8(), "STOP code");
      const text = body.text(body.u16(), "STOP text");
      body.done();
      receiver.onStop(id, caller, code, text);
      return true;
    }
    case CREDIT: {
      const bytes = body.u32();
      body.done();
      receiver.onCredit(id, caller, bytes);
      return true;
    }
    default:
      return false;
  }
}

/** The frames of streams, to be passed to a codec. */
export const nativeStreamCodec: StreamCodec = {
  writer: (frames, serializer) => new NativeStreamFrames(frames, serializer),
  read: readStreamFrame,
};
