/**
 * The codec of Go's `net/rpc/jsonrpc`: one JSON object for a call, one for a
 * reply. It is JSON-RPC 1.0, not 2.0.
 *
 * Bounds:
 * - A server never sends `result: null` with `error: null`, nor an error that is
 *   not a string, as Go's client ends its connection on either. A client here
 *   accepts both.
 * - An integer is never rounded: if a number cannot represent it, its call
 *   fails.
 *
 * @module
 */

import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { readText, utf8 } from "../base/utf8.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { CodecSettings, MessageHandler } from "../wire/codec.ts";
import { decodedJsonSize } from "../wire/values/json_size.ts";
import { toJson, unserializable } from "../wire/values/to_json.ts";
import { GoCodec, type GoSettings } from "./go_codec.ts";
import { tooLarge, tooLargeText, truncate } from "./go_errors.ts";
import { JsonSplitter } from "./json_splitter.ts";

/** The members of a message, none of which is checked yet. */
interface GoJsonMessage {
  readonly method?: unknown;
  readonly params?: unknown;
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** The largest size of a message without its method and payload, in bytes. */
const ENVELOPE = 64;
/** The levels of a message around its payload: the object, and the array of params. */
const ENVELOPE_DEPTH = 2;

/** The codec of one connection. The peer's ids are kept as JSON text. */
export class JsonCodec extends GoCodec<string> {
  readonly #splitter: JsonSplitter;
  readonly #maxDepth: number;
  #budget = 0;
  /** The message that is being delivered, its text, and its bytes. */
  #message: GoJsonMessage = {};
  #text = "";
  #bytes: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  /** The prepared payload. */
  #json = "";
  #size = 0;
  /** The methods of local calls without a reply, as an error is classified by its method. */
  readonly #methods = new Map<number, string>();

  constructor(
    handler: MessageHandler,
    settings: CodecSettings,
    { limits, window }: GoSettings,
  ) {
    super(handler, settings, window);
    const { maxMessage } = settings.limits;
    this.#maxDepth = limits.maxDepth;
    this.#splitter = new JsonSplitter(this, maxMessage, limits.maxDepth);
  }

  // Reading.

  protected read(chunk: Uint8Array, at: number, budget: number): number {
    this.#budget = budget;
    this.#splitter.stopped = false;
    return this.#splitter.push(chunk, at);
  }

  /** The splitter itself rejects other protocols. */
  protected isForeign(): boolean {
    return false;
  }

  protected get insideMessage(): boolean {
    return this.#splitter.insideMessage;
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

  /** Called with each message. */
  object(bytes: Uint8Array, start: number, end: number): void {
    const text = readText(bytes, start, end);
    const message = this.#message = JSON.parse(text) as GoJsonMessage;
    this.#text = text;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    if (this.serves) this.#onRequest(message, text, end - start);
    else this.#onReply(message);
    this.#message = {};
    this.#text = "";
    this.#bytes = NO_BYTES;
    if (--this.#budget <= 0 || this.stopped || this.handler.full()) {
      this.#splitter.stopped = true;
    }
  }

  /** Called for a message that is too large. If its first or last bytes name its call, only that call fails. */
  tooLarge(head: Uint8Array, tail: Uint8Array, size: number): void {
    const { maxMessage } = this.settings.limits;
    const [first, last] = [head, tail].map((end) =>
      String.fromCharCode(...end)
    );
    const id = (LAST_ID.exec(last) ?? FIRST_ID.exec(first))?.[1];
    const method = FIRST_METHOD.exec(first)?.[1];
    if (id === undefined || this.serves && method === undefined) {
      throw tooLarge("a message", size, maxMessage);
    }
    this.recognized = true;
    if (this.serves) {
      const text = tooLargeText("a call", size, maxMessage);
      const name = JSON.parse(utf8Text(method!)) as string;
      this.deliverOversizedRequest(name, utf8Text(id), ENVELOPE, text);
    } else {
      const localId = Number(id) + 1;
      if (!this.#methods.delete(localId)) return;
      const text = tooLargeText("a reply", size, maxMessage);
      this.deliverOversizedReply(localId, undefined, text);
    }
  }

  #onRequest({ method, id }: GoJsonMessage, text: string, size: number): void {
    if (method !== undefined && method !== null && typeof method !== "string") {
      throw new Error(`expected a string as method, received ${typeof method}`);
    }
    this.recognized = true;
    this.deliverRequest(method ?? "", idText(id, text), size);
  }

  #onReply({ id, error }: GoJsonMessage): void {
    if (typeof id !== "number") {
      throw new Error(
        `expected a number as id of a reply, received ${typeof id}`,
      );
    }
    this.recognized = true;
    const localId = id + 1;
    const method = this.#methods.get(localId);
    // Like Go's client, ignore a reply with an id that was never sent.
    if (method === undefined) return;
    this.#methods.delete(localId);
    const failed = error !== undefined && error !== null;
    const text = typeof error === "string" ? error : JSON.stringify(error);
    this.deliverReply(
      localId,
      method,
      failed ? text || "unspecified error" : "",
    );
  }

  value(): unknown {
    if (this.oversizedText !== "") this.rejectOversized(this.oversizedText);
    return this.serves
      ? this.#param(this.#message, this.#text)
      : this.#result();
  }

  #result(): unknown {
    const { error, result } = this.#message;
    if (error !== undefined && error !== null) return undefined;
    const rounded = findRoundedInteger(this.#text);
    if (rounded !== undefined) throw new RangeError(roundedText(rounded));
    // Go's server sends null for a pointer, a map or a slice that is nil.
    return result ?? null;
  }

