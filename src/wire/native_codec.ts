/**
 * The native wire: messages to frames, and by way of its reader back.
 * `docs/protocol.md` is normative for every layout here.
 *
 * Invariant owned here: a frame is written whole, with the payload that was
 * prepared for it, and its size is what was said before it was written.
 *
 * @module
 */

import type {
  Codec,
  CodecFactory,
  CodecSettings,
  MessageHandler,
  Opaque,
  StreamFrameWriter,
  WireFeatures,
} from "./codec.ts";
import { copyWords, NO_BYTES, NO_VIEW, SPILL, viewOf } from "../base/bytes.ts";
import { RpcError } from "../base/errors.ts";
import {
  CANCEL,
  ERROR,
  FLAG_DEADLINE,
  FLAG_METADATA,
  FLAG_NONE,
  FLAG_STARTED,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  PAD,
  PING,
  PONG,
  readU32,
  REPLY,
  REQUEST,
  writeHeader,
} from "./frame.ts";
import type { FrameDecoder } from "./frame_decoder.ts";
import { CodeAndText, FrameWriter } from "./frame_writer.ts";
import { encodeHello } from "./hello.ts";
import {
  type FieldReader,
  writeMetadata,
  writeU16,
  writeU32,
} from "./fields.ts";
import { decodedJsonSize } from "./json_size.ts";
import type { MetadataBlock } from "./metadata.ts";
import { MessageReader } from "./message_reader.ts";
import type { FrameBuffer } from "./frame_buffer.ts";
import {
  decodePayload,
  ownBytes,
  PayloadEncoder,
  type PreparedPayload,
  type RetainedPayload,
} from "./payload.ts";
import { JSON_TEXT, STREAM } from "./protocol.ts";
import { utf8 } from "../base/utf8.ts";
import type { PayloadRole } from "./to_json.ts";

/** Longest method name, in bytes of UTF-8. */
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

/** Makes the codec of the native wire. */
export const nativeCodec: CodecFactory = (receiver, settings) =>
  new NativeCodec(receiver, settings);

/** The codec of the native wire. */
export class NativeCodec implements Codec {
  readonly features: WireFeatures = FEATURES;
  readonly overhead = HEADER_SIZE;
  readonly #settings: CodecSettings;
  readonly #reader: MessageReader;
  /** The reader's own, at hand for the payload of each message. */
  readonly #body: FieldReader;
  readonly #decoder: FrameDecoder;
  readonly #payload: PayloadEncoder;
  readonly #frames: FrameWriter;
  #streams: StreamFrameWriter | undefined;
  /** The latest method written, with its length field and name as they are written: calls in a row mostly share one. */
  #method: string | undefined;
  #methodView = NO_VIEW;
  #methodSize = 0;

  constructor(receiver: MessageHandler, settings: CodecSettings) {
    this.#settings = settings;
    const reader = this.#reader = new MessageReader(receiver, settings);
    this.#body = reader.body;
    this.#decoder = reader.decoder;
    this.#payload = new PayloadEncoder(settings.serializer);
    this.#frames = new FrameWriter(this.#payload);
  }

  /** Made when it is needed: most connections have no streams. */
  get streams(): StreamFrameWriter | undefined {
    const { serializer, streams } = this.#settings;
    return this.#streams ??= streams?.writer(this.#frames, serializer);
  }

  // Messages in.

  decode(chunk: Uint8Array, at: number, budget: number): number {
    return this.#reader.decode(chunk, at, budget);
  }

  end(): void {
    this.#reader.end();
  }

  get unfinished(): number | undefined {
    return this.#reader.unfinished;
  }

  get unfinishedBytes(): number {
    return this.#reader.unfinishedBytes;
  }

  stop(): void {
    this.#reader.stop();
  }

  onPeerAuthorized(): void {
    this.#reader.admit();
  }

  get answerSize(): number {
    return this.#reader.answerSize;
  }

  get streamed(): boolean {
    return this.#body.kind === STREAM;
  }

