/**
 * The codec of Go's `net/rpc`, which uses gob. Each direction is one gob stream.
 * Each call and each reply is two values of it, a header and a body.
 *
 * Order: the body is prepared first, with all type definitions that it needs,
 * and then written by one `request` or `reply`. Preparing a body runs a user's
 * getters, which may make another call, so one buffer is in use for one body at
 * a time.
 *
 * @module
 */

import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { RpcError } from "../base/errors.ts";
import { references } from "../base/references.ts";
import { isInstanceOf } from "../base/user_code.ts";
import { isShortAscii, readText, writeAscii } from "../base/utf8.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { CodecSettings, MessageHandler } from "../wire/codec.ts";
import { GoCodec, type GoSettings } from "./go_codec.ts";
import { tooLarge, tooLargeText } from "./go_errors.ts";
import { GobDecoder } from "./gob/decoder.ts";
import { GobEncoder, type RegisteredTypes } from "./gob/encoder.ts";
import type { GobInput } from "./gob/input.ts";
import { GobOutput, uintSize, writeUint } from "./gob/output.ts";
import { type GobType, string, struct, uint } from "./gob/schema.ts";
import { MessageSplitter } from "./gob/splitter.ts";
import type { LocalType } from "./gob/value_reader.ts";
import { GobError } from "./gob/values.ts";
import { STRING, UINT, type WireTypes } from "./gob/wire_types.ts";
import type { MethodTypes } from "./methods.ts";

/** The settings of the gob codec. */
export interface GobSettings extends GoSettings {
  readonly methods: MethodTypes;
  readonly registered: RegisteredTypes;
}

/** A body that is decoded later. */
interface RetainedBody {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly local: LocalType;
}

/** Bodies of at least this many bytes are attached to the batch instead of copied into it. */
const ATTACH_SIZE = 16 * 1024;
/** The largest size of a header without the name of the method: lengths, type and Seq. */
const HEADER_OVERHEAD = 24;
/** The number of methods for which the beginning of the header is kept. */
const MAX_HEADER_STARTS = 256;
/** The largest Seq that a client here sends. */
const MAX_SEQ = 0xffffffff;

/** The codec of one connection. */
export class GobCodec extends GoCodec<number> {
  readonly #methods: MethodTypes;
  readonly #splitter: MessageSplitter;
  readonly #decoder: GobDecoder;
  readonly #encoder: GobEncoder;
  readonly #header: HeaderReader;
  readonly #body: GobBody;
  /** The size of the header that has been read, while its body is awaited; else 0. */
  #headerSize = 0;
  #budget = 0;
  /** The beginning of the header for each method: its type and the method. */
  readonly #headerStarts = new Map<string, Uint8Array>();
  readonly #headerType: GobType;

  constructor(
    handler: MessageHandler,
    settings: CodecSettings,
    { methods, registered, limits, window }: GobSettings,
  ) {
    super(handler, settings, window);
    const { maxMessage } = settings.limits;
    this.#methods = methods;
    this.#splitter = new MessageSplitter(this, maxMessage);
    this.#decoder = new GobDecoder(limits, maxMessage, registered);
    this.#encoder = new GobEncoder(registered, limits.maxDepth);
    this.#header = new HeaderReader(this.#decoder.types);
    this.#body = new GobBody(this.#encoder);
    this.#headerType = this.serves ? RESPONSE : REQUEST;
    // Its definition goes first, as Go sends it.
    this.#encoder.writer(this.#headerType);
  }

  // Reading.

  protected read(chunk: Uint8Array, at: number, budget: number): number {
    this.#budget = budget;
    this.#splitter.stopped = false;
    try {
      return this.#splitter.push(chunk, at);
    } finally {
      this.#decoder.release();
    }
  }

  /**
   * The first message defines the type of the header. It is short, and begins
   * with a negative id, whose first byte is 0x7f or more. Text does not begin
   * so; without this check, its first byte would count as the length of a
   * message to wait for.
   */
  protected isForeign(first: Uint8Array): boolean {
    return first.length > 1 && first[0] < 0x80 && first[1] < 0x7f;
  }

  protected get insideMessage(): boolean {
    return this.#splitter.insideMessage || this.#decoder.insideValue ||
      this.#headerSize > 0;
  }

  get unfinishedBytes(): number {
    return this.#splitter.bufferedBytes;
  }

  override stop(): void {
    super.stop();
    this.#splitter.stop();
  }

  mayRead(bytes: number): boolean {
    return this.handler.mayRead(bytes);
  }

