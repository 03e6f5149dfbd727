/**
 * The frames of streams on the native protocol: DATA, END, STOP, CREDIT.
 * `docs/protocol.md` section 14 is normative for their layouts.
 *
 * The handler is notified of a frame only after its whole body was checked: a
 * body is exactly as long as its layout says.
 *
 * @module
 */

import { protocolError } from "../base/errors.ts";
import type {
  EncodedItem,
  StreamAddress,
  StreamCodec,
  StreamFailure,
  StreamFrameHandler,
  StreamFrameWriter,
} from "./codec.ts";
import type { FieldReader } from "./fields.ts";
import type { FrameBuffer } from "./frame_buffer.ts";
import {
  CREDIT,
  DATA,
  END,
  FLAG_BODY,
  FLAG_CALLER,
  FLAG_CONNECTION,
  FLAG_ERROR,
  FLAG_METADATA,
  FLAG_MORE,
  FLAG_TRAILERS,
  STOP,
  writeU32,
} from "./frame.ts";
import {
  beginFrame,
  beginUrgent,
  beginWithPayload,
  codeAndText,
  endWithPayload,
} from "./frame_writer.ts";
import { type MetadataBlock, metadataSize, writeMetadata } from "./metadata.ts";
import { MESSAGE, STREAM } from "./protocol.ts";
import {
  decodePayload,
  ownBytes,
  type PayloadEncoder,
  type PayloadView,
} from "./values/payload.ts";

/** Writes the frames. */
export class NativeStreamFrames implements StreamFrameWriter {
  readonly #payload: PayloadEncoder;

  constructor(payload: PayloadEncoder) {
    this.#payload = payload;
  }

  prepare(): void {
    this.#payload.prepareStream();
  }

  markBody(): void {
    this.#payload.flags = FLAG_BODY;
  }

  markMessage(): void {
    this.#payload.kind = MESSAGE;
  }

  get size(): number {
    return this.#payload.size;
  }

  takeItem(): EncodedItem {
    const payload = this.#payload;
    const item = { kind: payload.kind, bytes: payload.toBytes() };
    payload.clear();
    return item;
  }

  decode(payload: PayloadView, owned: boolean): unknown {
    const { kind, bytes, at, end } = payload;
    if (kind === MESSAGE) return ownBytes(bytes, at, end, owned);
    return decodePayload(payload, this.#payload.agreement.receiver, owned);
  }

  data(stream: StreamAddress): void {
    this.#writePayload(stream, DATA, 0);
  }

  fragment(
    stream: StreamAddress,
    { kind, bytes }: EncodedItem,
    start: number,
    end: number,
    more: boolean,
  ): void {
    const flags = more ? FLAG_MORE : 0;
    const at = begin(stream, 1 + end - start, DATA, flags);
    const { sendBuffer } = stream;
    sendBuffer.bytes[at] = kind;
    sendBuffer.bytes.set(bytes.subarray(start, end), at + 1);
  }

  end(stream: StreamAddress, trailers: MetadataBlock | undefined): void {
    const at = begin(stream, metadataSize(trailers), END, trailing(trailers));
    writeMetadata(stream.sendBuffer.bytes, at, trailers);
  }

  fail(
    stream: StreamAddress,
    { code, message, data }: StreamFailure,
    trailers: MetadataBlock | undefined,
    maxBody: number,
  ): void {
    const payload = this.#payload;
    const text = codeAndText(code, message);
    let fits = false;
    try {
      payload.prepare(data, false);
      const size = metadataSize(trailers) + text.length + 1 + payload.size;
      fits = size <= maxBody;
    } catch {
      // Data that cannot be encoded must not keep the failure from the peer.
    }
    if (!fits) payload.prepare(undefined, false);
    const flags = FLAG_ERROR | trailing(trailers);
    this.#writePayload(stream, END, flags, text, trailers);
  }

  stop(stream: StreamAddress, code: string, text: string): void {
    const reason = codeAndText(code, text);
    const at = urgent(stream, reason.length, STOP);
    stream.sendBuffer.urgentBytes.set(reason, at);
  }

  credit(stream: StreamAddress, bytes: number): void {
    const at = urgent(stream, 4, CREDIT);
    writeU32(stream.sendBuffer.urgentBytes, at, bytes);
  }

  connectionCredit(sendBuffer: FrameBuffer, bytes: number): void {
    const at = beginUrgent(sendBuffer, 4, CREDIT, FLAG_CONNECTION, 0);
    writeU32(sendBuffer.urgentBytes, at, bytes);
  }

  /** Writes a frame that ends with the prepared payload, behind the trailers and `text` if there are any. */
  #writePayload(
    stream: StreamAddress,
    kind: number,
    flags: number,
    text?: Uint8Array,
    trailers?: MetadataBlock,
  ): void {
    const { sendBuffer, id } = stream;
    const payload = this.#payload;
    const textSize = text === undefined ? 0 : text.length;
    const size = metadataSize(trailers) + textSize + 1 + payload.size;
    flags |= flagOf(stream);
    let at = beginWithPayload(payload, sendBuffer, size, kind, flags, id);
    at = writeMetadata(sendBuffer.bytes, at, trailers);
    if (text !== undefined) sendBuffer.bytes.set(text, at);
    endWithPayload(payload, sendBuffer, at + textSize);
  }
}

function begin(
  stream: StreamAddress,
  size: number,
  kind: number,
  flags: number,
): number {
  const { sendBuffer, id } = stream;
  return beginFrame(sendBuffer, size, kind, flags | flagOf(stream), id);
}

function urgent(stream: StreamAddress, size: number, kind: number): number {
  const { sendBuffer, id } = stream;
  return beginUrgent(sendBuffer, size, kind, flagOf(stream), id);
}

function flagOf({ caller }: StreamAddress): number {
  return caller ? FLAG_CALLER : 0;
}

function trailing(trailers: MetadataBlock | undefined): number {
  return trailers === undefined ? 0 : FLAG_TRAILERS;
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
      body.payload(MESSAGE);
      if (body.kind === STREAM) protocolError("an item that is a stream");
      handler.onData(id, caller, body, (flags & FLAG_MORE) !== 0, owned);
      return true;
    case END: {
      const trails = (flags & FLAG_TRAILERS) !== 0;
      const trailers = body.metadata(trails ? FLAG_METADATA : 0);
      if ((flags & FLAG_ERROR) === 0) {
        body.done();
        handler.onEnd(id, caller, trailers);
      } else {
        const code = body.text(body.u8());
        const message = body.text(body.u16());
        body.payload();
        handler.onEnd(id, caller, trailers, code, message);
      }
      return true;
    }
    case STOP: {
      const code = body.text(body.u8());
      const text = body.text(body.u16());
      body.done();
      handler.onStop(id, caller, code, text);
      return true;
    }
    case CREDIT: {
      const bytes = body.u32();
      body.done();
      if ((flags & FLAG_CONNECTION) === 0) handler.onCredit(id, caller, bytes);
      else if (caller || id !== 0) {
        protocolError("CREDIT for the connection that names a stream");
      } else handler.onConnectionCredit(bytes);
      return true;
    }
    default:
      return false;
  }
}

/** The frames of streams on the native protocol, for the codec's settings. */
export const nativeStreamCodec: StreamCodec = {
  writer: (payload) => new NativeStreamFrames(payload),
  read: readStreamFrame,
};
