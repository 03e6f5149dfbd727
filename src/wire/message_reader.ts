/**
 * The incoming half of the native protocol: frames to messages.
 * `docs/protocol.md` is normative for every layout here.
 *
 * Invariants owned here:
 * - A body is exactly as long as its layout. One that is longer, shorter or
 *   unreadable ends the connection before its message is delivered.
 * - No message is delivered before the peer's HELLO, except a GOAWAY that comes
 *   in its place.
 * - Frames of streams are read only from a peer that has been authorized, and
 *   only if both sides have the capability.
 * - A message that arrives in fragments is delivered like one that arrives
 *   whole. The handler is notified when such a request begins, from its header.
 * - The first bytes are kept until the peer's HELLO has been read, to name
 *   another protocol that the peer speaks; no longer.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import { ConnectionError, protocolError, quote } from "../base/errors.ts";
import type {
  CodecSettings,
  MessageHandler,
  StreamFrameHandler,
} from "./codec.ts";
import { FieldReader } from "./fields.ts";
import { FragmentReader, sizeOf } from "./fragments/fragment_reader.ts";
import {
  CANCEL,
  ERROR,
  FLAG_ABORT,
  FLAG_DEADLINE,
  FLAG_NONE,
  FLAG_STARTED,
  FLAG_URGENT,
  FRAGMENT,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  PING,
  PONG,
  REPLY,
  REQUEST,
} from "./frame.ts";
import {
  checkHelloBits,
  FrameDecoder,
  type FrameHandler,
} from "./frame_decoder.ts";
import { checkVersion, parseHello } from "./hello.ts";
import { decodedJsonSize } from "./json_size.ts";
import { decodePayload, ownBytes, type PayloadView } from "./payload.ts";
import {
  CUSTOM,
  EARLY_MESSAGE,
  JSON_TEXT,
  MAX_HELLO,
  MAX_WHOLE,
  STREAM,
} from "./protocol.ts";

/** Reads the messages of one connection. */
export class MessageReader implements FrameHandler {
  /** Bytes of the latest frame, header included. */
  receivedSize = 0;
  /** Whether the latest request is urgent. */
  urgent = false;
  /** Whether the peer reads messages in fragments, and may send some. */
  protected peerFragments = false;
  protected readonly settings: CodecSettings;
  readonly #handler: MessageHandler;
  readonly #decoder: FrameDecoder;
  /** The body of the frame that is being delivered; then it stands at the payload. */
  readonly #body = new FieldReader();
  readonly #fragments = new FragmentReader();
  /** The first bytes, at most as many as a header has. */
  #first: number[] = [];
  #helloReceived = false;
  #peerStreams = false;
  /** The last payload kind that a value may have. */
  #lastKind = CUSTOM;