  /** Called with each message: a type definition, a header, a body, or a part of one of them. */
  message(bytes: Uint8Array, start: number, end: number): void {
    const decoder = this.#decoder;
    if (!decoder.addMessage(bytes, start, end)) return;
    const size = decoder.end - decoder.start;
    if (this.#headerSize === 0) {
      this.#header.read(decoder.id, decoder.input());
      this.#headerSize = size;
      this.recognized = true;
      return;
    }
    const { method, seq, error } = this.#header;
    const whole = this.#headerSize + size;
    this.#headerSize = 0;
    if (this.serves) this.deliverRequest(method, seq, whole);
    // Like Go's client, ignore a reply with a Seq that was never sent.
    else if (seq <= MAX_SEQ) {
      this.deliverReply((seq + 1) >>> 0, method, error);
    }
    if (--this.#budget <= 0 || this.stopped || this.handler.full()) {
      this.#splitter.stopped = true;
    }
  }

  /** Called for a message that is too large. If it is a body, only its call fails. */
  tooLarge(length: number): void {
    const { maxMessage } = this.settings.limits;
    const size = this.#headerSize;
    // The first message of Go's protocol is short.
    if (!this.recognized) {
      throw new GobError(`the first message has ${length} bytes`);
    }
    if (size === 0 || this.#decoder.insideValue) {
      throw tooLarge("a message", length, maxMessage);
    }
    const { method, seq, error } = this.#header;
    this.#headerSize = 0;
    if (this.serves) {
      const text = tooLargeText("an argument", length, maxMessage);
      this.deliverOversizedRequest(method, seq, size, text);
    } else if (seq <= MAX_SEQ) {
      const id = (seq + 1) >>> 0;
      const text = tooLargeText("a reply", length, maxMessage);
      if (error !== "") this.deliverReply(id, method, error);
      else this.deliverOversizedReply(id, true, text);
    }
  }

  value(): unknown {
    if (this.oversizedText !== "") this.rejectOversized(this.oversizedText);
    // The body of an error is an empty struct.
    if (!this.serves && this.#header.error !== "") return undefined;
    const { id, bytes, start, end } = this.#decoder;
    return this.#read(id, bytes, start, end, this.#localType());
  }

  retain(): unknown {
    if (this.oversizedText !== "") return this.oversizedText;
    const { id, bytes, start, end } = this.#decoder;
    const body: RetainedBody = {
      type: id,
      bytes: copyBytes(bytes, start, end),
      local: this.#localType(),
    };
    return body;
  }

  decodeRetained(retained: unknown): unknown {
    if (typeof retained === "string") this.rejectOversized(retained);
    const { type, bytes, local } = retained as RetainedBody;
    return this.#read(type, bytes, 0, bytes.length, local);
  }

  /** Nothing is reserved: the decoder itself bounds the memory of values by the bytes received. */
  decodedSize(): number {
    return 0;
  }

  #read(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    local: LocalType,
  ): unknown {
    try {
      return this.#decoder.read(id, bytes, start, end, local);
    } catch (error) {
      if (this.serves) this.paramsError = `gob: ${(error as Error).message}`;
      throw error;
    }
  }

