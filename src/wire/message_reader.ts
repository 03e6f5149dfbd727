/**
 * The native wire, inwards: frames to messages. `docs/protocol.md` is normative
 * for every layout here.
 *
 * Invariants owned here:
 * - A body is exactly as long as its layout says: anything longer, shorter or
 *   unreadable ends the connection, before its message is told.
 * - Nothing is told before the peer's HELLO, except a GOAWAY that stands in
 *   its place.
 * - Streams are read only from a peer that has been let in, and knows of them.
 *
 * @module
 */

import type {
  CodecSettings,
  MessageHandler,
  StreamFrameHandler,
} from "./codec.ts";
import { ConnectionError, quote } from "../base/errors.ts";

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
  PING,
  PONG,
  readU32,
  REPLY,
  REQUEST,
} from "./frame.ts";
import {
  checkHelloBits,
  FrameDecoder,
  type FrameHandler,
} from "./frame_decoder.ts";
import { checkVersion, parseHello } from "./hello.ts";
import { CUSTOM, EARLY_MESSAGE, MAX_HELLO, STREAM } from "./protocol.ts";
import { FieldReader } from "./fields.ts";
import { NO_BYTES } from "../base/bytes.ts";

/** Reads what comes by one connection. */
export class MessageReader implements FrameHandler {
  /** Bytes of the answer being told. */
  answerSize = 0;
  /** The body of the message being told; then it stands at the payload. */
  readonly body = new FieldReader();
  readonly decoder: FrameDecoder;
  readonly #receiver: MessageHandler;
  readonly #settings: CodecSettings;
  readonly #first = new ProtocolSniffer();
  #helloReceived = false;
  /** The largest payload kind of a value. */
  #lastKind = CUSTOM;
  #peerStreams = false;

  constructor(receiver: MessageHandler, settings: CodecSettings) {
    this.#receiver = receiver;
    this.#settings = settings;
    this.decoder = new FrameDecoder(this, MAX_HELLO);
  }

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (!this.#helloReceived) this.#first.note(chunk, at);
    try {
      return this.decoder.push(chunk, at, budget);
    } catch (error) {
      throw this.#helloReceived ? error : this.#first.explain(error);
    } finally {
      this.body.release();
    }
  }

  end(): void {
    try {
      this.decoder.end();
    } catch (error) {
      throw this.#helloReceived ? error : this.#first.explain(error);
    }
  }

  get unfinished(): number | undefined {
    return this.decoder.unfinished;
  }

  get unfinishedBytes(): number {
    return this.decoder.unfinishedBytes;
  }

  stop(): void {
    this.decoder.stop();
  }

  mayRead(bytes: number): boolean {
    return this.#receiver.mayRead(bytes);
  }

  frame(
    kind: number,
    flags: number,
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const body = this.body;
    body.open(bytes, start, end);
    if (!this.#helloReceived && kind !== HELLO && kind !== GOAWAY) {
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
        this.#receiver.onRequest(id, method, size, remaining, metadata);
        return;
      }
      case REPLY: {
        this.answerSize = end - start + HEADER_SIZE;
        const metadata = (flags & FLAG_METADATA) !== 0
          ? body.metadata()
          : undefined;
        body.payload(this.#lastKind);
        this.#receiver.onReply(id, metadata);
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
        this.#receiver.onFailure(id, started, code, message, metadata);
        return;
      }
      case CANCEL:
        body.done();
        this.#receiver.onCancel(id);
        return;
      case PING:
        body.done();
        this.#receiver.onPing(id);
        return;
      case PONG:
        body.done();
        this.#receiver.onPong(id);
        return;
      case GOAWAY: {
        const code = body.text(body.u8(), "GOAWAY code");
        const text = body.text(body.u16(), "GOAWAY text");
        body.done();
        const last = (flags & FLAG_NONE) !== 0 ? undefined : id;
        this.#receiver.onGoaway(last, code, text);
        return;
      }
      case HELLO:
        this.#onHello(flags, bytes, start, end);
        return;
      default:
        this.#streamFrame(kind, flags, id);
    }
  }

  #streamFrame(kind: number, flags: number, id: number): void {
    const { streams } = this.#settings;
    if (this.#lastKind !== STREAM || streams === undefined) {
      throw new ConnectionError(
        "protocol_error",
        `frame kind ${kind} needs a capability that was not agreed on`,
      );
    }
    const { owned } = this.decoder;
    const handler = this.#receiver.streams() as StreamFrameHandler;
    streams.read(handler, kind, flags, id, this.body, owned);
  }

  #onHello(flags: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#helloReceived) {
      throw new ConnectionError("protocol_error", "a second HELLO");
    }
    const body = bytes.subarray(start, end);
    checkVersion(body);
    checkHelloBits(flags);
    const hello = parseHello(
      body,
      this.#settings.serializer?.name,
    );
    this.#helloReceived = true;
    this.#first.forget();
    this.#peerStreams = hello.streams !== undefined;
    if (this.#settings.guarded) this.decoder.maxBody = EARLY_MESSAGE;
    else this.admit();
    this.#receiver.onHello(hello);
  }

  /** Of a peer that has been told nothing yet no more than the constants is taken. */
  admit(): void {
    const { maxMessage } = this.#settings.hello;
    this.decoder.maxBody = Math.max(maxMessage, EARLY_MESSAGE);
    if (this.#peerStreams && this.#settings.streams !== undefined) {
      this.#lastKind = STREAM;
    }
  }
}

/** What came first, as many bytes as a frame header has. */
export class ProtocolSniffer {
  #bytes: Uint8Array = new Uint8Array(HEADER_SIZE);
  #fill = 0;

  /** Takes note of a chunk, from `at`. */
  note(chunk: Uint8Array, at: number): void {
    const room = HEADER_SIZE - this.#fill;
    const part = chunk.subarray(at, at + room);
    this.#bytes.set(part, this.#fill);
    this.#fill += part.length;
  }

  /** Lets go of them. */
  forget(): void {
    this.#bytes = NO_BYTES;
  }

  /** The error for a stream that broke the rules before its HELLO: if its first bytes cannot be a HELLO's, says what they look like. */
  explain(error: unknown): unknown {
    const first = this.#bytes.subarray(0, this.#fill);
    const short = first.length >= 4 && readU32(first, 0) <= 0xffff;
    if (short || first.length < 4) return error;
    return new ConnectionError(
      "not_sluice",
      `the peer does not speak Sluice; it sent ${looksLike(first)}`,
      { cause: error },
    );
  }
}

/** What the first bytes of a stream look like. */
export function looksLike(first: Uint8Array): string {
  const text = String.fromCharCode(...first);
  if (first[0] === 0x16 && first[1] === 0x03) return "a TLS ClientHello";
  if (first[0] === 0x15 && first[1] === 0x03) return "a TLS alert";
  if (text.startsWith("PRI * HTTP/2")) return "an HTTP/2 preface";
  if (text.startsWith("HTTP/")) return "an HTTP response";
  if (/^(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) /i.test(text)) {
    return "an HTTP request";
  }
  if (text.startsWith("SSH-")) return "an SSH banner";
  if (text.startsWith("Content-Leng")) {
    return "a Content-Length header (JSON-RPC)";
  }
  if (/^\s*[{[]/.test(text)) return "JSON text";
  return `unknown bytes ${quote(text)}`;
}
