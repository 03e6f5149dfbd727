/**
 * The codec of JSON-RPC 2.0: turns the connection's messages into JSON texts and
 * JSON texts into messages.
 *
 * Order:
 * - Every call of the peer gets exactly one response, a notification none.
 * - A local notification is settled once the transport has taken its batch of
 *   frames.
 * - Bytes that break the framing end the connection; the peer receives an error
 *   response that says why before the connection closes.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import type {
  Codec,
  CodecSettings,
  MessageHandler,
  WireFeatures,
} from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { PayloadRole } from "../wire/values/to_json.ts";
import { CallIds, type OpenRequest } from "./peer_call_ids.ts";
import { INVALID_REQUEST } from "./error_codes.ts";
import { type Framing, toFraming } from "./framing.ts";
import { decodeRetained, IncomingMessages, NotJsonError } from "./incoming.ts";
import type { JsonRpcSettings } from "./options.ts";
import {
  errorHead,
  joined,
  JsonText,
  OutgoingMessages,
  type PreparedText,
  unsupported,
} from "./outgoing.ts";

/** Longest error message that is written, in characters. */
const MAX_ERROR_TEXT = 4096;
/** Bytes of a request beside its method and params, with the longest id. */
const ENVELOPE = 60;
const CLOSE = /* @__PURE__ */ utf8("}");
const NULL = /* @__PURE__ */ utf8("null");

/** The codec of one JSON-RPC connection. */
export class JsonRpcCodec implements Codec {
  readonly features: WireFeatures;
  readonly overhead = 0;

  readonly #handler: MessageHandler;
  readonly #codecSettings: CodecSettings;
  readonly #settings: JsonRpcSettings;
  readonly #framing: Framing;

  // The peer's messages.
  readonly #incoming: IncomingMessages;
  readonly #callIds: CallIds;
  /** Messages read so far. */
  #messagesRead = 0;

  // Local messages.
  readonly #outgoing: OutgoingMessages;
  readonly #payload = new JsonText();
  /** Local notifications in the frames that the transport has not taken. */
  #notifications = new Set<number>();
  /** The id of the latest local call. */
  #lastId: number | undefined;
  /** The id of the local call that must not be cancelled. */
  #uncancellableId: number | undefined;
  /** The latest method written, its JSON text, and that text's size in bytes: consecutive calls often share it. */
  #method = "";
  #methodText = "";
  #methodSize = 0;

