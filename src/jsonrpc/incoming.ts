/**
 * What the peer says: JSON texts to calls, notifications, answers, cancels.
 *
 * Invariants owned here:
 * - What is no request and no response is answered as the specification says,
 *   and the connection goes on. So it does where a message of a known length is
 *   not JSON; a line that is none is a stranger's, and ends the connection.
 * - Over a child's output, into which anything may print, what is no message is
 *   dropped and told.
 * - A call or notification past the room we have is never told, and never lost
 *   without a word.
 * - Params that must wait are kept as bytes.
 *
 * @module
 */

import type { MessageHandler } from "../wire/codec.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import { looksLike } from "../wire/message_reader.ts";
import { copyBytes } from "../base/bytes.ts";
import { decodedJsonSize } from "../wire/json_size.ts";
import { readText, utf8 } from "../base/utf8.ts";
import { AnswerBatch, elementsOf, MAX_BATCH } from "./batch.ts";
import {
  type Codes,
  INVALID_REQUEST,
  OVERLOADED,
  PARSE_ERROR,
} from "./error_codes.ts";
import type { Dialect } from "./options.ts";
import { failureHead, type OutgoingMessages } from "./outgoing.ts";
import {
  type InvalidMessage,
  own,
  readMessage,
  type RequestMessage,
  type ResponseMessage,
  type WireId,
} from "./message.ts";
import { latin1, tooLarge } from "./framing.ts";
import type { CallIds } from "./call_ids.ts";

/** What it reads with. */
export interface IncomingContext {
  readonly receiver: MessageHandler;
  readonly dialect: Dialect;
  readonly codes: Codes;
  readonly served: CallIds;
  readonly outgoing: OutgoingMessages;
  /** Whether a call of ours may have had this id. */
  readonly asked: (id: number) => boolean;
  /** Whether messages are lines. */
  readonly lines: boolean;
  /** The largest message that is read, in bytes. */
  readonly maxMessage: number;
  /** Told of each line that is no message, where these are dropped. */
  readonly stray: ((error: ConnectionError) => void) | undefined;
}

/** A line was not JSON; the peer has been told. */
export class NotJson extends ConnectionError {}

/** Reads one connection's messages. */
export class IncomingMessages {
  /** Set to stop before the next message of a batch. */
  stopped = false;
  /** What the message being told carries. */
  value: unknown = undefined;
  /** And where it stands. */
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;
  readonly #context: IncomingContext;

  constructor(context: IncomingContext) {
    this.#context = context;
  }

  /** A call being told, to `openKept` later. */
  keep(): Uint8Array {
    return copyBytes(this.#bytes, this.#start, this.#end);
  }

  /** What the params of a kept call, or of the one being told, take once they are decoded. */
  decodedSize(kept: Uint8Array | undefined): number {
    return kept === undefined
      ? decodedJsonSize(this.#bytes, this.#start, this.#end)
      : decodedJsonSize(kept, 0, kept.length);
  }

  /** Reads `bytes[start..end)`; returns how many messages that was. */
  text(
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
      this.#unreadable(bytes, start, end);
      return 1;
    }
    if (Array.isArray(value)) return this.#array(value, bytes, start, end);
    this.#tell(value, bytes, start, end, undefined);
    return 1;
  }

  /** What is not JSON in UTF-8. */
  #unreadable(bytes: Uint8Array, start: number, end: number): void {
    const { lines, stray } = this.#context;
    if (stray !== undefined) return this.#drop(bytes, start, end);
    this.complain(PARSE_ERROR, "the message is not JSON in UTF-8");
    if (!lines) return;
    const first = bytes.subarray(start, Math.min(end, start + SNIFFED));
    throw new NotJson(
      "protocol_error",
      `the peer sent a line that is not JSON: ${looksLike(first)}`,
    );
  }

  /** A message above our own limit: see {@linkcode OversizedSink}. An answer fails its call; a child's output may hold anything. */
  oversized(head: Uint8Array, what: string, whole: boolean): boolean {
    const { asked, maxMessage, receiver, stray } = this.#context;
    const text = latin1(head, 0, head.length);
    const [, digits, member] = ANSWER_HEAD.exec(text) ?? [];
    const id = Number(digits);
    const error = tooLarge(what, maxMessage);
    if (isOurs(id) && asked(id)) {
      const started = member === "result" ? true : undefined;
      receiver.failure(id, started, error.code, `the answer: ${error.message}`);
      return true;
    }
    if (!whole && MAY_BE_HEAD.test(text)) return false;
    if (stray === undefined) throw error;
    this.#drop(head, 0, head.length);
    return true;
  }

