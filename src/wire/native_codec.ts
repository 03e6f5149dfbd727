/**
 * The codec of the native protocol: the outgoing half, messages to frames, on
 * top of the incoming half. `docs/protocol.md` is normative for every layout
 * here.
 *
 * Invariant owned here: a message is encoded whole, with the payload that was
 * prepared for it, and has the size that `requestSize` or `replySize` returned;
 * a large one is then written in fragments.
 *
 * @module
 */

import { copyWords, NO_VIEW, SPILL, viewOf } from "../base/bytes.ts";
import { RpcError } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import type { CallWindow } from "../types/connection.ts";
import type {
  Codec,
  CodecFactory,
  CodecSettings,
  FragmentSupport,
  MessageHandler,
  RequestExtras,
  StreamFrameWriter,
  WireFeatures,
} from "./codec.ts";
import {
  CANCEL,
  ERROR,
  FLAG_ACK,
  FLAG_DEADLINE,
  FLAG_METADATA,
  FLAG_NONE,
  FLAG_STARTED,
  FLAG_WARNING,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  LAST,
  PAD,
  PING,
  PONG,
  readU32,
  REPLY,
  REQUEST,
  WINDOW,
  writeU16,
  writeU32,
} from "./frame.ts";
import type {
  FrameBuffer,
  MessageBuffer,
  ReplyBuffer,
} from "./frame_buffer.ts";
import {
  beginFrame,
  beginUrgent,
  beginWithPayload,
  codeAndText,
  endWithPayload,
} from "./frame_writer.ts";
import { encodeHello } from "./hello.ts";
import { MessageReader } from "./message_reader.ts";
import { type MetadataBlock, metadataSize, writeMetadata } from "./metadata.ts";
import { PayloadEncoder, type PreparedPayload } from "./values/payload.ts";
import { MAX_WHOLE, STREAM } from "./protocol.ts";
import type { PayloadRole } from "./values/to_json.ts";

/** The longest method name, in bytes of UTF-8. */
export const MAX_METHOD = 0xffff;

const FEATURES: WireFeatures = {
  window: true,
  goaway: true,
  deadline: true,
  ping: true,
  streams: true,
  cancel: "answered",
  excess: "close",
  unknownReply: "close",
};

/** Makes the codec of one connection. */
export const nativeCodec: CodecFactory = (handler, settings) =>
  new NativeCodec(handler, settings);

/** The codec of the native protocol, for one connection. */
export class NativeCodec extends MessageReader implements Codec {
  readonly features: WireFeatures = FEATURES;
  readonly overhead = HEADER_SIZE;
  readonly undecided: boolean;
  readonly #payload: PayloadEncoder;
  #streams: StreamFrameWriter | undefined;
  /** The latest method, and its length field and name as they are written: most calls in a row have the same one. */
  #method: string | undefined;
  #methodView = NO_VIEW;
  #methodSize = 0;

  constructor(handler: MessageHandler, settings: CodecSettings) {
    super(handler, settings);
    const { agreement } = this;
    const encoder = settings.serializer?.encoder?.(agreement);
    this.undecided = encoder !== undefined;
    this.#payload = encoder as PayloadEncoder | undefined ??
      new PayloadEncoder(agreement);
  }

  /** Made when it is first used: most connections have no streams. */
  get streams(): StreamFrameWriter | undefined {
    return this.#streams ??= this.settings.streams?.writer(this.#payload);
  }

  prepare(
    value: unknown,
    transfer: boolean,
    _method?: string,
    role?: PayloadRole,
  ): void {
    this.#payload.prepare(value, transfer, role);
  }

  savePrepared(): unknown {
    return this.#payload.savePrepared();
  }

  restorePrepared(prepared: unknown): void {
    this.#payload.restorePrepared(prepared as PreparedPayload);
  }

