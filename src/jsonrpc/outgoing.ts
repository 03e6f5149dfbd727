/**
 * Whole messages into the outbox, each with what its framing puts around it.
 *
 * Invariants owned here:
 * - A message is written without a break, or, within `collect`, becomes an
 *   element of the array that is.
 * - Answers that wait for a slower one of their batch hold at most
 *   `MAX_GATHERED` bytes in all. What would be more leaves early, in an array of
 *   its own: so the outbox counts it, and ends a peer that does not read.
 *
 * @module
 */

import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { utf8 } from "../base/utf8.ts";
import { type AnswerBatch, MAX_BATCH, toArray } from "./batch.ts";
import type { Framing } from "./framing.ts";
import type { WireId } from "./message.ts";
import { RpcError } from "../base/errors.ts";
import { type PayloadRole, toJson } from "../wire/to_json.ts";

/** Parts of at least this many bytes are handed to the transport as they are instead of copied. */
const ATTACH_SIZE = 16 * 1024;

/** Most bytes of answers that wait for their batch. */
const MAX_GATHERED = 4 * 1024 * 1024;

/** Writes one connection's messages. */
export class OutgoingMessages {
  readonly #framing: Framing;
  readonly #maxMessage: number;
  readonly #behind: Uint8Array;
  /** What is being collected for one array. */
  #collected: Uint8Array[] | undefined;
  #collectedSize = 0;
  /** Bytes of answers that wait for their batches. */
  #gathered = 0;
  #sendBuffer: FrameBuffer | undefined;

  constructor(framing: Framing, maxMessage: number) {
    this.#framing = framing;
    this.#maxMessage = maxMessage;
    this.#behind = utf8(framing.behind);
  }

  /** Bytes of what waits for its batch or array. */
  get held(): number {
    return this.#gathered + this.#collectedSize;
  }

  /** Says where to write; before that, nothing is. */
  open(sendBuffer: FrameBuffer): void {
    this.#sendBuffer = sendBuffer;
  }

  /** Writes a message now; its parts are the outbox's from then on. */
  write(parts: readonly Uint8Array[]): void {
    const size = sizeOf(parts);
    const before = this.#framing.before(size);
    const around = before.length + this.#behind.length;
    if (!this.#sendBuffer?.canSend(size + around)) return;
    if (before !== "") this.#part(utf8(before));
    for (const part of parts) this.#part(part);
    this.#part(this.#behind);
  }

  /** Writes a call or a notification: into the array, if one is being collected. */
  send(parts: readonly Uint8Array[]): void {
    if (this.#collected === undefined) {
      this.write(parts);
      return;
    }
    const message = joined(parts);
    // The peer's limits are unknown; ours are a fair guess.
    const size = this.#collectedSize + message.length + 2;
    if (size > this.#maxMessage || this.#collected.length === MAX_BATCH) {
      this.#flush();
    }
    this.#collected.push(message);
    this.#collectedSize += message.length + 1;
  }

  /** Puts an answer to those of its batch. */
  gather(batch: AnswerBatch, answer: Uint8Array): void {
    if (batch.size + answer.length > this.#maxMessage) this.#release(batch);
    batch.add(answer);
    this.#gathered += answer.length + 1;
    if (this.#gathered > MAX_GATHERED) this.#release(batch);
  }

  /** One of a batch's calls is answered, or the batch was read: writes the answers if it was the last. */
  close(batch: AnswerBatch): void {
    if (batch.done()) this.#release(batch);
  }

  #release(batch: AnswerBatch): void {
    this.#gathered -= batch.size;
    const answers = batch.take();
    if (answers.length > 0) this.write(answers);
  }

  /** Runs `calls`, and writes what they send as one array. */
  collect<T>(calls: () => T): T {
    if (this.#collected !== undefined) return calls();
    this.#collected = [];
    try {
      return calls();
    } finally {
      this.#flush();
      this.#collected = undefined;
    }
  }

  #flush(): void {
    const messages = this.#collected as Uint8Array[];
    this.#collected = [];
    this.#collectedSize = 0;
    // One alone needs no array, which not every peer understands.
    if (messages.length === 1) this.write(messages);
    else if (messages.length > 1) this.write(toArray(messages));
  }

  #part(part: Uint8Array): void {
    const sendBuffer = this.#sendBuffer as FrameBuffer;
    if (part.length >= ATTACH_SIZE) {
      sendBuffer.attach(part);
      return;
    }
    const at = sendBuffer.reserve(part.length);
    sendBuffer.bytes.set(part, at);
  }
}

/** How many bytes the parts come to. */
export function sizeOf(parts: readonly Uint8Array[]): number {
  let size = 0;
  for (const part of parts) size += part.length;
  return size;
}

/** The parts as one. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(sizeOf(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** An error response up to its message. */
export function failureHead(id: WireId, code: number, text: string): string {
  return `{"jsonrpc":"2.0","id":${
    JSON.stringify(id)
  },"error":{"code":${code},"message":${JSON.stringify(text)}`;
}

/** A text that waits. */
export interface PreparedText {
  readonly bytes: Uint8Array;
  readonly oneWay: boolean;
}

/** Prepares one payload at a time. */
export class JsonText {
  /** Whether it is a notification's params. */
  oneWay = false;
  /** Its text; empty for no value. */
  #bytes: Uint8Array = EMPTY;

  /** Its size in bytes; 0 for no value. */
  get size(): number {
    return this.#bytes.length;
  }

  /**
   * Takes a value in.
   *
   * @throws {RpcError} `invalid_argument` if JSON cannot carry it.
   */
  prepare(value: unknown, role?: PayloadRole): void {
    this.#bytes = value === undefined ? EMPTY : utf8(toJson(value, role));
    // After the value's own code has run, which may have prepared another.
    this.oneWay = false;
  }

  /**
   * Looks at it as params.
   *
   * @throws {RpcError} `invalid_argument` if they are neither array nor object.
   */
  checkParams(): void {
    const first = this.#bytes[0];
    if (first === undefined || first === 0x5b || first === 0x7b) return;
    throw unserializableResult("JSON-RPC's params are an array or an object");
  }

  /** What is prepared, to be written in a later turn. */
  save(): PreparedText {
    const { oneWay } = this;
    return { bytes: this.take(), oneWay };
  }

  /** Takes in again what `save` returned. */
  load(draft: PreparedText): void {
    this.#bytes = draft.bytes;
    this.oneWay = draft.oneWay;
  }

  /** The text, and lets go of it. */
  take(): Uint8Array {
    const bytes = this.#bytes;
    this.#bytes = EMPTY;
    return bytes;
  }
}

const EMPTY = new Uint8Array(0);

/** The error for what JSON-RPC has no form for. */
export function unserializableResult(why: string, cause?: unknown): RpcError {
  const outcome = "not_sent";
  return new RpcError("invalid_argument", why, { outcome, cause });
}
