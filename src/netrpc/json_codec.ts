/**
 * Go's `net/rpc/jsonrpc`: one JSON object a call, one an answer, as that
 * package writes and reads them. It is JSON-RPC 1.0, not 2.0.
 *
 * Invariants owned here:
 * - `result: null` with `error: null` is never sent, nor an error that is no
 *   string: Go's client ends its connection on either. It is taken, though.
 * - An integer is never rounded; its call fails instead.
 *
 * @module
 */

import type { CodecSettings, MessageHandler, Opaque } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { decodedJsonSize } from "../wire/json_size.ts";
import { readText, utf8 } from "../base/utf8.ts";
import { toJson, unserializable } from "../wire/to_json.ts";
import {
  bounded,
  GoCodec,
  type GoSettings,
  tooLarge,
  tooLargeText,
} from "./go_codec.ts";

import { JsonSplitter } from "./json_splitter.ts";

/** What a message may have; all of it may be anything. */
interface Message {
  readonly method?: unknown;
  readonly params?: unknown;
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** What an envelope takes beside method and payload, at most. */
const ENVELOPE = 64;
/** Levels of the envelope: its object, and the array of params. */
const ENVELOPE_DEPTH = 2;

/** The codec of one connection. The peer's id is kept as text. */
export class JsonCodec extends GoCodec<string> {
  readonly #splitter: JsonSplitter;
  readonly #maxDepth: number;
  #budget = 0;
  /** The message being told, its text, and its bytes. */
  #message: Message = {};
  #text = "";
  #bytes: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  /** The prepared payload. */
  #json = "";
  #size = 0;
  /** Methods of calls that are not answered, for what answers say of them. */
  readonly #methods = new Map<number, string>();

  constructor(
    receiver: MessageHandler,
    settings: CodecSettings,
    { limits, window }: GoSettings,
  ) {
    super(receiver, settings, window);
    const { maxMessage } = settings.own;
    this.#maxDepth = limits.maxDepth;
    this.#splitter = new JsonSplitter(this, maxMessage, limits.maxDepth);
  }

  // Messages in.

  protected read(chunk: Uint8Array, at: number, budget: number): number {
    this.#budget = budget;
    this.#splitter.stopped = false;
    return this.#splitter.push(chunk, at);
  }

  /** The splitter says so by itself. */
  protected isStrange(): boolean {
    return false;
  }

  protected get inside(): boolean {
    return this.#splitter.inside;
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

  /** One message. */
  object(bytes: Uint8Array, start: number, end: number): void {
    const text = readText(bytes, start, end);
    const message = this.#message = JSON.parse(text) as Message;
    this.#text = text;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    if (this.serves) this.#call(message, text, end - start);
    else this.#answer(message);
    this.#message = {};
    this.#text = "";
    this.#bytes = NO_BYTES;
    if (--this.#budget <= 0 || this.stopped || this.receiver.full()) {
      this.#splitter.stopped = true;
    }
  }

  /** One of too many bytes. If its ends say which call it is about, that alone fails. */
  tooLarge(head: Uint8Array, tail: Uint8Array, size: number): void {
    const { maxMessage } = this.settings.own;
    const [first, last] = [head, tail].map((end) =>
      String.fromCharCode(...end)
    );
    const id = (LAST_ID.exec(last) ?? FIRST_ID.exec(first))?.[1];
    const method = FIRST_METHOD.exec(first)?.[1];
    if (id === undefined || this.serves && method === undefined) {
      throw tooLarge("a message", size, maxMessage);
    }
    this.known = true;
    if (this.serves) {
      const text = tooLargeText("a call", size, maxMessage);
      const name = JSON.parse(utf8Text(method!)) as string;
      this.tellOversizedCall(name, utf8Text(id), ENVELOPE, text);
    } else {
      const ours = Number(id) + 1;
      if (!this.#methods.delete(ours)) return;
      const text = tooLargeText("an answer", size, maxMessage);
      this.tellOversizedAnswer(ours, undefined, text);
    }
  }

  #call({ method, id }: Message, text: string, size: number): void {
    if (method !== undefined && method !== null && typeof method !== "string") {
      throw new Error("a method that is no string");
    }
    this.known = true;
    this.tellCall(method ?? "", idText(id, text), size);
  }

  #answer({ id, error }: Message): void {
    if (typeof id !== "number") throw new Error("an id that is no number");
    this.known = true;
    const ours = id + 1;
    const method = this.#methods.get(ours);
    // An id that we never wrote: as Go does it, read and forgotten.
    if (method === undefined) return;
    this.#methods.delete(ours);
    const failed = error !== undefined && error !== null;
    const text = typeof error === "string" ? error : JSON.stringify(error);
    this.tellAnswer(ours, method, failed ? text || "unspecified error" : "");
  }