  constructor(handler: MessageHandler, settings: CodecSettings) {
    this.#handler = handler;
    this.settings = settings;
    this.#decoder = new FrameDecoder(this, MAX_HELLO);
  }

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (!this.#helloReceived) {
      const missing = HEADER_SIZE - this.#first.length;
      this.#first.push(...chunk.subarray(at, at + missing));
    }
    try {
      return this.#decoder.push(chunk, at, budget);
    } catch (error) {
      throw this.#explain(error);
    } finally {
      this.#body.release();
    }
  }

  end(): void {
    try {
      this.#decoder.end();
      this.#fragments.end();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  get unfinished(): number | undefined {
    const { unfinished = Infinity } = this.#decoder;
    const oldest = Math.min(unfinished, this.#fragments.since);
    return oldest === Infinity ? undefined : oldest;
  }

  get unfinishedBytes(): number {
    return this.#decoder.unfinishedBytes + this.#fragments.filled;
  }

  stop(): void {
    this.#decoder.stop();
    this.#fragments.clear();
  }

  /** Until then no body may be larger than before HELLO, and no frame of a stream is read. */
  onPeerAuthorized(): void {
    const { hello, streams } = this.settings;
    this.#decoder.maxBody = Math.max(hello.maxMessage, EARLY_MESSAGE);
    if (this.#peerStreams && streams !== undefined) this.#lastKind = STREAM;
  }

  get valueIsStream(): boolean {
    return this.#body.kind === STREAM;
  }

  value(): unknown {
    const { serializer } = this.settings;
    return decodePayload(this.#body, serializer, this.#decoder.owned);
  }

  retain(): unknown {
    const { kind, bytes, at, end } = this.#body;
    const own = at === end
      ? NO_BYTES
      : ownBytes(bytes, at, end, this.#decoder.owned);
    const retained: PayloadView = { kind, bytes: own, at: 0, end: own.length };
    return retained;
  }

  decodeRetained(retained: unknown): unknown {
    return decodePayload(
      retained as PayloadView,
      this.settings.serializer,
      true,
    );
  }

  decodedSize(retained: unknown): number {
    const payload = retained as PayloadView | undefined ?? this.#body;
    return payload.kind === JSON_TEXT
      ? decodedJsonSize(payload.bytes, payload.at, payload.end)
      : 0;
  }

  // What the decoder calls.

  mayRead(bytes: number, kind: number, flags: number): boolean {
    if (kind === FRAGMENT) {
      // Only a whole message is parsed.
      const message = this.#fragments.place(flags);
      const parsed = (flags & FLAG_ABORT) === 0 && message.isLast(bytes);
      if (!parsed) return true;
      bytes = message.length;
    }
    return this.#handler.mayRead(bytes);
  }

  inParts(bytes: number, flags: number): boolean {
    // Not where it could be a fault as a whole, or be the end of its message.
    return bytes <= MAX_WHOLE && (flags & FLAG_ABORT) === 0 &&
      !this.#fragments.place(flags).isLast(bytes);
  }

  frame(
    kind: number,
    flags: number,
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const body = this.#body;
    const handler = this.#handler;
    body.open(bytes, start, end);
    const size = this.receivedSize = end - start + HEADER_SIZE;
    if (!this.#helloReceived && kind !== HELLO && kind !== GOAWAY) {
      protocolError(`frame kind ${kind} came before HELLO`);
    }
    switch (kind) {
      case REQUEST: {
        this.urgent = (flags & FLAG_URGENT) !== 0;
        const remaining = (flags & FLAG_DEADLINE) !== 0 ? body.u32() : -1;
        const metadata = body.metadata(flags);
        const method = body.method();
        body.payload(this.#lastKind);
        handler.onRequest(id, method, size, remaining, metadata);
        return;
      }
      case REPLY: {
        const metadata = body.metadata(flags);
        body.payload(this.#lastKind);
        handler.onReply(id, metadata);
        return;
      }
      case ERROR: {
        const metadata = body.metadata(flags);
        const code = body.text(body.u8());
        const message = body.text(body.u16());
        body.payload();
        const started = (flags & FLAG_STARTED) !== 0;
        handler.onFailure(id, started, code, message, metadata);
        return;
      }
      case CANCEL:
        body.done();
        handler.onCancel(id);
        return;
      case PING:
        body.done();
        handler.onPing(id);
        return;
      case PONG:
        body.done();
        handler.onPong(id);
        return;
      case GOAWAY: {
        const code = body.text(body.u8());
        const text = body.text(body.u16());
        body.done();
        const lastId = (flags & FLAG_NONE) !== 0 ? undefined : id;
        // After a code nothing follows, so nothing is completed.
        if (code !== "" && this.#fragments.clear()) handler.onRequestAborted();
        handler.onGoaway(lastId, code, text);
        return;
      }
      case HELLO:
        this.#onHello(flags);
        return;
      case FRAGMENT:
        this.#fragment(flags, id);
        return;
      default:
        this.#streamFrame(kind, flags, id);
    }
  }

  #onHello(flags: number): void {
    const { serializer, authorizesPeer } = this.settings;
    if (this.#helloReceived) protocolError("a second HELLO");
    // A later version may have flags of its own.
    if (!checkVersion(this.#body)) checkHelloBits(flags);
    const hello = parseHello(this.#body, serializer?.name);
    this.#helloReceived = true;
    this.#first = [];
    this.#peerStreams = hello.streams !== undefined;
    this.peerFragments = hello.fragments === true;
    if (authorizesPeer) this.#decoder.maxBody = EARLY_MESSAGE;
    else this.onPeerAuthorized();
    this.#handler.onHello(hello);
  }

  #fragment(flags: number, id: number): void {
    if (!this.peerFragments) {
      protocolError("a fragment of a peer without the capability for them");
    }
    const decoder = this.#decoder;
    const { maxBody, counters: { headers } } = decoder;
    const fragments = this.#fragments;
    const message = fragments.take(flags, id, this.#body, maxBody, headers);
    if (message === undefined) return;
    const isRequest = message.kind === REQUEST;
    if ((flags & FLAG_ABORT) !== 0) {
      message.clear();
      if (isRequest) this.#handler.onRequestAborted();
    } else if (message.filled === message.length) {
      if (isRequest) this.#handler.onRequestWhole();
      const body = message.join();
      decoder.owned = true;
      this.frame(message.kind, message.flags, id, body, 0, body.length);
      decoder.owned = false;
    } else if (isRequest) {
      this.urgent = (message.flags & FLAG_URGENT) !== 0;
      this.#handler.onRequestBegun(id, sizeOf(message));
    }
  }

  #streamFrame(kind: number, flags: number, id: number): void {
    if (this.#lastKind !== STREAM) {
      protocolError(
        `frame kind ${kind} needs the capability for streams of both sides`,
      );
    }
    this.settings.streams?.read(
      this.#handler.streams() as StreamFrameHandler,
      kind,
      flags,
      id,
      this.#body,
      this.#decoder.owned,
    );
  }

  /** The error for a fault; if the first bytes cannot be those of a HELLO, it says what they look like. */
  #explain(error: unknown): unknown {
    const first = this.#first;
    if (first.length < 4 || first[0] === 0 && first[1] === 0) return error;
    return new ConnectionError(
      "not_sluice",
      `the peer does not speak Sluice; it sent ${looksLike(first)}`,
      { cause: error },
    );
  }
}

/** The first bytes of a stream, for an error: as text, and the protocol that they look like. */
export function looksLike(first: Iterable<number>): string {
  const text = String.fromCharCode(...first);
  const [name] = Object.entries({
    // deno-lint-ignore no-control-regex
    TLS: /^[\x15\x16]\x03/,
    HTTP: /^(HTTP\/|PRI |CONNECT |[A-Z]+ (\/|\*|http))/i,
    SSH: /^SSH-/,
    JSON: /^\s*[{[]|^Content-Leng/,
  }).find(([, start]) => start.test(text)) ?? ["unknown bytes"];
  return `${quote(text)} (${name})`;
}
