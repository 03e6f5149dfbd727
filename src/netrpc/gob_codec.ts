/**
 * Go's `net/rpc` over gob: each call and each answer is two values of one gob
 * stream, a header and a body.
 *
 * @module
 */

import type { CodecSettings, MessageHandler, Opaque } from "../wire/codec.ts";
import { RpcError } from "../base/errors.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { isA } from "../base/user_code.ts";
import {
  GoCodec,
  type GoSettings,
  tooLarge,
  tooLargeText,
} from "./go_codec.ts";

import { GobDecoder } from "./gob/decoder.ts";
import { GobEncoder, type RegisteredTypes } from "./gob/encoder.ts";
import { GobError } from "./gob/values.ts";
import { GobOutput, uintSize, writeUint } from "./gob/output.ts";
import { type GobType, string, struct, uint } from "./gob/schema.ts";
import { MessageSplitter } from "./gob/splitter.ts";
import type { MethodTypes } from "./methods.ts";
import type { GobInput } from "./gob/input.ts";
import { STRING, UINT, type WireTypes } from "./gob/wire_types.ts";
import { isShortAscii, readText, writeAscii } from "../base/utf8.ts";

/** What a gob wire is made with. */
export interface GobSettings extends GoSettings {
  readonly methods: MethodTypes;
  readonly registered: RegisteredTypes;
}

/** A body that waits to be read. */
interface Kept {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly wanted: GobType<unknown> | undefined;
}

/** Bodies of at least this many bytes are handed over as they are instead of copied into the batch. */
const ATTACH_SIZE = 16 * 1024;
/** What a header takes beside the method's name, at most: sizes, type, Seq. */
const HEADER_ROOM = 24;
/** Most headers' beginnings that are kept. */
const MAX_HEADS = 256;

/** The codec of one connection. */
export class GobCodec extends GoCodec<number> {
  readonly #methods: MethodTypes;
  readonly #splitter: MessageSplitter;
  readonly #decoder: GobDecoder;
  readonly #encoder: GobEncoder;
  readonly #header: HeaderReader;
  readonly #content: GobContent;
  /** The header that has been read counts so many bytes; 0 while none has. */
  #headerSize = 0;
  #budget = 0;
  /** The beginnings of headers: their type and method. */
  readonly #heads = new Map<string, Uint8Array>();
  readonly #headType: GobType<unknown>;

  constructor(
    receiver: MessageHandler,
    settings: CodecSettings,
    { methods, registered, limits, window }: GobSettings,
  ) {
    super(receiver, settings, window);
    const { maxMessage } = settings.own;
    this.#methods = methods;
    this.#splitter = new MessageSplitter(this, maxMessage);
    this.#decoder = new GobDecoder(limits, maxMessage, registered);
    this.#encoder = new GobEncoder(registered, limits.maxDepth);
    this.#header = new HeaderReader(this.#decoder.types);
    this.#content = new GobContent(this.#encoder);
    this.#headType = this.serves ? RESPONSE : REQUEST;
    // Described first, as Go does it.
    this.#encoder.writer(this.#headType);
  }

  // Messages in.

  protected read(chunk: Uint8Array, at: number, budget: number): number {
    this.#budget = budget;
    this.#splitter.stopped = false;
    try {
      return this.#splitter.push(chunk, at);
    } finally {
      this.#decoder.release();
    }
  }

  /** The first message describes the header's type: a short one, whose id's negative takes a byte of 0x7f or more. Text does not begin so, and would else be waited for as a message is. */
  protected isStrange(first: Uint8Array): boolean {
    return first.length > 1 && first[0] < 0x80 && first[1] < 0x7f;
  }

  protected get inside(): boolean {
    return this.#splitter.inside || this.#decoder.inside ||
      this.#headerSize > 0;
  }

  get unfinishedBytes(): number {
    return this.#splitter.held;
  }

  override stop(): void {
    super.stop();
    this.#splitter.stop();
  }