  /** Drops what a child has printed between its messages. */
  #drop(bytes: Uint8Array, start: number, end: number): void {
    const text = latin1(bytes, start, Math.min(end, start + SHOWN));
    this.#context.stray?.(
      new ConnectionError(
        "protocol_error",
        `a line of a child's output is no message, and was dropped: ${
          quote(text, SHOWN)
        }`,
      ),
    );
  }

  /** Answers what is no call that could be served. */
  complain(
    code: number,
    text: string,
    id: WireId = null,
    batch?: AnswerBatch,
  ): void {
    const answer = utf8(failureHead(id, code, text) + "}}");
    const { outgoing } = this.#context;
    if (batch === undefined) outgoing.write([answer]);
    else outgoing.gather(batch, answer);
  }

  #array(
    values: unknown[],
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (values.length === 0 && this.#context.stray !== undefined) {
      this.#drop(bytes, start, end);
      return 1;
    }
    if (values.length === 0 || values.length > MAX_BATCH) {
      const text = values.length === 0
        ? "a batch must not be empty"
        : `a batch of ${values.length} messages; at most ${MAX_BATCH} are accepted`;
      this.complain(INVALID_REQUEST, text);
      return 1;
    }
    const batch = new AnswerBatch();
    const places = elementsOf(bytes, start, end);
    for (let i = 0; i < values.length && !this.stopped; i++) {
      this.#tell(values[i], bytes, places[2 * i], places[2 * i + 1], batch);
    }
    this.#context.outgoing.close(batch);
    return values.length;
  }

  /** Tells one message: `value`, which stands at `bytes[start..end)`. */
  #tell(
    value: unknown,
    bytes: Uint8Array,
    start: number,
    end: number,
    batch: AnswerBatch | undefined,
  ): void {
    const message = readMessage(value);
    switch (message.kind) {
      case "request":
        this.#bytes = bytes;
        this.#start = start;
        this.#end = end;
        this.#request(message, end - start, batch);
        this.#bytes = EMPTY;
        break;
      case "response":
        this.#response(message);
        break;
      case "invalid":
        this.#invalid(message, bytes, start, end, batch);
        break;
    }
    this.value = undefined;
  }

  /** What has neither method nor result, but the id of a call of ours, is that call's answer all the same: nobody would send another. */
  #invalid(
    { id, why, answers }: InvalidMessage,
    bytes: Uint8Array,
    start: number,
    end: number,
    batch: AnswerBatch | undefined,
  ): void {
    const { asked, receiver, stray } = this.#context;
    if (answers && isOurs(id) && asked(id)) {
      receiver.failure(id, undefined, "invalid_reply", `the answer: ${why}`);
    } else if (stray !== undefined && id === null) {
      this.#drop(bytes, start, end);
    } else this.complain(INVALID_REQUEST, why, id, batch);
  }

  #request(
    { id: wireId, method, params }: RequestMessage,
    size: number,
    batch: AnswerBatch | undefined,
  ): void {
    const { dialect, receiver, served } = this.#context;
    const { cancel } = dialect;
    if (wireId === undefined && method === cancel?.method) {
      this.#cancelled(params, cancel.member);
      return;
    }
    if (!served.admits(size)) {
      this.#overloaded(wireId, batch);
      return;
    }
    const expected = wireId === undefined ? undefined : batch;
    expected?.expect();
    const id = served.add({
      wireId,
      method,
      size,
      batch: expected,
      silenced: false,
    });
    this.value = params;
    receiver.request(id, method, size, -1, undefined);
  }

  /** A call that finds no room is told so. To lose a notification without a word would be worse than to end. */
  #overloaded(
    wireId: WireId | undefined,
    batch: AnswerBatch | undefined,
  ): void {
    if (wireId === undefined) {
      throw new ConnectionError(
        "resource_exhausted",
        "the peer sends notifications faster than they are handled",
      );
    }
    const text = "too many calls are waiting for their answers";
    this.complain(OVERLOADED, text, wireId, batch);
  }

  /** The peer cancels a call of its own; one that is answered already, or never was, is nothing to it. */
  #cancelled(params: unknown, member: string): void {
    const { dialect, receiver, served } = this.#context;
    if (typeof params !== "object" || params === null) return;
    const id = served.find(own(params, member) as WireId);
    const call = id === undefined ? undefined : served.get(id);
    if (id === undefined || call === undefined) return;
    if (call.method === dialect.sacred) return;
    call.silenced = dialect.features.cancel === "silent";
    receiver.cancel(id);
  }

  /** An answer to what was never asked is dropped, as one to a call that is over is. */
  #response({ id, result, error }: ResponseMessage): void {
    const { codes, receiver } = this.#context;
    if (!isOurs(id)) return;
    if (error === undefined) {
      this.value = result;
      receiver.reply(id);
      return;
    }
    const { code, started, message, data } = codes.read(error);
    this.value = data;
    receiver.failure(id, started, code, message);
  }
}

/** The params of a call that was kept. */
export function openKept(bytes: Uint8Array): unknown {
  const text = readText(bytes, 0, bytes.length);
  return own(JSON.parse(text), "params") ?? undefined;
}

/** Our ids are whole numbers of 32 bits. */
function isOurs(id: WireId): id is number {
  return typeof id === "number" && id >>> 0 === id;
}

function isUtf8(charset: string | undefined): boolean {
  return charset === undefined || charset === "utf-8" || charset === "utf8";
}

const EMPTY = new Uint8Array(0);
/** How an answer begins as most peers write it, with its id before its result; and what may become that. */
const ANSWER_HEAD =
  /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,10})\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(result|error)"\s*:/;
const MAY_BE_HEAD = /^[\s{}"a-z:,.0-9]*$/;
/** How much of a line is looked at, to name what it is. */
const SNIFFED = 24;
/** How much of a dropped line is told. */
const SHOWN = 200;
