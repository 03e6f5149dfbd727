/**
 * Go's `net/rpc/jsonrpc`: one JSON object a call, one an answer, as that
 * package writes and reads them. It is JSON-RPC 1.0, not 2.0.
 *
 * Invariants owned here:
 * - `result: null` with `error: null` is never sent, nor an error that is no
 *   string: Go's client ends its connection on either.
 *
 * @module
 */

import type { CodecSettings, Opaque, Receiver } from "../codec.ts";
import type { Outbox } from "../outbox.ts";
import { copyBytes } from "../bytes.ts";
import { readText, utf8 } from "../text.ts";
import { toJson, unserializable } from "../to_json.ts";
import { GoCodec, type GoSettings } from "./go_codec.ts";
import { idText } from "./json_id.ts";
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
  /** The message being told, and its bytes. */
  #message: Message = {};
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  /** The prepared payload. */
  #json = "";
  #size = 0;
  /** Methods of calls that are not answered, for what answers say of them. */
  readonly #methods = new Map<number, string>();

  constructor(
    receiver: Receiver,
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
    this.#splitter.stopped = true;
  }

  /** One message. */
  object(bytes: Uint8Array, start: number, end: number): void {
    const text = readText(bytes, start, end);
    const message = this.#message = JSON.parse(text) as Message;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    if (this.serves) this.#call(message, text, end - start);
    else this.#answer(message);
    this.#message = {};
    if (--this.#budget <= 0 || this.stopped || this.receiver.full()) {
      this.#splitter.stopped = true;
    }
  }

  #call({ method, id }: Message, text: string, size: number): void {
    if (method !== undefined && method !== null && typeof method !== "string") {
      throw new Error("a method that is no string");
    }
    this.known = true;
    this.tellCall(method ?? "", idText(id, text), size);
  }

  #answer({ id, result, error }: Message): void {
    if (typeof id !== "number") throw new Error("an id that is no number");
    this.known = true;
    const ours = id + 1;
    const method = this.#methods.get(ours);
    // An id that we never wrote: as Go does it, read and forgotten.
    if (method === undefined) return;
    this.#methods.delete(ours);
    const failed = error !== undefined && error !== null;
    if (!failed && (result === undefined || result === null)) {
      throw new Error("an answer with neither result nor error");
    }
    const text = typeof error === "string" ? error : JSON.stringify(error);
    this.tellAnswer(ours, method, failed ? text || "unspecified error" : "");
  }

  value(): unknown {
    return this.serves ? this.#param(this.#message) : this.#result();
  }

  #result(): unknown {
    const { error, result } = this.#message;
    return error === undefined || error === null ? result : undefined;
  }

  keep(): Opaque {
    return copyBytes(this.#bytes, this.#start, this.#end);
  }

  open(kept: Opaque): unknown {
    const bytes = kept as Uint8Array;
    return this.#param(JSON.parse(readText(bytes, 0, bytes.length)) as Message);
  }

  /** A call's one argument. */
  #param({ params }: Message): unknown {
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
    if (method === undefined) return;
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

  save(): Opaque {
    return this.#json;
  }

  load(draft: Opaque): void {
    this.#take(draft as string);
  }

  replySize(): number {
    return this.#size + ENVELOPE;
  }

  protected callSize(method: string): number {
    return this.#size + method.length + ENVELOPE;
  }

  /** The first call has the id 1, and Go's first id is 0. */
  request(outbox: Outbox, id: number, method: string): void {
    this.#methods.set(id, method);
    write(
      outbox,
      `{"method":${JSON.stringify(method)},"params":[${this.#json}],"id":${
        id - 1
      }}\n`,
    );
    this.#json = "";
  }

  protected writeResult(outbox: Outbox, _method: string, id: string): void {
    write(outbox, `{"id":${id},"result":${this.#json},"error":null}\n`);
    this.#json = "";
  }

  protected writeError(
    outbox: Outbox,
    _method: string,
    id: string,
    text: string,
  ): void {
    const error = JSON.stringify(text);
    write(outbox, `{"id":${id},"result":null,"error":${error}}\n`);
  }
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
  const json = value === undefined
    ? "null"
    : toJson(value, result ? "result" : "params");
  // Go's client takes a null result for a breach of its rules.
  return result && json === "null" ? "{}" : json;
}

function write(outbox: Outbox, text: string): void {
  const bytes = utf8(text);
  const at = outbox.reserve(bytes.length);
  outbox.bytes.set(bytes, at);
}