  value(): unknown {
    if (this.oversized !== "") this.refuse(this.oversized);
    return this.serves
      ? this.#param(this.#message, this.#text)
      : this.#result();
  }

  #result(): unknown {
    const { error, result } = this.#message;
    if (error !== undefined && error !== null) return undefined;
    const rounded = roundedInteger(this.#text);
    if (rounded !== undefined) throw new RangeError(pastNumbers(rounded));
    // Go's server has sent a pointer, a map or the like that is nil.
    return result ?? null;
  }

  retain(): Opaque {
    if (this.oversized !== "") return this.oversized;
    return copyBytes(this.#bytes, this.#start, this.#end);
  }

  decodeRetained(kept: Opaque): unknown {
    if (typeof kept === "string") this.refuse(kept);
    const bytes = kept as Uint8Array;
    const text = readText(bytes, 0, bytes.length);
    return this.#param(JSON.parse(text) as Message, text);
  }

  decodedSize(kept: Opaque): number {
    const bytes = kept as Uint8Array | undefined;
    return bytes === undefined
      ? decodedJsonSize(this.#bytes, this.#start, this.#end)
      : decodedJsonSize(bytes, 0, bytes.length);
  }

  /** A call's one argument. */
  #param({ params }: Message, text: string): unknown {
    const rounded = roundedInteger(text);
    if (rounded !== undefined) {
      this.unreadable = `json: ${pastNumbers(rounded)}`;
      throw new RangeError(this.unreadable);
    }
    if (Array.isArray(params)) return params[0];
    this.unreadable = params === undefined || params === null
      ? "jsonrpc: request body missing params"
      : `json: cannot unmarshal ${
        goKind(params)
      } into Go value of type [1]interface {}`;
    throw new TypeError("params that are no array");
  }

  // Messages out.

  prepare(value: unknown, _transfer: boolean, method?: string): void {
    if (method === undefined) return this.#take("");
    const json = jsonOf(value, this.serves);
    // As gob's encoder does: the peer would end the connection for it.
    const shallow = json.length <= 2 * this.#maxDepth;
    if (!shallow && depthOf(json) + ENVELOPE_DEPTH > this.#maxDepth) {
      const what = `a value nested deeper than ${this.#maxDepth} levels`;
      throw unserializable(what);
    }
    this.#take(json);
  }

  #take(json: string): void {
    this.#json = json;
    // A character is three bytes at most; near the limit they are counted.
    const near = 3 * json.length > this.settings.own.maxMessage;
    this.#size = near ? utf8(json).length : json.length;
  }

  savePrepared(): Opaque {
    const json = this.#json;
    this.#json = "";
    return json;
  }

  restorePrepared(draft: Opaque): void {
    this.#take(draft as string);
  }

  replySize(): number {
    return this.#size + ENVELOPE;
  }

  protected callSize(method: string): number {
    return this.#size + method.length + ENVELOPE;
  }

  /** The first call has the id 1, and Go's first id is 0. */
  request(sendBuffer: FrameBuffer, id: number, method: string): void {
    this.#methods.set(id, method);
    write(
      sendBuffer,
      `{"method":${JSON.stringify(method)},"params":[${this.#json}],"id":${
        id - 1
      }}\n`,
    );
    this.#json = "";
  }

  protected writeResult(
    sendBuffer: FrameBuffer,
    _method: string,
    id: string,
  ): void {
    write(sendBuffer, `{"id":${id},"result":${this.#json},"error":null}\n`);
    this.#json = "";
  }