  mayRead(bytes: number): boolean {
    return this.receiver.mayRead(bytes);
  }

  /** One message: a type's description, a header, a body, or a part of one. */
  message(bytes: Uint8Array, start: number, end: number): void {
    const decoder = this.#decoder;
    if (!decoder.take(bytes, start, end)) return;
    const size = decoder.end - decoder.start;
    if (this.#headerSize === 0) {
      this.#header.read(decoder.id, decoder.input());
      this.#headerSize = size;
      this.known = true;
      return;
    }
    const { method, seq, error } = this.#header;
    const whole = this.#headerSize + size;
    this.#headerSize = 0;
    if (this.serves) this.tellCall(method, seq, whole);
    // A Seq that we never wrote: as Go does it, read and forgotten.
    else if (seq <= 0xffffffff) {
      this.tellAnswer((seq + 1) >>> 0, method, error);
    }
    if (--this.#budget <= 0 || this.stopped || this.receiver.full()) {
      this.#splitter.stopped = true;
    }
  }

  /** A message of too many bytes. If it is a body, its call alone fails. */
  tooLarge(length: number): void {
    const { maxMessage } = this.settings.own;
    const size = this.#headerSize;
    // Go's first message is a short one.
    if (!this.known) throw new GobError(`a message of ${length} bytes`);
    if (size === 0 || this.#decoder.inside) {
      throw tooLarge("a message", length, maxMessage);
    }
    const { method, seq, error } = this.#header;
    this.#headerSize = 0;
    if (this.serves) {
      const text = tooLargeText("an argument", length, maxMessage);
      this.tellOversizedCall(method, seq, size, text);
    } else if (seq <= 0xffffffff) {
      const id = (seq + 1) >>> 0;
      const text = tooLargeText("a reply", length, maxMessage);
      if (error !== "") this.tellAnswer(id, method, error);
      else this.tellOversizedAnswer(id, true, text);
    }
  }

  value(): unknown {
    if (this.oversized !== "") this.refuse(this.oversized);
    // An error's body is an empty struct that says nothing.
    if (!this.serves && this.#header.error !== "") return undefined;
    const { id, bytes, start, end } = this.#decoder;
    return this.#read(id, bytes, start, end, this.#wanted());
  }

  retain(): Opaque {
    if (this.oversized !== "") return this.oversized;
    const { id, bytes, start, end } = this.#decoder;
    const kept: Kept = {
      type: id,
      bytes: copyBytes(bytes, start, end),
      wanted: this.#wanted(),
    };
    return kept;
  }

  decodeRetained(kept: Opaque): unknown {
    if (typeof kept === "string") this.refuse(kept);
    const { type, bytes, wanted } = kept as Kept;
    return this.#read(type, bytes, 0, bytes.length, wanted);
  }

  /** The decoder bounds what it makes by the bytes that came. */
  decodedSize(): number {
    return 0;
  }

  #read(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wanted: GobType<unknown> | undefined,
  ): unknown {
    try {
      return this.#decoder.read(id, bytes, start, end, wanted);
    } catch (error) {
      if (this.serves) this.unreadable = `gob: ${(error as Error).message}`;
      throw error;
    }
  }

