/**
 * Incoming messages: turns JSON texts into calls, notifications, responses and
 * cancels, and passes them to the connection.
 *
 * Order and bounds:
 * - A message that is neither a request nor a response gets an error response
 *   (JSON-RPC 2.0 section 5.1), and the connection stays open. The same holds
 *   for a message of known length that is not JSON. A line that is not JSON
 *   ends the connection, because its sender does not speak JSON-RPC.
 * - A child process may print anything between its messages. There, a line that
 *   is not a message is dropped and reported to `onError`, and not answered.
 * - A call above the local window is answered with an error. A notification
 *   above it ends the connection, because to drop it would go unnoticed.
 * - The params of a call that must wait are held as bytes.
 *
 * @module
 */

import { copyBytes } from "../base/bytes.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import { readText, utf8 } from "../base/utf8.ts";
import type { MessageHandler } from "../wire/codec.ts";
import { decodedJsonSize } from "../wire/values/json_size.ts";
import { looksLike } from "../wire/message_reader.ts";
import { BatchResponse, elementRanges, MAX_BATCH } from "./batch.ts";
import type { CallIds } from "./peer_call_ids.ts";
import {
  type ErrorCodeTable,
  INVALID_REQUEST,
  OVERLOADED,
  PARSE_ERROR,
} from "./error_codes.ts";
import { latin1, tooLarge } from "./framing.ts";
import {
  type InvalidMessage,
  type JsonRpcId,
  ownProperty,
  readMessage,
  type RequestMessage,
  type ResponseMessage,
} from "./message.ts";
import type { Dialect } from "./options.ts";
import { errorHead, type OutgoingMessages } from "./outgoing.ts";

const EMPTY = /* @__PURE__ */ new Uint8Array(0);

/**
 * How a response begins as most peers write it: with its id before its result
 * or error. It finds the call that a response above the limit belongs to.
 */
const RESPONSE_HEAD =
  /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,10})\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(result|error)"\s*:/;
