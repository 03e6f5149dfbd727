/**
 * The native wire: messages to frames and back. `docs/protocol.md` is normative
 * for every layout here.
 *
 * Invariants owned here:
 * - A body is exactly as long as its layout says: anything longer, shorter or
 *   unreadable ends the connection, before its message is told.
 * - Nothing is told before the peer's HELLO, except a GOAWAY that stands in
 *   its place.
 *
 * @module
 */

import type {
  Codec,
  CodecFactory,
  CodecSettings,
  Features,
  Metadata,
  Opaque,
  Receiver,
} from "./codec.ts";
import { ConnectionError, RpcError } from "./errors.ts";
import {
  CANCEL,
  ERROR,
  FLAG_DEADLINE,
  FLAG_METADATA,
  FLAG_NONE,
  FLAG_STARTED,
  FrameDecoder,
  type FrameSink,
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
import { FrameWriter, Words } from "./frame_writer.ts";
import { EARLY_MESSAGE, encodeHello, MAX_HELLO, parseHello } from "./hello.ts";
import {
  BodyReader,
  metadataSize,
  writeMetadata,
  writeU16,
  writeU32,
} from "./layout.ts";
import type { Outbox } from "./outbox.ts";
import {
  CUSTOM,
  decodePayload,
  type Draft,
  type KeptPayload,
  ownBytes,
  PayloadEncoder,
  STREAM,
} from "./payload.ts";
import {
  NativeStreams,
  notAgreed,
  readStreamFrame,
} from "./streams/native_streams.ts";
import type { StreamWriter } from "./streams/terms.ts";
import { looksLike } from "./sniff.ts";
import { copyWords, NO_BYTES, NO_VIEW, SPILL, viewOf } from "./bytes.ts";
import { utf8 } from "./text.ts";

/** Longest method name, in bytes of UTF-8. */
export const MAX_METHOD = 0xffff;

const FEATURES: Features = {
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
export class NativeCodec implements Codec, FrameSink {
  readonly features: Features = FEATURES;
  readonly overhead = HEADER_SIZE;

  readonly #receiver: Receiver;
  readonly #settings: CodecSettings;
  readonly #decoder: FrameDecoder;
  readonly #payload: PayloadEncoder;
  readonly #frames: FrameWriter;
  #streams: StreamWriter | undefined;
  readonly #body = new BodyReader();
  #greeted = false;
  /** The largest payload kind of a value: streams only from a peer that has been let in, and knows of them. */
  #lastKind = CUSTOM;
  #peerStreams = false;
  answerSize = 0;
  /** The first bytes received, to name what a peer speaks instead. */
  #first: Uint8Array = new Uint8Array(HEADER_SIZE);
  #firstFill = 0;
  /** The latest method written, with its length field and name as they are written: calls in a row mostly share one. */
  #method: string | undefined;
  #methodView = NO_VIEW;
  #methodSize = 0;

  constructor(receiver: Receiver, settings: CodecSettings) {
    this.#receiver = receiver;
    this.#settings = settings;
    this.#decoder = new FrameDecoder(this, MAX_HELLO);
    this.#payload = new PayloadEncoder(settings.serializer);
    this.#frames = new FrameWriter(this.#payload);
  }

  /** Made when it is needed: most connections have no streams. */
  get streams(): StreamWriter {
    const { serializer } = this.#settings;
    return this.#streams ??= new NativeStreams(this.#frames, serializer);
  }

  get streamed(): boolean {
    return this.#body.kind === STREAM;
  }

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (!this.#greeted) this.#rememberFirst(chunk, at);
    try {
      return this.#decoder.push(chunk, at, budget);
    } catch (error) {
      throw this.#greeted ? error : this.#nameStranger(error);
    } finally {
      this.#body.release();
    }
  }

  end(): void {
    try {
      this.#decoder.end();
    } catch (error) {
      throw this.#greeted ? error : this.#nameStranger(error);
    }
  }

  get unfinished(): number | undefined {
    return this.#decoder.unfinished;
  }

  get unfinishedBytes(): number {
    return this.#decoder.unfinishedBytes;
  }

  stop(): void {
    this.#decoder.stop();
  }

  // Messages in.

  frame(
    kind: number,
    flags: number,
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const body = this.#body;
    body.open(bytes, start, end);
    if (!this.#greeted && kind !== HELLO && kind !== GOAWAY) {
      throw new ConnectionError(
        "protocol_error",
        `frame kind ${kind} came before HELLO`,
      );
    }
    switch (kind) {
      case REQUEST: {
        const size = end - start + HEADER_SIZE;
        const remaining = (flags & FLAG_DEADLINE) !== 0 ? body.u32() : -1;
        const metadata = (flags & FLAG_METADATA) !== 0
          ? body.metadata()
          : undefined;
        const method = body.method();
        body.payload(this.#lastKind);
        this.#receiver.request(id, method, size, remaining, metadata);
        return;
      }
      case REPLY: {
        this.answerSize = end - start + HEADER_SIZE;
        const metadata = (flags & FLAG_METADATA) !== 0
          ? body.metadata()
          : undefined;
        body.payload(this.#lastKind);
        this.#receiver.reply(id, metadata);
        return;
      }
      case ERROR: {
        this.answerSize = end - start + HEADER_SIZE;
        const metadata = (flags & FLAG_METADATA) !== 0
          ? body.metadata()
          : undefined;
        const code = body.text(body.u8(), "error code");
        const message = body.text(body.u16(), "error message");
        body.payload();
        const started = (flags & FLAG_STARTED) !== 0;
        this.#receiver.failure(id, started, code, message, metadata);
        return;
      }
      case CANCEL:
        body.done();
        this.#receiver.cancel(id);
        return;
      case PING:
        body.done();
        this.#receiver.ping(id);
        return;
      case PONG:
        body.done();
        this.#receiver.pong(id);
        return;
      case GOAWAY: {
        const code = body.text(body.u8(), "GOAWAY code");
        const text = body.text(body.u16(), "GOAWAY text");
        body.done();
        const last = (flags & FLAG_NONE) !== 0 ? undefined : id;
        this.#receiver.goaway(last, code, text);
        return;
      }
      case HELLO:
        this.#greet(bytes, start, end);
        return;
      default:
        if (this.#lastKind !== STREAM) throw notAgreed(`frame kind ${kind}`);
        this.#streamFrame(kind, flags, id);
    }
  }

  #streamFrame(kind: number, flags: number, id: number): void {
    const { owned } = this.#decoder;
    const streams = this.#receiver.streams();
    readStreamFrame(streams, kind, flags, id, this.#body, owned);
  }

  value(): unknown {
    const { kind, bytes, at, end } = this.#body;
    const { serializer } = this.#settings;
    return decodePayload(kind, bytes, at, end, serializer, this.#decoder.owned);
  }

  keep(): Opaque {
    const { kind, bytes, at, end } = this.#body;
    const own = ownBytes(bytes, at, end, this.#decoder.owned);
    const kept: KeptPayload = { kind, bytes: own };
    return kept;
  }

  open(kept: Opaque): unknown {
    const { kind, bytes } = kept as KeptPayload;
    const { serializer } = this.#settings;
    return decodePayload(kind, bytes, 0, bytes.length, serializer, true);
  }

  // Messages out.

  prepare(value: unknown, transfer: boolean): void {
    this.#payload.prepare(value, transfer);
  }

  save(): Opaque {
    return this.#payload.save();
  }

  load(draft: Opaque): void {
    this.#payload.load(draft as Draft);
  }

  requestSize(method: string, timed: boolean, metadata?: Metadata): number {
    if (method !== this.#method) this.#encodeMethod(method);
    let size = HEADER_SIZE + this.#methodSize + 1 + this.#payload.size;
    if (timed) size += 4;
    if (metadata !== undefined) size += 2 + metadataSize(metadata);
    return size;
  }

  replySize(metadata?: Metadata): number {
    const size = 1 + this.#payload.size;
    return metadata === undefined ? size : size + 2 + metadataSize(metadata);
  }

  hello(outbox: Outbox): void {
    const { hello, serializer } = this.#settings;
    const body = encodeHello(hello, serializer?.name);
    const size = HEADER_SIZE + body.length;
    const at = this.#frames.bare(outbox, size, HELLO, 0, 0);
    outbox.bytes.set(body, at);
  }

  request(
    outbox: Outbox,
    id: number,
    method: string,
    remaining: number,
    metadata: Metadata | undefined,
  ): void {
    const timed = remaining >= 0;
    const size = this.requestSize(method, timed, metadata);
    const flags = (timed ? FLAG_DEADLINE : 0) |
      (metadata !== undefined ? FLAG_METADATA : 0);
    let at = this.#frames.loaded(outbox, size, REQUEST, flags, id);
    const { bytes } = outbox;
    if (timed) at = writeU32(bytes, at, remaining);
    if (metadata !== undefined) at = writeMetadata(bytes, at, metadata);
    copyWords(this.#methodView, this.#methodSize, outbox.view, at);
    this.#frames.finish(outbox, at + this.#methodSize);
  }

  reply(outbox: Outbox, id: number, metadata?: Metadata): void {
    const size = HEADER_SIZE + this.replySize(metadata);
    const flags = metadata === undefined ? 0 : FLAG_METADATA;
    let at = this.#frames.loaded(outbox, size, REPLY, flags, id);
    if (metadata !== undefined) at = writeMetadata(outbox.bytes, at, metadata);
    this.#frames.finish(outbox, at);
  }

  failure(
    outbox: Outbox,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
    metadata?: Metadata,
  ): void {
    const words = new Words(code, message);
    let fixed = words.size + 1;
    if (metadata !== undefined) {
      const more = 2 + metadataSize(metadata);
      if (fixed + more > maxMessage) metadata = undefined;
      else fixed += more;
    }
    if (fixed + this.#payload.size > maxMessage) {
      this.#payload.prepare(undefined, false);
    }
    const size = HEADER_SIZE + fixed + this.#payload.size;
    const flags = (started ? FLAG_STARTED : 0) |
      (metadata !== undefined ? FLAG_METADATA : 0);
    let at = this.#frames.loaded(outbox, size, ERROR, flags, id);
    if (metadata !== undefined) at = writeMetadata(outbox.bytes, at, metadata);
    this.#frames.finish(outbox, words.write(outbox.bytes, at));
  }

  cancel(outbox: Outbox, id: number): void {
    const at = outbox.reserveUrgent(HEADER_SIZE);
    writeHeader(outbox.urgentBytes, at, 0, CANCEL, 0, id);
  }

  ping(outbox: Outbox, id: number): void {
    this.#frames.bare(outbox, HEADER_SIZE, PING, 0, id);
  }

  pong(outbox: Outbox, id: number): void {
    const at = outbox.reserveUrgent(HEADER_SIZE);
    writeHeader(outbox.urgentBytes, at, 0, PONG, 0, id);
  }

  goaway(
    outbox: Outbox,
    lastId: number | undefined,
    code: string,
    text: string,
  ): void {
    const words = new Words(code, text);
    const size = HEADER_SIZE + words.size;
    const flags = lastId === undefined ? FLAG_NONE : 0;
    const at = this.#frames.bare(outbox, size, GOAWAY, flags, lastId ?? 0);
    words.write(outbox.bytes, at);
  }

  retract(outbox: Outbox, place: number): boolean {
    // The kind alone: a PAD's flags and id are ignored, so the rest may stay.
    outbox.overwrite(place, 4, PAD);
    return true;
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

  // Opening.

  #greet(bytes: Uint8Array, start: number, end: number): void {
    if (this.#greeted) {
      throw new ConnectionError("protocol_error", "a second HELLO");
    }
    const hello = parseHello(
      bytes.subarray(start, end),
      this.#settings.serializer?.name,
    );
    this.#greeted = true;
    this.#first = NO_BYTES;
    this.#peerStreams = hello.streams !== undefined;
    if (this.#settings.guarded) this.#decoder.maxBody = EARLY_MESSAGE;
    else this.admit();
    this.#receiver.hello(hello);
  }

  /** Of a peer that has been told nothing yet no more than the constants is taken. */
  admit(): void {
    const { maxMessage } = this.#settings.hello;
    this.#decoder.maxBody = Math.max(maxMessage, EARLY_MESSAGE);
    if (this.#peerStreams) this.#lastKind = STREAM;
  }

  #rememberFirst(chunk: Uint8Array, at: number): void {
    const room = HEADER_SIZE - this.#firstFill;
    const part = chunk.subarray(at, at + room);
    this.#first.set(part, this.#firstFill);
    this.#firstFill += part.length;
  }

  /** The error for a stream that broke the rules before its HELLO: if its first bytes cannot be a HELLO's, says what they look like. */
  #nameStranger(error: unknown): unknown {
    const first = this.#first.subarray(0, this.#firstFill);
    const short = first.length >= 4 && readU32(first, 0) <= 0xffff;
    if (short || first.length < 4) return error;
    return new ConnectionError(
      "not_sluice",
      `the peer does not speak Sluice; it sent ${looksLike(first)}`,
      { cause: error },
    );
  }
}