  #localType(): LocalType {
    const types = this.#methods.get(this.#header.method);
    return this.serves ? types?.params : types?.result;
  }

  // Writing.

  prepare(value: unknown, _transfer: boolean, method?: string): void {
    if (method === undefined) return this.#body.clear();
    const types = this.#methods.get(method);
    try {
      // Gob has no form for a reference: its call waits for the value.
      const sent = references.blank?.(value) ?? value;
      if (!this.serves && !Object.is(sent, value)) {
        return this.#body.clear();
      }
      // Sent as struct{}, it would end the connection of a Go client that
      // expects another type.
      if (value === null && this.serves && types === undefined) {
        throw new GobError(
          "a result of null does not determine its type; give the method a type",
        );
      }
      this.#body.prepare(value, this.serves ? types?.result : types?.params);
    } catch (cause) {
      const why = isInstanceOf(cause, GobError) ? `: ${cause.message}` : "";
      throw new RpcError(
        "invalid_argument",
        `the value cannot be encoded as gob${why}`,
        { outcome: "not_sent", cause },
      );
    }
  }

  savePrepared(): unknown {
    return this.#body.save();
  }

  restorePrepared(prepared: unknown): void {
    this.#body.restore(prepared);
  }

  replySize(): number {
    return this.#body.size;
  }

  protected callSize(method: string): number {
    return this.#headerStart(method).length + HEADER_OVERHEAD + this.#body.size;
  }

  /** The first id is 1; Go's first Seq is 0. */
  request(sendBuffer: FrameBuffer, id: number, method: string): void {
    this.writeResult(sendBuffer, method, (id - 1) >>> 0);
  }

  /** Writes a header without an error, and the prepared body. A request and a reply differ only in the type of the header. */
  protected writeResult(
    sendBuffer: FrameBuffer,
    method: string,
    seq: number,
  ): void {
    this.#writeDefinitions(sendBuffer);
    const head = this.#headerStart(method);
    const tail = seq === 0 ? 1 : 2 + uintSize(seq);
    const length = head.length + tail;
    const { size } = this.#body;
    const attached = size >= ATTACH_SIZE;
    const room = uintSize(length) + length + uintSize(size);
    let at = attached
      ? sendBuffer.reserve(room, size)
      : sendBuffer.reserve(room + size);
    const { bytes } = sendBuffer;
    at = writeUint(bytes, at, length);
    for (let i = 0; i < head.length; i++) bytes[at++] = head[i];
    if (seq !== 0) {
      // Field numbers count from the previous field; an empty method is left out.
      bytes[at] = method === "" ? 2 : 1;
      at = writeUint(bytes, at + 1, seq);
    }
    bytes[at++] = 0;
    at = writeUint(bytes, at, size);
    if (attached) sendBuffer.attach(this.#body.detach());
    else this.#body.write(bytes, at);
  }

  protected writeError(
    sendBuffer: FrameBuffer,
    method: string,
    seq: number,
    text: string,
  ): void {
    const out = new GobOutput();
    const header = { ServiceMethod: method, Seq: seq, Error: text };
    this.#encoder.encode(out, header, RESPONSE);
    out.prefix(0);
    const body = out.size;
    this.#encoder.encode(out, undefined);
    out.prefix(body);
    this.#writeDefinitions(sendBuffer);
    const at = sendBuffer.reserve(out.size);
    sendBuffer.bytes.set(out.bytes.subarray(0, out.size), at);
  }

  /** Writes the definitions of new types. */
  #writeDefinitions(sendBuffer: FrameBuffer): void {
    const { definitions } = this.#encoder;
    if (definitions === undefined) return;
    const at = sendBuffer.reserve(definitions.length);
    sendBuffer.bytes.set(definitions, at);
    this.#encoder.clearDefinitions();
  }

  /** Returns the beginning of a header: the id of its type, and the method if it is not empty. */
  #headerStart(method: string): Uint8Array {
    const known = this.#headerStarts.get(method);
    if (known !== undefined) return known;
    const out = new GobOutput();
    out.int(this.#encoder.writer(this.#headerType).id);
    if (method !== "") {
      out.byte(1);
      out.text(method);
    }
    const head = out.copy();
    // The peer may call any number of methods that do not exist.
    if (this.#headerStarts.size >= MAX_HEADER_STARTS) {
      this.#headerStarts.clear();
    }
    this.#headerStarts.set(method, head);
    return head;
  }
}

// Headers.

/** Go's `rpc.Request`, the header of a call. */
const REQUEST: GobType = /* @__PURE__ */ struct(
  { ServiceMethod: string, Seq: uint },
  "Request",
);
/** Go's `rpc.Response`, the header of a reply. */
const RESPONSE: GobType = /* @__PURE__ */ struct(
  { ServiceMethod: string, Seq: uint, Error: string },
  "Response",
);

/** The ids of the fields' types. */
const FIELDS: Readonly<Record<string, number>> = {
  ServiceMethod: STRING,
  Seq: UINT,
  Error: STRING,
};

/** The longest method name that is kept for the next header, in bytes. */
const MAX_CACHED_METHOD = 256;

/** Reads headers. Its fields are those of the latest header. */
class HeaderReader {
  method = "";
  seq = 0;
  error = "";

  readonly #types: WireTypes;
  /** The type of the latest header, and the names of its fields by number. */
  #id = -1;
  #names: readonly string[] = [];
  /** The latest method and its bytes: successive calls often have the same one. */
  #cachedMethod = "";
  #cachedBytes: Uint8Array = NO_BYTES;

  constructor(types: WireTypes) {
    this.#types = types;
  }