/** Matches what may still become a {@linkcode RESPONSE_HEAD} when more bytes arrive. */
const MAY_BE_HEAD = /^[\s{}"a-z:,.0-9]*$/;

/** How many bytes of a line that is not JSON are looked at, to name what it is. */
const SNIFFED = 24;
/** How many bytes of a dropped line an error message shows. */
const SHOWN = 200;

/** What {@linkcode IncomingMessages} works with. */
export interface IncomingContext {
  readonly handler: MessageHandler;
  readonly dialect: Dialect;
  readonly codes: ErrorCodeTable;
  readonly callIds: CallIds;
  readonly outgoing: OutgoingMessages;
  /** Whether the local side may have made a call with this id. */
  readonly mayHaveSent: (id: number) => boolean;
  /** Whether messages are lines. */
  readonly lines: boolean;
  /** Largest message that is read, in bytes. */
  readonly maxMessage: number;
  /** Receives an error for each dropped line of a child process; undefined if the peer is not one. */
  readonly onStrayLine: ((error: ConnectionError) => void) | undefined;
}

/** A line is not JSON. The peer has already received an error response for it. */
export class NotJsonError extends ConnectionError {}

/** Reads the messages of one connection. */
export class IncomingMessages {
  /** Set to true to stop before the next message of a batch. */
  stopped = false;
  /** The payload of the message that is being delivered. */
  value: unknown = undefined;
  /** The text of the request that is being delivered: `#bytes[#start..#end)`. */
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;
  readonly #context: IncomingContext;

  constructor(context: IncomingContext) {
    this.#context = context;
  }

  /** Copies the text of the request that is being delivered, for {@linkcode decodeRetained}. */
  retain(): Uint8Array {
    return copyBytes(this.#bytes, this.#start, this.#end);
  }

  /** Estimates how many bytes of memory the params take once decoded: of a retained request, or of the one being delivered. */
  decodedSize(retained: Uint8Array | undefined): number {
    return retained === undefined
      ? decodedJsonSize(this.#bytes, this.#start, this.#end)
      : decodedJsonSize(retained, 0, retained.length);
  }

  /**
   * Reads the text `bytes[start..end)` and delivers its messages. Returns how
   * many there were.
   *
   * @throws {ConnectionError} If the connection must end.
   */
  read(
    bytes: Uint8Array,
    start: number,
    end: number,
    charset: string | undefined,
  ): number {
    let value: unknown;
    try {
      if (!isUtf8(charset)) throw new TypeError("not UTF-8");
      value = JSON.parse(readText(bytes, start, end));
    } catch {
      this.#readNotJson(bytes, start, end);
      return 1;
    }
    if (Array.isArray(value)) return this.#readBatch(value, bytes, start, end);
    this.#deliver(value, bytes, start, end, undefined);
    return 1;
  }

  #readNotJson(bytes: Uint8Array, start: number, end: number): void {
    const { lines, onStrayLine } = this.#context;
    if (onStrayLine !== undefined) return this.#dropLine(bytes, start, end);
    this.replyWithError(PARSE_ERROR, "the message is not valid JSON in UTF-8");
    if (!lines) return;
    const first = bytes.subarray(start, Math.min(end, start + SNIFFED));
    throw new NotJsonError(
      "protocol_error",
      `the peer sent a line that is not JSON: ${looksLike(first)}`,
    );
  }

  /** Handles a message above the limit, as {@linkcode OversizedHandler} describes. A response fails its call. */
  readOversized(head: Uint8Array, what: string, complete: boolean): boolean {
    const { handler, maxMessage, mayHaveSent, onStrayLine } = this.#context;
    const text = latin1(head, 0, head.length);
    const [, digits, member] = RESPONSE_HEAD.exec(text) ?? [];
    const id = Number(digits);
    const error = tooLarge(what, maxMessage);
    if (isLocalId(id) && mayHaveSent(id)) {
      const started = member === "result" ? true : undefined;
      const message = `the response is too large: ${error.message}`;
      handler.onFailure(id, started, error.code, message);
      return true;
    }
    if (!complete && MAY_BE_HEAD.test(text)) return false;
    if (onStrayLine === undefined) throw error;
    this.#dropLine(head, 0, head.length);
    return true;
  }

  #dropLine(bytes: Uint8Array, start: number, end: number): void {
    const text = latin1(bytes, start, Math.min(end, start + SHOWN));
    this.#context.onStrayLine?.(
      new ConnectionError(
        "protocol_error",
        `dropped a line of the child process that is not a JSON-RPC message: ${
          quote(text, SHOWN)
        }`,
      ),
    );
  }

  /** Answers a message that cannot be served with an error response. */
  replyWithError(
    code: number,
    text: string,
    id: JsonRpcId = null,
    batch?: BatchResponse,
  ): void {
    const response = utf8(errorHead(id, code, text) + "}}");
    const { outgoing } = this.#context;
    if (batch === undefined) outgoing.write([response]);
    else outgoing.addToBatch(batch, response);
  }

  #readBatch(
    values: unknown[],
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (values.length === 0 && this.#context.onStrayLine !== undefined) {
      this.#dropLine(bytes, start, end);
      return 1;
    }
    if (values.length === 0 || values.length > MAX_BATCH) {
      const text = values.length === 0
        ? "a batch must not be empty"
        : `a batch must have at most ${MAX_BATCH} messages, received ${values.length}`;
      this.replyWithError(INVALID_REQUEST, text);
      return 1;
    }
    const batch = new BatchResponse();
    const ranges = elementRanges(bytes, start, end);
    for (let i = 0; i < values.length && !this.stopped; i++) {
      this.#deliver(values[i], bytes, ranges[2 * i], ranges[2 * i + 1], batch);
    }
    this.#context.outgoing.finishOne(batch);
    return values.length;
  }

  /** Delivers one message: `value`, whose text is `bytes[start..end)`. */
  #deliver(
    value: unknown,
    bytes: Uint8Array,
    start: number,
    end: number,
    batch: BatchResponse | undefined,
  ): void {
    const message = readMessage(value);
    switch (message.kind) {
      case "request":
        this.#bytes = bytes;
        this.#start = start;
        this.#end = end;
        this.#onRequest(message, end - start, batch);
        this.#bytes = EMPTY;
        break;
      case "response":
        this.#onResponse(message);
        break;
      case "invalid":
        this.#onInvalid(message, bytes, start, end, batch);
        break;
    }
    this.value = undefined;
  }

  #onRequest(
    { id: wireId, method, params }: RequestMessage,
    size: number,
    batch: BatchResponse | undefined,
  ): void {
    const { callIds, dialect, handler } = this.#context;
    const { cancel } = dialect;
    if (wireId === undefined && method === cancel?.method) {
      this.#onCancel(params, cancel.member);
      return;
    }
    if (!callIds.hasCapacity(size)) {
      this.#onOverload(wireId, batch);
      return;
    }
    const expected = wireId === undefined ? undefined : batch;
    expected?.expect();
    const id = callIds.add({
      wireId,
      method,
      size,
      batch: expected,
      suppressed: false,
    });
    this.value = params;
    handler.onRequest(id, method, size, -1, undefined);
  }

  /** Cancels a call of the peer. An id without an open request is ignored: its response may have crossed the cancel. */
  #onCancel(params: unknown, member: string): void {
    const { callIds, dialect, handler } = this.#context;
    if (typeof params !== "object" || params === null) return;
    const id = callIds.find(ownProperty(params, member) as JsonRpcId);
    const request = id === undefined ? undefined : callIds.get(id);
    if (id === undefined || request === undefined) return;
    if (request.method === dialect.uncancellable) return;
    request.suppressed = dialect.features.cancel === "silent";
    handler.onCancel(id);
  }

  #onOverload(
    wireId: JsonRpcId | undefined,
    batch: BatchResponse | undefined,
  ): void {
    if (wireId === undefined) {
      throw new ConnectionError(
        "resource_exhausted",
        "the peer sent a notification above the receiver's windowCalls or windowBytes",
      );
    }
    const text = "the call exceeds the receiver's windowCalls or windowBytes";
    this.replyWithError(OVERLOADED, text, wireId, batch);
  }

  /** Settles a call. A response without such a call is dropped, here or by the handler. */
  #onResponse({ id, result, error }: ResponseMessage): void {
    const { codes, handler } = this.#context;
    if (!isLocalId(id)) return;
    if (error === undefined) {
      this.value = result;
      handler.onReply(id);
      return;
    }
    const { code, started, message, data } = codes.decode(error);
    this.value = data;
    handler.onFailure(id, started, code, message);
  }

  /**
   * Answers an invalid message. One that has the id of a local call and no
   * method fails that call instead: no other response will arrive for it.
   */
  #onInvalid(
    { id, reason, mayBeResponse }: InvalidMessage,
    bytes: Uint8Array,
    start: number,
    end: number,
    batch: BatchResponse | undefined,
  ): void {
    const { handler, mayHaveSent, onStrayLine } = this.#context;
    if (mayBeResponse && isLocalId(id) && mayHaveSent(id)) {
      const message = `the response is invalid: ${reason}`;
      handler.onFailure(id, undefined, "invalid_reply", message);
    } else if (onStrayLine !== undefined && id === null) {
      this.#dropLine(bytes, start, end);
    } else this.replyWithError(INVALID_REQUEST, reason, id, batch);
  }
}

/** Decodes the params of a request that was retained. */
export function decodeRetained(bytes: Uint8Array): unknown {
  const text = readText(bytes, 0, bytes.length);
  return ownProperty(JSON.parse(text), "params") ?? undefined;
}

/** Whether an id has the form of local ones: an unsigned 32-bit number. */
function isLocalId(id: JsonRpcId): id is number {
  return typeof id === "number" && id >>> 0 === id;
}

/** LSP 3.17, "Header Part": `utf8` means `utf-8`, for old peers. */
function isUtf8(charset: string | undefined): boolean {
  return charset === undefined || charset === "utf-8" || charset === "utf8";
}