  requestSize(
    method: string,
    timed: boolean,
    metadata?: MetadataBlock,
  ): number {
    if (method !== this.#method) this.#encodeMethod(method);
    return HEADER_SIZE + (timed ? 4 : 0) + metadataSize(metadata) +
      this.#methodSize + 1 + this.#payload.size;
  }

  replySize(metadata?: MetadataBlock): number {
    return metadataSize(metadata) + 1 + this.#payload.size;
  }

  hello(sendBuffer: FrameBuffer): void {
    const body = encodeHello(this.settings.hello);
    // Urgent, so that a PONG of the same batch does not overtake it.
    const at = beginUrgent(sendBuffer, body.length, HELLO, 0, 0);
    sendBuffer.urgentBytes.set(body, at);
  }

  request(
    sendBuffer: FrameBuffer,
    id: number,
    method: string,
    remaining: number,
    metadata: MetadataBlock | undefined,
    extras?: RequestExtras,
  ): void {
    const payload = this.#payload;
    const timed = remaining >= 0;
    let size = this.requestSize(method, timed, metadata) - HEADER_SIZE;
    let flags = (timed ? FLAG_DEADLINE : 0) | flagOf(metadata) | payload.flags;
    if (extras !== undefined) {
      size += extras.block.length;
      flags |= extras.flags;
    }
    const out = this.#bufferFor(sendBuffer, size, id, true);
    let at = beginWithPayload(payload, out, size, REQUEST, flags, id);
    if (timed) at = writeU32(out.bytes, at, remaining);
    at = writeMetadata(out.bytes, at, metadata);
    if (extras !== undefined) {
      out.bytes.set(extras.block, at);
      at += extras.block.length;
    }
    copyWords(this.#methodView, this.#methodSize, out.view, at);
    endWithPayload(payload, out, at + this.#methodSize);
  }

  reply(sendBuffer: ReplyBuffer, id: number, metadata?: MetadataBlock): void {
    const payload = this.#payload;
    const size = this.replySize(metadata);
    const flags = flagOf(metadata) | payload.flags;
    const out = this.#bufferFor(sendBuffer, size, id, false);
    const at = beginWithPayload(payload, out, size, REPLY, flags, id);
    const end = writeMetadata(out.bytes, at, metadata);
    endWithPayload(payload, out, end);
  }

  /** Where to write a message with a body of `size` bytes. One that begins a stream is written whole: its items must not overtake it. */
  #bufferFor(
    sendBuffer: ReplyBuffer,
    size: number,
    id: number,
    isRequest: boolean,
  ): MessageBuffer {
    const { fragments } = this;
    if (size <= MAX_WHOLE || fragments === undefined) return sendBuffer;
    const payload = this.#payload;
    if (payload.kind === STREAM || payload.flags !== 0) return sendBuffer;
    payload.apart = true;
    const { writer } = this.settings.fragments as FragmentSupport;
    return sendBuffer.cut(writer, id, isRequest, HEADER_SIZE + size);
  }

  failure(
    sendBuffer: ReplyBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
    metadata?: MetadataBlock,
  ): void {
    const payload = this.#payload;
    const text = codeAndText(code, message);
    let size = text.length + 1 + metadataSize(metadata);
    if (size > maxMessage) {
      metadata = undefined;
      size = text.length + 1;
    }
    if (size + payload.size > maxMessage) payload.prepare(undefined, false);
    size += payload.size;
    const flags = (started ? FLAG_STARTED : 0) | flagOf(metadata);
    const out = this.#bufferFor(sendBuffer, size, id, false);
    let at = beginWithPayload(payload, out, size, ERROR, flags, id);
    at = writeMetadata(out.bytes, at, metadata);
    out.bytes.set(text, at);
    endWithPayload(payload, out, at + text.length);
  }

  cancel(sendBuffer: FrameBuffer, id: number): void {
    beginUrgent(sendBuffer, 0, CANCEL, 0, id);
  }

  ping(sendBuffer: FrameBuffer, id: number): void {
    beginUrgent(sendBuffer, 0, PING, 0, id);
  }

  pong(sendBuffer: FrameBuffer, id: number): void {
    beginUrgent(sendBuffer, 0, PONG, 0, id);
  }

  window(
    sendBuffer: FrameBuffer,
    id: number,
    { windowCalls, windowBytes }: CallWindow,
    ack: boolean,
  ): void {
    const flags = ack ? FLAG_ACK : 0;
    const at = beginFrame(sendBuffer, 8, WINDOW, flags, id);
    const { bytes } = sendBuffer;
    writeU32(bytes, writeU32(bytes, at, windowCalls), windowBytes);
  }

  goaway(
    sendBuffer: FrameBuffer,
    lastId: number | undefined,
    code: string,
    text: string,
  ): void {
    const body = codeAndText(code, text);
    const flags = lastId === undefined
      ? FLAG_NONE
      : lastId === Infinity
      ? FLAG_WARNING
      : 0;
    // As 32 bits, Infinity is 0.
    const at = beginFrame(sendBuffer, body.length, GOAWAY, flags, lastId ?? 0);
    sendBuffer.bytes.set(body, at);
  }

  last(sendBuffer: FrameBuffer): void {
    beginFrame(sendBuffer, 0, LAST, 0, 0);
  }

  retract(sendBuffer: FrameBuffer, batchOffset: number): boolean {
    // Only the kind: a receiver ignores the flags and the id of a PAD.
    sendBuffer.overwrite(batchOffset, 4, PAD);
    return true;
  }

  callAt(
    sendBuffer: FrameBuffer,
    batchOffset: number,
  ): { id: number; isRequest: boolean } {
    const header = sendBuffer.at(batchOffset);
    return { id: readU32(header, 8), isRequest: header[4] === REQUEST };
  }

  #encodeMethod(method: string): void {
    const name = utf8(method);
    if (name.length > MAX_METHOD) {
      throw new RpcError(
        "invalid_argument",
        `the method name has ${name.length} bytes, at most ${MAX_METHOD} fit`,
        { outcome: "not_sent" },
      );
    }
    this.#methodSize = 2 + name.length;
    const bytes = new Uint8Array(this.#methodSize + SPILL);
    writeU16(bytes, 0, name.length);
    bytes.set(name, 2);
    this.#methodView = viewOf(bytes);
    this.#method = method;
  }
}

function flagOf(metadata: MetadataBlock | undefined): number {
  return metadata === undefined ? 0 : FLAG_METADATA;
}