  /**
   * Reads a header of type `id`.
   *
   * @throws {GobError} If it is not a header.
   */
  read(id: number, input: GobInput): void {
    if (id !== this.#id) this.#checkType(id);
    this.method = "";
    this.seq = 0;
    this.error = "";
    let field = -1;
    for (;;) {
      const delta = input.safeUint();
      if (delta === 0) break;
      field += delta;
      switch (this.#names[field]) {
        case "ServiceMethod":
          this.method = this.#readMethod(input);
          break;
        case "Seq":
          this.seq = input.safeUint();
          break;
        case "Error":
          this.error = input.text();
          break;
        default:
          throw new GobError(`a header has an unknown field ${field}`);
      }
    }
    input.expectEnd();
  }

  /** Checks that a type is that of a header, and keeps the names of its fields. */
  #checkType(id: number): void {
    const type = this.#types.get(id);
    const fields = type.kind === "struct" ? type.fields : [];
    const isHeader = fields.length > 0 &&
      fields.every(({ name, id }) =>
        Object.hasOwn(FIELDS, name) && FIELDS[name] === id
      );
    if (!isHeader) {
      throw new GobError(
        `expected a header of net/rpc, received type ${this.#types.name(id)}`,
      );
    }
    this.#names = fields.map(({ name }) => name);
    this.#id = id;
  }

  #readMethod(input: GobInput): string {
    const n = input.length();
    const { bytes, at } = input;
    input.at = at + n;
    const last = this.#cachedBytes;
    if (n === last.length && isSame(bytes, at, last)) return this.#cachedMethod;
    let name: string;
    try {
      name = readText(bytes, at, at + n);
    } catch (cause) {
      throw new GobError("the name of a method is not valid UTF-8", { cause });
    }
    if (n > MAX_CACHED_METHOD) return name;
    this.#cachedMethod = name;
    this.#cachedBytes = new Uint8Array(bytes.subarray(at, at + n));
    return name;
  }
}

function isSame(bytes: Uint8Array, at: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) {
    if (bytes[at + i] !== other[i]) return false;
  }
  return true;
}

// Bodies.

/** The id of the type string, as gob writes it. */
const STRING_ID = STRING * 2;

/** Prepares one body at a time, saves and restores it, and writes it once. */
class GobBody {
  /** The size of the prepared body, in bytes. */
  size = 0;
  readonly #encoder: GobEncoder;
  // The prepared body is one of these three.
  /** A short ASCII string, written without a buffer of its own. */
  #text: string | undefined;
  #output: GobOutput | undefined;
  /** A body that was saved and restored. */
  #saved: Uint8Array | undefined;
  /** A buffer for the next body. */
  #spare: GobOutput | undefined;

  constructor(encoder: GobEncoder) {
    this.#encoder = encoder;
  }

  /**
   * Prepares a value.
   *
   * @throws {GobError} If gob cannot represent it, or it is not of the type.
   */
  prepare(value: unknown, type: GobType | undefined): void {
    const plain = typeof value === "string" &&
      (type === undefined || type.kind === "string");
    if (plain && isShortAscii(value)) {
      this.clear();
      this.#text = value;
      this.size = 3 + value.length;
      return;
    }
    const output = this.#spare ?? new GobOutput();
    this.#spare = undefined;
    this.#encoder.encode(output, value, type);
    this.clear();
    this.#output = output;
    this.size = output.size;
  }

  /** Returns the prepared body, for a call that is written later. */
  save(): string | Uint8Array {
    const saved = this.#text ?? this.#saved ?? this.#output!.copy();
    this.clear();
    return saved;
  }

  /** Prepares again what `save` returned. */
  restore(saved: unknown): void {
    this.clear();
    if (typeof saved === "string") {
      this.#text = saved;
      this.size = 3 + saved.length;
    } else {
      this.#saved = saved as Uint8Array;
      this.size = this.#saved.length;
    }
  }

  /** Writes the body at `at` and drops it. */
  write(target: Uint8Array, at: number): void {
    const text = this.#text;
    if (text === undefined) target.set(this.#bytes(), at);
    else {
      target[at] = STRING_ID;
      target[at + 1] = 0;
      target[at + 2] = text.length;
      writeAscii(text, target, at + 3);
    }
    this.clear();
  }

  /** Returns the bytes of the body, which belong to the caller from then on. */
  detach(): Uint8Array {
    const bytes = this.#bytes();
    // The buffer must not be used again.
    this.#output = undefined;
    this.clear();
    return bytes;
  }

  /** Drops the prepared body. */
  clear(): void {
    const output = this.#output;
    if (output !== undefined) {
      output.clear();
      this.#spare = output;
    }
    this.#text = undefined;
    this.#output = undefined;
    this.#saved = undefined;
    this.size = 0;
  }

  #bytes(): Uint8Array {
    if (this.#saved !== undefined) return this.#saved;
    const output = this.#output;
    return output === undefined
      ? NO_BYTES
      : output.bytes.subarray(0, output.size);
  }
}