  retain(): unknown {
    if (this.oversizedText !== "") return this.oversizedText;
    return copyBytes(this.#bytes, this.#start, this.#end);
  }

  decodeRetained(retained: unknown): unknown {
    if (typeof retained === "string") this.rejectOversized(retained);
    const bytes = retained as Uint8Array;
    const text = readText(bytes, 0, bytes.length);
    return this.#param(JSON.parse(text) as GoJsonMessage, text);
  }

  decodedSize(retained: unknown): number {
    const bytes = retained as Uint8Array | undefined;
    return bytes === undefined
      ? decodedJsonSize(this.#bytes, this.#start, this.#end)
      : decodedJsonSize(bytes, 0, bytes.length);
  }

  /** Returns the one argument of a call. */
  #param({ params }: GoJsonMessage, text: string): unknown {
    const rounded = findRoundedInteger(text);
    if (rounded !== undefined) {
      this.paramsError = `json: ${roundedText(rounded)}`;
      throw new RangeError(this.paramsError);
    }
    if (Array.isArray(params)) return params[0];
    this.paramsError = params === undefined || params === null
      ? "jsonrpc: request body missing params"
      : `json: cannot unmarshal ${
        goKind(params)
      } into Go value of type [1]interface {}`;
    const received = params === null ? "null" : typeof params;
    throw new TypeError(`expected an array as params, received ${received}`);
  }

  // Writing.

  prepare(value: unknown, _transfer: boolean, method?: string): void {
    if (method === undefined) return this.#setJson("");
    const json = toPayload(value, this.serves);
    // A peer with the same limit would end the connection.
    const shallow = json.length <= 2 * this.#maxDepth;
    if (!shallow && depthOf(json) + ENVELOPE_DEPTH > this.#maxDepth) {
      const what = `a value nested deeper than ${this.#maxDepth} levels`;
      throw unserializable(what);
    }
    this.#setJson(json);
  }

  #setJson(json: string): void {
    this.#json = json;
    // A character takes at most three bytes. Near the limit the exact size counts.
    const near = 3 * json.length > this.settings.limits.maxMessage;
    this.#size = near ? utf8(json).length : json.length;
  }

  savePrepared(): unknown {
    const json = this.#json;
    this.#json = "";
    return json;
  }

  restorePrepared(prepared: unknown): void {
    this.#setJson(prepared as string);
  }

  replySize(): number {
    return this.#size + ENVELOPE;
  }

  protected callSize(method: string): number {
    return this.#size + method.length + ENVELOPE;
  }

  /** The first local id is 1; Go's first id is 0. */
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

// The first and last members of a message, as Go's client and server write them.
// Inside a JSON string or a nested object, these patterns cannot match.
const FIRST_METHOD = /^\{\s*"method"\s*:\s*("(?:[^"\\]|\\.)*")\s*,/;
const FIRST_ID = /^\{\s*"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*"|null)\s*,/;
const LAST_ID = /,\s*"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*"|null)\s*\}$/;

/** Decodes UTF-8 whose bytes are given as characters. */
function utf8Text(binary: string): string {
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  return readText(bytes, 0, bytes.length);
}

function roundedText(integer: string): string {
  return `the integer ${
    truncate(integer)
  } would be rounded; send it as a string`;
}

/** Go's name for the type of a JSON value that is neither `null` nor an array. */
function goKind(value: unknown): string {
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** The number of levels of a JSON text. */
function depthOf(json: string): number {
  let [depth, most] = [0, 0];
  // Strings are matched so that brackets in them do not count.
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/g)) {
    if (token === "[" || token === "{") most = Math.max(most, ++depth);
    else if (token === "]" || token === "}") depth--;
  }
  return most;
}

/** Returns a result, or else params, as JSON. */
function toPayload(value: unknown, isResult: boolean): string {
  // For a handler that returns nothing: Go's struct{}.
  if (value === undefined) return isResult ? "{}" : "null";
  const json = toJson(value, isResult ? "result" : "params");
  if (isResult && json === "null") {
    throw unserializable("a result of null, on which Go's client disconnects,");
  }
  return json;
}

function write(sendBuffer: FrameBuffer, text: string): void {
  const bytes = utf8(text);
  const at = sendBuffer.reserve(bytes.length);
  sendBuffer.bytes.set(bytes, at);
}

// Numbers as they are written: parsing rounds integers outside ±(2^53 - 1).

/** Returns the text of an object's member `id`, whose parsed value is given. */
function idText(id: unknown, object: string): string {
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
 * Finds an integer in the text of an object, other than its `id`, that a
 * JavaScript number cannot represent exactly.
 */
function findRoundedInteger(object: string): string | undefined {
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

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/**
 * Calls `onNumber` with each number in the text of an object: the member of the
 * object in which it stands, its depth (1 if it is the value of the member
 * itself), and its text. The text must be valid JSON.
 */
function scanNumbers(
  object: string,
  onNumber: (member: string, depth: number, number: string) => void,
): void {
  let depth = 0;
  let member = "";
  for (let at = 0; at < object.length;) {
    const char = object[at];
    if (char === '"') {
      const end = endOfString(object, at);
      if (depth === 1 && isFollowedByColon(object, end)) {
        member = JSON.parse(object.slice(at, end)) as string;
      }
      at = end;
    } else if (char === "-" || isDigit(char)) {
      const start = at++;
      while (isNumeric(object[at])) at++;
      onNumber(member, depth, object.slice(start, at));
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

function isFollowedByColon(text: string, at: number): boolean {
  while (text.charCodeAt(at) <= 0x20) at++;
  return text.charCodeAt(at) === COLON;
}