  protected writeError(
    sendBuffer: FrameBuffer,
    _method: string,
    id: string,
    text: string,
  ): void {
    const error = JSON.stringify(text);
    write(sendBuffer, `{"id":${id},"result":null,"error":${error}}\n`);
  }
}

/** How Go's ends write a message's short members: at its beginning or at its end. In JSON they can stand nowhere else in that form. */
const FIRST_METHOD = /^\{\s*"method"\s*:\s*("(?:[^"\\]|\\.)*")\s*,/;
const FIRST_ID = /^\{\s*"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*"|null)\s*,/;
const LAST_ID = /,\s*"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*"|null)\s*\}$/;

/** Text of bytes that stand as characters. */
function utf8Text(binary: string): string {
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  return readText(bytes, 0, bytes.length);
}

function pastNumbers(integer: string): string {
  return `the integer ${
    bounded(integer)
  } would be rounded; send it as a string`;
}

/** What Go calls a JSON value that is neither `null` nor an array. */
function goKind(value: unknown): string {
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** How many levels deep a JSON text is nested. */
function depthOf(json: string): number {
  let [depth, most] = [0, 0];
  // Strings are matched to be left out.
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/g)) {
    if (token === "[" || token === "{") most = Math.max(most, ++depth);
    else if (token === "]" || token === "}") depth--;
  }
  return most;
}

function jsonOf(value: unknown, result: boolean): string {
  // What a handler returns that returns nothing: Go's struct{}.
  if (value === undefined) return result ? "{}" : "null";
  const json = toJson(value, result ? "result" : "params");
  if (result && json === "null") {
    throw unserializable("a result of null, which ends Go's client,");
  }
  return json;
}

function write(sendBuffer: FrameBuffer, text: string): void {
  const bytes = utf8(text);
  const at = sendBuffer.reserve(bytes.length);
  sendBuffer.bytes.set(bytes, at);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/**
 * Calls `tell` with each number of an object's text: the member of the object
 * that it stands in, how deep (1 where it is the member's value), and its own
 * text. The text must be JSON.
 */
function scanNumbers(
  object: string,
  tell: (member: string, depth: number, number: string) => void,
): void {
  let depth = 0;
  let member = "";
  for (let at = 0; at < object.length;) {
    const char = object[at];
    if (char === '"') {
      const end = endOfString(object, at);
      if (depth === 1 && isName(object, end)) {
        member = JSON.parse(object.slice(at, end)) as string;
      }
      at = end;
    } else if (char === "-" || isDigit(char)) {
      const start = at++;
      while (isNumeric(object[at])) at++;
      tell(member, depth, object.slice(start, at));
    } else {
      if (char === "{" || char === "[") depth++;
      else if (char === "}" || char === "]") depth--;
      at++;
    }
  }
}

function isDigit(char: string): boolean {
  return char >= "0" && char <= "9";
}

function isNumeric(char: string | undefined): boolean {
  return char !== undefined && (isDigit(char) || "+-.eE".includes(char));
}

function endOfString(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i + 1;
  }
  return text.length;
}

/** Whether a colon comes next. */
function isName(text: string, at: number): boolean {
  while (text.charCodeAt(at) <= 0x20) at++;
  return text.charCodeAt(at) === COLON;
}

/** The text of an object's member `id`, for one whose parsed value is `id`: numbers past 2^53 would not survive being parsed. */
export function idText(id: unknown, object: string): string {
  if (id === undefined) return "null";
  if (typeof id !== "number" || Number.isSafeInteger(id)) {
    return JSON.stringify(id);
  }
  let found: string | undefined;
  scanNumbers(object, (member, depth, number) => {
    if (depth === 1 && member === "id") found = number;
  });
  return found ?? String(id);
}

/**
 * A whole number in an object's text, its `id` aside, that JavaScript's numbers
 * would round; undefined if there is none.
 */
export function roundedInteger(object: string): string | undefined {
  if (!/\d{16}/.test(object)) return undefined;
  let found: string | undefined;
  scanNumbers(object, (member, depth, number) => {
    if (depth === 1 && member === "id") return;
    if (/^-?\d{16,}$/.test(number) && !isExact(number)) found ??= number;
  });
  return found;
}

function isExact(integer: string): boolean {
  const number = Number(integer);
  return Number.isFinite(number) && BigInt(integer) === BigInt(number);
}