  /** @throws {TypeError} If the connection has a serializer. */
  constructor(
    handler: MessageHandler,
    codecSettings: CodecSettings,
    settings: JsonRpcSettings,
  ) {
    if (codecSettings.serializer !== undefined) {
      throw new TypeError(
        "Cannot use a serializer: JSON-RPC carries values as JSON",
      );
    }
    this.#handler = handler;
    this.#codecSettings = codecSettings;
    this.#settings = settings;
    this.features = settings.dialect.features;
    const { maxMessage, windowCalls, windowBytes } = codecSettings.hello;
    const lines = settings.framing === "lines";
    const onStrayLine = lines ? codecSettings.onStrayLine : undefined;
    this.#framing = toFraming(
      settings.framing,
      maxMessage,
      (bytes, start, end, charset) => {
        this.#messagesRead++;
        return incoming.read(bytes, start, end, charset);
      },
      {
        eager: onStrayLine === undefined,
        mayRead: (bytes) => handler.mayRead(bytes),
        oversized: (head, what, complete) => {
          const handled = incoming.readOversized(head, what, complete);
          if (handled) this.#messagesRead++;
          return handled;
        },
      },
    );
    this.#outgoing = new OutgoingMessages(this.#framing, maxMessage);
    this.#callIds = new CallIds(windowCalls, windowBytes);
    const incoming = this.#incoming = new IncomingMessages({
      handler,
      dialect: settings.dialect,
      codes: settings.codes,
      callIds: this.#callIds,
      outgoing: this.#outgoing,
      mayHaveSent: (id) =>
        this.#lastId !== undefined && ((this.#lastId - id) | 0) >= 0,
      lines,
      maxMessage,
      onStrayLine,
    });
  }

  // Messages in.

  decode(chunk: Uint8Array, at: number, budget: number): number {
    try {
      return this.#framing.push(chunk, at, budget);
    } catch (error) {
      // The start of the next message is unknown from here on.
      if (
        error instanceof ConnectionError && !(error instanceof NotJsonError)
      ) {
        this.#incoming.replyWithError(INVALID_REQUEST, error.message);
      }
      throw error;
    }
  }

  get unfinished(): number | undefined {
    return this.#framing.insideMessage ? this.#messagesRead : undefined;
  }

  get unfinishedBytes(): number {
    return this.#framing.heldBytes + this.#outgoing.heldBytes;
  }

  end(): void {
    this.#framing.end();
  }

  stop(): void {
    this.#framing.stopped = this.#incoming.stopped = true;
  }

  value(): unknown {
    return this.#incoming.value;
  }

  retain(): unknown {
    return this.#incoming.retain();
  }

  decodeRetained(retained: unknown): unknown {
    return decodeRetained(retained as Uint8Array);
  }

  decodedSize(retained: unknown): number {
    return this.#incoming.decodedSize(retained as Uint8Array | undefined);
  }

  // Payloads out.

  prepare(
    value: unknown,
    _transfer?: boolean,
    _method?: string,
    role?: PayloadRole,
  ): void {
    this.#payload.prepare(value, role);
  }

  markNotification(): void {
    this.#payload.notification = true;
  }

  savePrepared(): unknown {
    return this.#payload.save();
  }

  restorePrepared(prepared: unknown): void {
    this.#payload.restore(prepared as PreparedText);
  }

  requestSize(
    method: string,
    _timed: boolean,
    metadata?: MetadataBlock,
  ): number {
    if (metadata !== undefined && metadata.size > 0) {
      throw unsupported(
        "Cannot send metadata: JSON-RPC does not support it; put it into the params",
      );
    }
    this.#payload.checkParams();
    this.#encodeMethod(method);
    return ENVELOPE + this.#methodSize + this.#payload.size;
  }

  replySize(): number {
    return this.#payload.size;
  }

  // Messages out.

  /** Opens the connection at once: JSON-RPC has no HELLO, so the local settings stand in for the peer's. */
  hello(sendBuffer: FrameBuffer): void {
    this.#outgoing.open(sendBuffer);
    const { limits } = this.#codecSettings;
    const windowCalls = this.#settings.window ?? limits.windowCalls;
    this.#handler.onHello({ ...limits, windowCalls });
  }

  request(_sendBuffer: FrameBuffer, id: number, method: string): void {
    const payload = this.#payload;
    const { notification } = payload;
    if (notification) this.#notifications.add(id);
    else {
      this.#lastId = id;
      if (method === this.#settings.dialect.uncancellable) {
        this.#uncancellableId = id;
      }
    }
    this.#encodeMethod(method);
    const wireId = notification ? "" : `"id":${id},`;
    const params = payload.size > 0 ? ',"params":' : "";
    const head =
      `{"jsonrpc":"2.0",${wireId}"method":${this.#methodText}${params}`;
    this.#outgoing.send([utf8(head), payload.take(), CLOSE]);
  }

  reply(_sendBuffer: FrameBuffer, id: number): void {
    const request = this.#callIds.take(id);
    const result = this.#payload.take();
    if (request?.wireId === undefined) return;
    const wireId = JSON.stringify(request.wireId);
    const head = `{"jsonrpc":"2.0","id":${wireId},"result":`;
    const body = result.length > 0 ? result : NULL;
    this.#respond(request, [utf8(head), body, CLOSE]);
  }

  failure(
    _sendBuffer: FrameBuffer,
    id: number,
    started: boolean,
    code: string,
    message: string,
    maxMessage: number,
  ): void {
    const request = this.#callIds.take(id);
    const data = this.#payload.take();
    if (request?.wireId === undefined) return;
    const number = this.#settings.codes.toNumber(code, started);
    const text = message.slice(0, MAX_ERROR_TEXT);
    const head = errorHead(request.wireId, number, text);
    const parts = data.length > 0 && head.length + data.length <= maxMessage
      ? [utf8(head + ',"data":'), data, CLOSE, CLOSE]
      : [utf8(head + "}}")];
    this.#respond(request, parts);
  }

  /** Writes a call's response, or adds it to those of its batch. */
  #respond({ batch, suppressed }: OpenRequest, parts: Uint8Array[]): void {
    if (batch === undefined) {
      if (!suppressed) this.#outgoing.write(parts);
      return;
    }
    if (!suppressed) this.#outgoing.addToBatch(batch, joined(parts));
    this.#outgoing.finishOne(batch);
  }

  cancel(_sendBuffer: FrameBuffer, id: number): void {
    if (id === this.#uncancellableId || this.#notifications.has(id)) return;
    const { cancel } = this.#settings.dialect;
    if (cancel === undefined) return;
    const { method, member } = cancel;
    const params = { [member]: id };
    const message = JSON.stringify({ jsonrpc: "2.0", method, params });
    this.#outgoing.send([utf8(message)]);
  }

  /** Settles the notifications that the transport has taken: no response follows. */
  flushed(): void {
    if (this.#notifications.size === 0) return;
    const notifications = this.#notifications;
    this.#notifications = new Set();
    for (const id of notifications) this.#handler.onReply(id);
  }

  /** Runs `calls`, and sends the calls and notifications that it makes as one array. */
  batch<T>(calls: () => T): T {
    return this.#outgoing.collect(calls);
  }

  #encodeMethod(method: string): void {
    if (method === this.#method && this.#methodSize > 0) return;
    this.#method = method;
    this.#methodText = JSON.stringify(method);
    this.#methodSize = utf8(this.#methodText).length;
  }

  // Not supported by JSON-RPC; see `features`.

  ping(): void {}

  pong(): void {}

  goaway(): void {}

  retract(): boolean {
    return false;
  }
}