  #wanted(): GobType<unknown> | undefined {
    const types = this.#methods.get(this.#header.method);
    return this.serves ? types?.params : types?.result;
  }

  // Messages out.

  prepare(value: unknown, _transfer: boolean, method?: string): void {
    if (method === undefined) return this.#content.clear();
    const types = this.#methods.get(method);
    try {
      // As a struct{} it would end a Go client that waits for a string, say.
      if (value === null && this.serves && types === undefined) {
        throw new GobError("a result of null says nothing of its type");
      }
      this.#content.prepare(value, this.serves ? types?.result : types?.params);
    } catch (cause) {
      const why = isA(cause, GobError) ? `: ${cause.message}` : "";
      throw new RpcError(
        "invalid_argument",
        `the value cannot be sent as gob${why}`,
        { outcome: "not_sent", cause },
      );
    }
  }

  savePrepared(): Opaque {
    return this.#content.save();
  }

  restorePrepared(draft: Opaque): void {
    this.#content.load(draft);
  }

  replySize(): number {
    return this.#content.size;
  }

  protected callSize(method: string): number {
    return this.#head(method).length + HEADER_ROOM + this.#content.size;
  }

  /** The first call has the id 1, and Go's first Seq is 0. */
  request(sendBuffer: FrameBuffer, id: number, method: string): void {
    this.writeResult(sendBuffer, method, (id - 1) >>> 0);
  }

  /** Writes a header without an error, and the prepared body: a request and a reply differ in the header's type alone. */
  protected writeResult(
    sendBuffer: FrameBuffer,
    method: string,
    seq: number,
  ): void {
    this.#describe(sendBuffer);
    const head = this.#head(method);
    const tail = seq === 0 ? 1 : 2 + uintSize(seq);
    const length = head.length + tail;
    const { size } = this.#content;
    const attached = size >= ATTACH_SIZE;
    const room = uintSize(length) + length + uintSize(size);
    let at = attached
      ? sendBuffer.reserve(room, size)
      : sendBuffer.reserve(room + size);
    const { bytes } = sendBuffer;
    at = writeUint(bytes, at, length);
    for (let i = 0; i < head.length; i++) bytes[at++] = head[i];
    if (seq !== 0) {
      // Fields count from the one before; without a method that is none.
      bytes[at] = method === "" ? 2 : 1;
      at = writeUint(bytes, at + 1, seq);
    }
    bytes[at++] = 0;
    at = writeUint(bytes, at, size);
    if (attached) sendBuffer.attach(this.#content.give());
    else this.#content.write(bytes, at);
  }

  protected writeError(
    sendBuffer: FrameBuffer,
    method: string,
    seq: number,
    text: string,
  ): void {
    const out = new GobOutput();
    const header = { ServiceMethod: method, Seq: seq, Error: text };
    this.#encoder.content(out, header, RESPONSE);
    out.prefix(0);
    const body = out.size;
    this.#encoder.content(out, undefined);
    out.prefix(body);
    this.#describe(sendBuffer);
    const at = sendBuffer.reserve(out.size);
    sendBuffer.bytes.set(out.bytes.subarray(0, out.size), at);
  }

  /** Describes the types that are new. */
  #describe(sendBuffer: FrameBuffer): void {
    const { due } = this.#encoder;
    if (due === undefined) return;
    const at = sendBuffer.reserve(due.length);
    sendBuffer.bytes.set(due, at);
    this.#encoder.described();
  }

  /** A header's beginning: its type's id, and the method if there is one. */
  #head(method: string): Uint8Array {
    const known = this.#heads.get(method);
    if (known !== undefined) return known;
    const out = new GobOutput();
    out.int(this.#encoder.writer(this.#headType).id);
    if (method !== "") {
      out.byte(1);
      out.text(method);
    }
    const head = out.copy();
    // The peer may call what is not there, by any number of names.
    if (this.#heads.size >= MAX_HEADS) this.#heads.clear();
    this.#heads.set(method, head);
    return head;
  }
}

/** What Go calls a request's header. */
export const REQUEST: GobType<unknown> = struct(
  { ServiceMethod: string, Seq: uint },
  "Request",
);
/** What Go calls a response's header. */
export const RESPONSE: GobType<unknown> = struct(
  { ServiceMethod: string, Seq: uint, Error: string },
  "Response",
);

/** The type of each field that counts. */
const FIELDS: Readonly<Record<string, number>> = {
  ServiceMethod: STRING,
  Seq: UINT,
  Error: STRING,
};

/** Longest method name that is kept for the next header, in bytes. */
const MAX_KEPT = 256;

/** Reads headers; the latest one's fields are its own. */
export class HeaderReader {
  method = "";
  seq = 0;
  error = "";

