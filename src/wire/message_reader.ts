/**
 * The incoming half of the native protocol: frames to messages.
 * `docs/protocol.md` is normative for every layout here.
 *
 * Invariants owned here:
 * - A body is exactly as long as its layout. One that is longer, shorter or
 *   unreadable ends the connection before its message is delivered.
 * - No message is delivered before the peer's HELLO, except a GOAWAY that comes
 *   in its place, and no REQUEST after its LAST.
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
  FragmentSource,
  MessageAssembler,
  MessageHandler,
  RequestLinks,
  StreamFrameHandler,
} from "./codec.ts";
import { FieldReader } from "./fields.ts";
import {
  CANCEL,
  ERROR,
  FLAG_ACK,
  FLAG_ALL,
  FLAG_BODY,
  FLAG_DEADLINE,
  FLAG_KEEP,
  FLAG_NONE,
  FLAG_REFS,
  FLAG_STARTED,
  FLAG_URGENT,
  FLAG_WARNING,
  FRAGMENT,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  LAST,
  PING,
  PONG,
  RELEASE,
  REPLY,
  REQUEST,
  WINDOW,
} from "./frame.ts";
import {
  checkHelloBits,
  FrameDecoder,
  type FrameHandler,
} from "./frame_decoder.ts";
import { checkVersion, parseHello } from "./hello.ts";
import { decodedJsonSize } from "./values/json_size.ts";
import { decodePayload, ownBytes, type PayloadView } from "./values/payload.ts";
import {
  CUSTOM,
  EARLY_MESSAGE,
  JSON_TEXT,
  MAX_HELLO,
  STREAM,
} from "./protocol.ts";
import { agree, type SerializerAgreement } from "./values/serializers.ts";

/** What the peer may send: before its HELLO, then everything, after its LAST no REQUEST. */
const GREETING = 0;
const OPEN = 1;
const NO_REQUESTS = 2;

/** Reads the messages of one connection. */
export class MessageReader implements FrameHandler, FragmentSource {
  /** Bytes of the latest frame, header included. */
  receivedSize = 0;
  /** Whether the latest request is urgent. */
  urgent = false;
  // As getters over the frame, these two cost a plain call a tenth of its time.
  opensStream = false;
  hasBody = false;
  /** Puts messages together; undefined unless both sides have the capability for fragments. */
  protected fragments: MessageAssembler | undefined;
  protected readonly settings: CodecSettings;
  protected readonly agreement: SerializerAgreement;
  readonly #handler: MessageHandler;
  readonly decoder: FrameDecoder;
  /** The body of the frame that is being delivered; then it stands at the payload. */
  readonly #body = new FieldReader();
  /** The first bytes, at most as many as a header has. */
  #first: number[] = [];
  #phase = GREETING;
  #peerStreams = false;
  /** The last payload kind that a value may have. */
  #lastKind = CUSTOM;

  constructor(handler: MessageHandler, settings: CodecSettings) {
    this.#handler = handler;
    this.settings = settings;
    const own = settings.serializer as SerializerAgreement["sender"];
    this.agreement = { sender: own, receiver: own };
    this.decoder = new FrameDecoder(this, MAX_HELLO);
  }

  decode(chunk: Uint8Array, at: number, budget: number): number {
    if (this.#phase === GREETING) {
      const missing = HEADER_SIZE - this.#first.length;
      this.#first.push(...chunk.subarray(at, at + missing));
    }
    try {
      const to = this.decoder.push(chunk, at, budget);
      return this.decoder.stopped ? chunk.length : to;
    } catch (error) {
      throw this.#explain(error);
    } finally {
      this.#body.release();
    }
  }

