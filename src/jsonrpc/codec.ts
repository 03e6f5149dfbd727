/**
 * The JSON-RPC 2.0 wire: messages to JSON texts and back.
 *
 * Invariants owned here:
 * - What breaks the framing ends the connection, and the peer is told what did.
 * - Every call of the peer's gets exactly one answer, a notification none.
 * - A notification of ours is settled when its batch is handed over.
 *
 * @module
 */

import type {
  Codec,
  CodecSettings,
  MessageHandler,
  Opaque,
  WireFeatures,
} from "../wire/codec.ts";
import { ConnectionError } from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { SendBuffer } from "../connection/send_buffer.ts";
import { utf8 } from "../base/utf8.ts";
import type { PayloadRole } from "../wire/to_json.ts";
import { INVALID_REQUEST } from "./error_codes.ts";
import { type Framing, toFraming } from "./framing.ts";
import { IncomingMessages, NotJson, openKept } from "./incoming.ts";
import type { JsonRpcSettings } from "./options.ts";
import {
  failureHead,
  joined,
  JsonText,
  OutgoingMessages,
  type PreparedText,
  unserializableResult,
} from "./outgoing.ts";
import { CallIds, type IncomingId } from "./call_ids.ts";

/** Longest error message written, in characters. */
const MAX_TEXT = 4096;

/** The codec of one JSON-RPC connection. */
export class JsonRpcCodec implements Codec {
  readonly features: WireFeatures;
  readonly overhead = 0;

  readonly #receiver: MessageHandler;
  readonly #settings: CodecSettings;
  readonly #shape: JsonRpcSettings;
  readonly #framing: Framing;
  readonly #incoming: IncomingMessages;
  readonly #outgoing: OutgoingMessages;
  /** Messages read so far. */
  #told = 0;
  readonly #served: CallIds;
  readonly #payload = new JsonText();
  /** Our notifications in the batch that is filling. */
  #notified = new Set<number>();
  /** The latest method written, as JSON, and its length in bytes: calls in a row mostly share one. */
  #method = "";
  #methodText = "";
  #methodSize = 0;
  /** The latest call of ours. */
  #lastId: number | undefined;
  /** Our call that must not be cancelled. */
  #sacred: number | undefined;