  value(): unknown {
    const { kind, bytes, at, end } = this.#body;
    const { serializer } = this.#settings;
    return decodePayload(kind, bytes, at, end, serializer, this.#decoder.owned);
  }

  retain(): Opaque {
    const { kind, bytes, at, end } = this.#body;
    const own = at === end
      ? NO_BYTES
      : ownBytes(bytes, at, end, this.#decoder.owned);
    const kept: RetainedPayload = { kind, bytes: own };
    return kept;
  }

  decodeRetained(kept: Opaque): unknown {
    const { kind, bytes } = kept as RetainedPayload;
    const { serializer } = this.#settings;
    return decodePayload(kind, bytes, 0, bytes.length, serializer, true);
  }

  decodedSize(kept: Opaque): number {
    const { kind, bytes, at, end } = kept === undefined
      ? this.#body
      : viewOfKept(kept as RetainedPayload);
    return kind === JSON_TEXT ? decodedJsonSize(bytes, at, end) : 0;
  }

  // Messages out.

  prepare(
    value: unknown,
    transfer: boolean,
    _method?: string,
    role?: PayloadRole,
  ): void {
    this.#payload.prepare(value, transfer, role);
  }

  savePrepared(): Opaque {
    return this.#payload.save();
  }

  restorePrepared(draft: Opaque): void {
    this.#payload.load(draft as PreparedPayload);
  }

  requestSize(
    method: string,
    timed: boolean,
    metadata?: MetadataBlock,
  ): number {
    if (method !== this.#method) this.#encodeMethod(method);
    let size = HEADER_SIZE + this.#methodSize + 1 + this.#payload.size;
    if (timed) size += 4;
    if (metadata !== undefined) size += 2 + metadata.size;
    return size;
  }

  replySize(metadata?: MetadataBlock): number {
    const size = 1 + this.#payload.size;
    return metadata === undefined ? size : size + 2 + metadata.size;
  }

  hello(sendBuffer: FrameBuffer): void {
    const { hello, serializer } = this.#settings;
    const body = encodeHello(hello, serializer?.name);
    const size = HEADER_SIZE + body.length;
    // In the lane that leaves first: a PONG of the same batch must not overtake it.
    const at = sendBuffer.reserveUrgent(size);
    writeHeader(sendBuffer.urgentBytes, at, body.length, HELLO, 0, 0);
    sendBuffer.urgentBytes.set(body, at + HEADER_SIZE);
  }

  request(
    sendBuffer: FrameBuffer,
    id: number,
    method: string,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    const timed = remaining >= 0;
    const size = this.requestSize(method, timed, metadata);
    const flags = (timed ? FLAG_DEADLINE : 0) |
      (metadata !== undefined ? FLAG_METADATA : 0);
    let at = this.#frames.beginWithPayload(
      sendBuffer,
      size,
      REQUEST,
      flags,
      id,
    );
    const { bytes } = sendBuffer;
    if (timed) at = writeU32(bytes, at, remaining);
    if (metadata !== undefined) at = writeMetadata(bytes, at, metadata);
    copyWords(this.#methodView, this.#methodSize, sendBuffer.view, at);
    this.#frames.endWithPayload(sendBuffer, at + this.#methodSize);
  }

  reply(sendBuffer: FrameBuffer, id: number, metadata?: MetadataBlock): void {
    const size = HEADER_SIZE + this.replySize(metadata);
    const flags = metadata === undefined ? 0 : FLAG_METADATA;
    let at = this.#frames.beginWithPayload(sendBuffer, size, REPLY, flags, id);
    if (metadata !== undefined) {
      at = writeMetadata(sendBuffer.bytes, at, metadata);
    }
    this.#frames.endWithPayload(sendBuffer, at);
  }

  failure(
    sendBuffer: FrameBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
    metadata?: MetadataBlock,
  ): void {
    const words = new CodeAndText(code, message);
    let fixed = words.size + 1;
    if (metadata !== undefined) {
      const more = 2 + metadata.size;
      if (fixed + more > maxMessage) metadata = undefined;
      else fixed += more;
    }
    if (fixed + this.#payload.size > maxMessage) {
      this.#payload.prepare(undefined, false);
    }
    const size = HEADER_SIZE + fixed + this.#payload.size;
    const flags = (started ? FLAG_STARTED : 0) |
      (metadata !== undefined ? FLAG_METADATA : 0);
    let at = this.#frames.beginWithPayload(sendBuffer, size, ERROR, flags, id);
    if (metadata !== undefined) {
      at = writeMetadata(sendBuffer.bytes, at, metadata);
    }
    this.#frames.endWithPayload(sendBuffer, words.write(sendBuffer.bytes, at));
  }

  cancel(sendBuffer: FrameBuffer, id: number): void {
    const at = sendBuffer.reserveUrgent(HEADER_SIZE);
    writeHeader(sendBuffer.urgentBytes, at, 0, CANCEL, 0, id);
  }

  ping(sendBuffer: FrameBuffer, id: number): void {
    this.#frames.begin(sendBuffer, HEADER_SIZE, PING, 0, id);
  }

  pong(sendBuffer: FrameBuffer, id: number): void {
    const at = sendBuffer.reserveUrgent(HEADER_SIZE);
    writeHeader(sendBuffer.urgentBytes, at, 0, PONG, 0, id);
  }

  goaway(
    sendBuffer: FrameBuffer,
    lastId: number | undefined,
    code: string,
    text: string,
  ): void {
    const words = new CodeAndText(code, text);
    const size = HEADER_SIZE + words.size;
    const flags = lastId === undefined ? FLAG_NONE : 0;
    const at = this.#frames.begin(sendBuffer, size, GOAWAY, flags, lastId ?? 0);
    words.write(sendBuffer.bytes, at);
  }

  retract(sendBuffer: FrameBuffer, place: number): boolean {
    // The kind alone: a PAD's flags and id are ignored, so the rest may stay.
    sendBuffer.overwrite(place, 4, PAD);
    return true;
  }

  idAt(sendBuffer: FrameBuffer, place: number): { id: number; ours: boolean } {
    const header = sendBuffer.at(place);
    return { id: readU32(header, 8), ours: header[4] === REQUEST };
  }

  #encodeMethod(method: string): void {
    const name = utf8(method);
    if (name.length > MAX_METHOD) {
      throw new RpcError(
        "invalid_argument",
        `a method name of ${name.length} bytes; at most ${MAX_METHOD} fit`,
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

function viewOfKept({ kind, bytes }: RetainedPayload) {
  return { kind, bytes, at: 0, end: bytes.length };
}