  readonly #types: WireTypes;
  /** The fields' names by number, for the type that was read last. */
  #id = -1;
  #names: readonly string[] = [];
  /** The method read last, with its bytes: calls in a row mostly share one. */
  #last = "";
  #lastBytes = new Uint8Array(0);

  constructor(types: WireTypes) {
    this.#types = types;
  }

  /**
   * Reads a header of type `id`.
   *
   * @throws {GobError} If it is none.
   */
  read(id: number, input: GobInput): void {
    if (id !== this.#id) this.#learn(id);
    this.method = "";
    this.seq = 0;
    this.error = "";
    let field = -1;
    for (;;) {
      const delta = input.small();
      if (delta === 0) break;
      field += delta;
      switch (this.#names[field]) {
        case "ServiceMethod":
          this.method = this.#readMethod(input);
          break;
        case "Seq":
          this.seq = input.small();
          break;
        case "Error":
          this.error = input.text();
          break;
        default:
          throw new GobError(`a header with a field ${field}`);
      }
    }
    input.done();
  }

  /** Looks at a type that headers are said to have. */
  #learn(id: number): void {
    const type = this.#types.get(id);
    const fields = type.kind === "struct" ? type.fields : [];
    const fits = fields.length > 0 &&
      fields.every(({ name, id }) =>
        Object.hasOwn(FIELDS, name) && FIELDS[name] === id
      );
    if (!fits) throw new GobError("a header that is none of net/rpc's");
    this.#names = fields.map(({ name }) => name);
    this.#id = id;
  }

  #readMethod(input: GobInput): string {
    const n = input.length();
    const { bytes, at } = input;
    input.at = at + n;
    const last = this.#lastBytes;
    if (n === last.length && isSame(bytes, at, last)) return this.#last;
    let name: string;
    try {
      name = readText(bytes, at, at + n);
    } catch (cause) {
      throw new GobError("a method's name is not UTF-8", { cause });
    }
    if (n > MAX_KEPT) return name;
    this.#last = name;
    this.#lastBytes = new Uint8Array(bytes.subarray(at, at + n));
    return name;
  }
}

function isSame(bytes: Uint8Array, at: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) {
    if (bytes[at + i] !== other[i]) return false;
  }
  return true;
}

/** A string's type, as it is written. */
const STRING_ID = STRING * 2;

/** Prepares one body at a time. */
export class GobContent {
  /** Its size in bytes. */
  size = 0;
  readonly #encoder: GobEncoder;
  /** A short string; or else the bytes of all other values. */
  #text: string | undefined;
  #output: GobOutput | undefined;
  #saved: Uint8Array | undefined;
  #spare: GobOutput | undefined;

  constructor(encoder: GobEncoder) {
    this.#encoder = encoder;
  }

  /**
   * Takes a value in.
   *
   * @throws {GobError} If it has no form in gob, or not the type's.
   */
  prepare(value: unknown, type: GobType<unknown> | undefined): void {
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
    this.#encoder.content(output, value, type);
    this.clear();
    this.#output = output;
    this.size = output.size;
  }

  /** What is prepared, to be written in a later turn. */
  save(): string | Uint8Array {
    const saved = this.#text ?? this.#saved ?? this.#output!.copy();
    this.clear();
    return saved;
  }

  /** Takes in again what `save` returned. */
  load(draft: unknown): void {
    this.clear();
    if (typeof draft === "string") {
      this.#text = draft;
      this.size = 3 + draft.length;
    } else {
      this.#saved = draft as Uint8Array;
      this.size = this.#saved.length;
    }
  }

  /** Writes the body at `at`, and lets go of it. */
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

  /** The body as bytes that are the receiver's own. */
  give(): Uint8Array {
    const bytes = this.#bytes();
    // Not to be filled again: it is given away.
    this.#output = undefined;
    this.clear();
    return bytes;
  }

  /** Lets go of what is prepared. */
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