  constructor(
    receiver: MessageHandler,
    settings: CodecSettings,
    shape: JsonRpcSettings,
  ) {
    if (settings.serializer !== undefined) {
      throw new TypeError("Cannot use a serializer: JSON-RPC is JSON");
    }
    this.#receiver = receiver;
    this.#settings = settings;
    this.#shape = shape;
    this.features = shape.dialect.features;
    const { maxMessage, windowCalls, windowBytes } = settings.hello;
    const lines = shape.framing === "lines";
    const stray = lines ? settings.stray : undefined;
    this.#framing = toFraming(
      shape.framing,
      maxMessage,
      (bytes, start, end, charset) => {
        this.#told++;
        return incoming.text(bytes, start, end, charset);
      },
      {
        eager: stray === undefined,
        mayRead: (bytes) => receiver.mayRead(bytes),
        oversized: (head, what, whole) => {
          const told = incoming.oversized(head, what, whole);
          if (told) this.#told++;
          return told;
        },
      },
    );
    this.#outgoing = new OutgoingMessages(this.#framing, maxMessage);
    this.#served = new CallIds(windowCalls, windowBytes);
    const incoming = this.#incoming = new IncomingMessages({
      receiver,
      dialect: shape.dialect,
      codes: shape.codes,
      served: this.#served,
      outgoing: this.#outgoing,
      asked: (id) =>
        this.#lastId !== undefined && ((this.#lastId - id) | 0) >= 0,
      lines,
      maxMessage,
      stray,
    });
  }

  decode(chunk: Uint8Array, at: number, budget: number): number {
    try {
      return this.#framing.push(chunk, at, budget);
    } catch (error) {
      // Nobody knows any more where the next message begins.
      if (error instanceof ConnectionError && !(error instanceof NotJson)) {
        this.#incoming.complain(INVALID_REQUEST, error.message);
      }
      throw error;
    }
  }

  get unfinished(): number | undefined {
    return this.#framing.inside ? this.#told : undefined;
  }

  get unfinishedBytes(): number {
    return this.#framing.held + this.#outgoing.held;
  }

  end(): void {
    this.#framing.end();
  }

  stop(): void {
    this.#framing.stopped = this.#incoming.stopped = true;
  }

  flushed(): void {
    if (this.#notified.size === 0) return;
    const notified = this.#notified;
    this.#notified = new Set();
    for (const id of notified) this.#receiver.reply(id);
  }

  /** Runs `calls`, and sends what they call and notify as one array. */
  batch<T>(calls: () => T): T {
    return this.#outgoing.collect(calls);
  }

  value(): unknown {
    return this.#incoming.value;
  }

  retain(): Opaque {
    return this.#incoming.keep();
  }

  decodeRetained(kept: Opaque): unknown {
    return openKept(kept as Uint8Array);
  }

  decodedSize(kept: Opaque): number {
    return this.#incoming.decodedSize(kept as Uint8Array | undefined);
  }

  // Messages out.

  prepare(
    value: unknown,
    _transfer?: boolean,
    _method?: string,
    role?: PayloadRole,
  ): void {
    this.#payload.prepare(value, role);
  }

  oneWay(): void {
    this.#payload.oneWay = true;
  }

  savePrepared(): Opaque {
    return this.#payload.save();
  }

  restorePrepared(draft: Opaque): void {
    this.#payload.load(draft as PreparedText);
  }

  requestSize(
    method: string,
    _timed: boolean,
    metadata?: MetadataBlock,
  ): number {
    if (metadata !== undefined && metadata.size > 0) {
      throw unserializableResult("JSON-RPC carries no metadata");
    }
    this.#payload.checkParams();
    this.#encodeMethod(method);
    return ENVELOPE + this.#methodSize + this.#payload.size;
  }

  replySize(): number {
    return this.#payload.size;
  }

  hello(sendBuffer: SendBuffer): void {
    this.#outgoing.open(sendBuffer);
    const { own } = this.#settings;
    const windowCalls = this.#shape.window ?? own.windowCalls;
    this.#receiver.hello({ ...own, windowCalls });
  }

  request(_outbox: SendBuffer, id: number, method: string): void {
    const payload = this.#payload;
    if (!payload.oneWay) this.#lastId = id;
    if (payload.oneWay) this.#notified.add(id);
    else if (method === this.#shape.dialect.sacred) this.#sacred = id;
    this.#encodeMethod(method);
    const wireId = payload.oneWay ? "" : `"id":${id},`;
    const params = payload.size > 0 ? ',"params":' : "";
    const head =
      `{"jsonrpc":"2.0",${wireId}"method":${this.#methodText}${params}`;
    this.#outgoing.send([utf8(head), payload.take(), CLOSE]);
  }

  reply(_outbox: SendBuffer, id: number): void {
    const served = this.#served.take(id);
    const result = this.#payload.take();
    if (served?.wireId === undefined) return;
    const wireId = JSON.stringify(served.wireId);
    const head = `{"jsonrpc":"2.0","id":${wireId},"result":`;
    const body = result.length > 0 ? result : NULL;
    this.#answer(served, [utf8(head), body, CLOSE]);
  }

  failure(
    _outbox: SendBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
  ): void {
    const served = this.#served.take(id);
    const data = this.#payload.take();
    if (served?.wireId === undefined) return;
    const number = this.#shape.codes.toNumber(code, started);
    const text = message.slice(0, MAX_TEXT);
    const head = failureHead(served.wireId, number, text);
    const parts = data.length > 0 && head.length + data.length <= maxMessage
      ? [utf8(head + ',"data":'), data, CLOSE, CLOSE]
      : [utf8(head + "}}")];
    this.#answer(served, parts);
  }

  /** Writes a call's answer, or puts it to those of its batch. */
  #answer({ batch, silenced }: IncomingId, parts: Uint8Array[]): void {
    if (batch === undefined) {
      if (!silenced) this.#outgoing.write(parts);
      return;
    }
    if (!silenced) this.#outgoing.gather(batch, joined(parts));
    this.#outgoing.close(batch);
  }

  cancel(_outbox: SendBuffer, id: number): void {
    if (id === this.#sacred || this.#notified.has(id)) return;
    const { cancel } = this.#shape.dialect;
    if (cancel === undefined) return;
    const { method, member } = cancel;
    const params = { [member]: id };
    const message = JSON.stringify({ jsonrpc: "2.0", method, params });
    this.#outgoing.send([utf8(message)]);
  }

  // What this wire has no words for; see its features.

  ping(): void {}

  pong(): void {}

  goaway(): void {}

  retract(): boolean {
    return false;
  }

  #encodeMethod(method: string): void {
    if (method === this.#method && this.#methodSize > 0) return;
    this.#method = method;
    this.#methodText = JSON.stringify(method);
    this.#methodSize = utf8(this.#methodText).length;
  }
}

/** Bytes around a request's method and params, its id at the longest. */
const ENVELOPE = 60;
const CLOSE = utf8("}");
const NULL = utf8("null");