  end(): void {
    try {
      this.decoder.end();
      this.fragments?.end();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  get unfinished(): number | undefined {
    const { unfinished = Infinity } = this.decoder;
    const oldest = Math.min(unfinished, this.fragments?.since ?? Infinity);
    return oldest === Infinity ? undefined : oldest;
  }

  get unfinishedBytes(): number {
    return this.decoder.unfinishedBytes + (this.fragments?.filled ?? 0);
  }

  stop(): void {
    this.decoder.stop();
    this.fragments?.clear();
  }

  /** Until then no body may be larger than before HELLO, and no frame of a stream is read. */
  onPeerAuthorized(): void {
    const { hello, streams } = this.settings;
    this.decoder.maxBody = Math.max(hello.maxMessage, EARLY_MESSAGE);
    if (this.#peerStreams && streams !== undefined) this.#lastKind = STREAM;
  }

  value(): unknown {
    const { receiver } = this.agreement;
    return decodePayload(this.#body, receiver, this.decoder.owned);
  }

  retain(): unknown {
    const { kind, bytes, at, end } = this.#body;
    const own = at === end
      ? NO_BYTES
      : ownBytes(bytes, at, end, this.decoder.owned);
    const retained: PayloadView = { kind, bytes: own, at: 0, end: own.length };
    return retained;
  }

  decodeRetained(retained: unknown): unknown {
    return decodePayload(
      retained as PayloadView,
      this.agreement.receiver,
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
    // Of fragments only a whole message is parsed.
    const size = kind === FRAGMENT
      ? this.fragments?.parsedSize(bytes, flags)
      : bytes;
    return size === undefined || this.#handler.mayRead(size);
  }

  inParts(bytes: number, flags: number): boolean {
    return this.fragments?.inParts(bytes, flags) === true;
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
    if (this.#phase !== OPEN) this.#checkOrder(kind);
    switch (kind) {
      case REQUEST: {
        this.urgent = (flags & FLAG_URGENT) !== 0;
        const remaining = (flags & FLAG_DEADLINE) !== 0 ? body.u32() : -1;
        const metadata = body.metadata(flags);
        const links = (flags & (FLAG_KEEP | FLAG_REFS)) === 0
          ? undefined
          : this.#links(flags);
        const method = body.method();
        this.#payload(body, flags);
        handler.onRequest(id, method, size, remaining, metadata, links);
        return;
      }
      case REPLY: {
        const metadata = body.metadata(flags);
        this.#payload(body, flags);
        handler.onReply(id, metadata);
        return;
      }
      default:
        this.#rareFrame(kind, flags, id);
    }
  }

  /** All frames but requests and replies. Apart, so that `frame` is small enough to be compiled well. */
  #rareFrame(kind: number, flags: number, id: number): void {
    const body = this.#body;
    const handler = this.#handler;
    switch (kind) {
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
        if (flags > FLAG_WARNING || flags === FLAG_WARNING && code !== "") {
          protocolError("a warning with NONE or a code");
        }
        // After a code nothing follows, so nothing is completed.
        if (code !== "" && this.fragments?.clear()) handler.onRequestAborted();
        const lastId = flags === FLAG_NONE ? undefined : id;
        handler.onGoaway(
          flags === FLAG_WARNING ? Infinity : lastId,
          code,
          text,
        );
        return;
      }
      case LAST:
        body.done();
        this.#phase = NO_REQUESTS;
        handler.onLast((flags & FLAG_ALL) !== 0);
        return;
      case WINDOW: {
        const window = { windowCalls: body.u32(), windowBytes: body.u32() };
        body.done();
        handler.onWindow(id, window, (flags & FLAG_ACK) !== 0);
        return;
      }
      case HELLO:
        this.#onHello(flags);
        return;
      case RELEASE:
        this.#links(0);
        body.done();
        handler.onRelease(id);
        return;
      case FRAGMENT:
        this.#fragment(flags, id);
        return;
      default:
        this.#streamFrame(kind, flags, id);
    }
  }

  #checkOrder(kind: number): void {
    const late = this.#phase === NO_REQUESTS;
    if (late ? kind !== REQUEST : kind === HELLO || kind === GOAWAY) return;
    protocolError(
      `frame kind ${kind} came ${late ? "after LAST" : "before HELLO"}`,
    );
  }

  /** The value of a request or a reply: a stream only where streams are, and none beside a body. */
  #payload(body: FieldReader, flags: number): void {
    const hasBody = (flags & FLAG_BODY) !== 0;
    if (hasBody) this.#needStreams("a body");
    body.payload(hasBody ? CUSTOM : this.#lastKind);
    this.hasBody = hasBody;
    this.opensStream = hasBody || body.kind === STREAM;
  }

  #needStreams(what: string): void {
    if (this.#lastKind === STREAM) return;
    protocolError(`${what} needs the capability for streams of both sides`);
  }

  #onHello(flags: number): void {
    const { authorizesPeer, serializer, hello: own } = this.settings;
    if (this.#phase !== GREETING) protocolError("a second HELLO");
    // A later version may have flags of its own.
    if (!checkVersion(this.#body)) checkHelloBits(flags);
    const hello = parseHello(this.#body);
    Object.assign(
      this.agreement,
      agree(serializer, own.serializers, hello.serializers),
    );
    this.#phase = OPEN;
    this.#first = [];
    this.#peerStreams = hello.streams !== undefined;
    if (hello.fragments) this.fragments = this.settings.fragments?.reader();
    if (authorizesPeer) this.decoder.maxBody = EARLY_MESSAGE;
    else this.onPeerAuthorized();
    this.#handler.onHello(hello);
  }

  /** Reads what a REQUEST has to do with other calls. Checks that this side has stated the capability. */
  #links(flags: number): RequestLinks {
    const { settings } = this;
    return (settings.readLinks ?? noLinks)(this.#body, flags, settings);
  }

  #fragment(flags: number, id: number): void {
    const { fragments } = this;
    if (fragments === undefined) {
      protocolError("a fragment needs the capability for them of both sides");
    }
    fragments.read(flags, id, this.#body, this, this.#handler);
  }

  #streamFrame(kind: number, flags: number, id: number): void {
    this.#needStreams(`frame kind ${kind}`);
    this.settings.streams?.read(
      this.#handler.streams() as StreamFrameHandler,
      kind,
      flags,
      id,
      this.#body,
      this.decoder.owned,
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

function noLinks(): never {
  protocolError("this side keeps no results for dependent calls");
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
