/**
 * Outgoing messages: payloads become JSON text, and whole messages are written
 * to the send buffer with what the framing puts around them.
 *
 * Order:
 * - A value becomes text when it is prepared. Later changes to it have no effect.
 * - A message is written without a break. While a batch is being collected, a
 *   request or notification becomes an element of that batch instead.
 *
 * Bound: responses that wait for a slower one of their batch hold at most
 * {@linkcode MAX_BATCHED_BYTES} bytes in all. Beyond that a batch's responses
 * leave early, in an array of their own. So the send buffer counts them, and
 * its limit ends the connection of a peer that does not read.
 *
 * @module
 */

import { RpcError } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { type PayloadRole, toJson } from "../wire/values/to_json.ts";
import { type BatchResponse, MAX_BATCH, toJsonArray } from "./batch.ts";
import type { Framing } from "./framing.ts";
import type { JsonRpcId } from "./message.ts";

const EMPTY = /* @__PURE__ */ new Uint8Array(0);

// Payloads.

/** A payload that was set aside, for a call that must wait. */
export interface PreparedText {
  readonly bytes: Uint8Array;
  readonly notification: boolean;
}

/** Holds the JSON text of one payload, from its preparation until it is written. */
export class JsonText {
  /** Whether the payload is the params of a notification. */
  notification = false;
  /** The text; empty if there is no value. */
  #bytes: Uint8Array = EMPTY;

  /** Size of the text in bytes; 0 if there is no value. */
  get size(): number {
    return this.#bytes.length;
  }

  /**
   * Turns a value into its text.
   *
   * @throws {RpcError} `invalid_argument` if JSON cannot carry the value.
   */
  prepare(value: unknown, role?: PayloadRole): void {
    this.#bytes = value === undefined ? EMPTY : utf8(toJson(value, role));
    // Last: a `toJSON` of the value may have made another call meanwhile.
    this.notification = false;
  }

  /**
   * Checks that the payload can be params (JSON-RPC 2.0 section 4.2).
   *
   * @throws {RpcError} `invalid_argument` if it is neither array nor object.
   */
  checkParams(): void {
    const first = this.#bytes[0];
    if (first === undefined || first === 0x5b || first === 0x7b) return;
    throw unsupported(
      "Cannot send params: JSON-RPC requires an array, an object or undefined",
    );
  }

  /** Sets the payload aside. */
  save(): PreparedText {
    const { notification } = this;
    return { bytes: this.take(), notification };
  }

  /** Prepares a payload that was set aside. */
  restore(prepared: PreparedText): void {
    this.#bytes = prepared.bytes;
    this.notification = prepared.notification;
  }

  /** Returns the text and releases it. */
  take(): Uint8Array {
    const bytes = this.#bytes;
    this.#bytes = EMPTY;
    return bytes;
  }
}

/** The error for what JSON-RPC does not support. */
export function unsupported(message: string): RpcError {
  return new RpcError("invalid_argument", message, { outcome: "not_sent" });
}

/** The text of an error response up to its message; `}}` completes it. */
export function errorHead(id: JsonRpcId, code: number, text: string): string {
  return `{"jsonrpc":"2.0","id":${
    JSON.stringify(id)
  },"error":{"code":${code},"message":${JSON.stringify(text)}`;
}

// Messages.

/** Parts of at least this many bytes are passed to the transport without a copy. */
const ATTACH_SIZE = 16 * 1024;

/** Most bytes of responses that wait for others of their batch, over all batches of a connection. */
const MAX_BATCHED_BYTES = 4 * 1024 * 1024;

/** Writes the messages of one connection. */
export class OutgoingMessages {
  readonly #framing: Framing;
  readonly #maxMessage: number;
  readonly #suffix: Uint8Array;
  /** The messages of the batch that is being collected; undefined if none is. */
  #collected: Uint8Array[] | undefined;
  #collectedBytes = 0;
  /** Bytes of responses that wait for others of their batch. */
  #batchedBytes = 0;
  #sendBuffer: FrameBuffer | undefined;

  constructor(framing: Framing, maxMessage: number) {
    this.#framing = framing;
    this.#maxMessage = maxMessage;
    this.#suffix = utf8(framing.suffix);
  }

  /** Bytes held here: of batches that are being collected or answered. */
  get heldBytes(): number {
    return this.#batchedBytes + this.#collectedBytes;
  }

  /** Sets where to write. Messages written before that are dropped. */
  open(sendBuffer: FrameBuffer): void {
    this.#sendBuffer = sendBuffer;
  }

  /** Writes a message now. The send buffer owns its parts from then on. */
  write(parts: readonly Uint8Array[]): void {
    const size = sizeOf(parts);
    const prefix = this.#framing.prefix(size);
    const around = prefix.length + this.#suffix.length;
    if (!this.#sendBuffer?.canSend(size + around)) return;
    if (prefix !== "") this.#writePart(utf8(prefix));
    for (const part of parts) this.#writePart(part);
    this.#writePart(this.#suffix);
  }

  #writePart(part: Uint8Array): void {
    const sendBuffer = this.#sendBuffer as FrameBuffer;
    if (part.length >= ATTACH_SIZE) {
      sendBuffer.attach(part);
      return;
    }
    const at = sendBuffer.reserve(part.length);
    sendBuffer.bytes.set(part, at);
  }

  /** Writes a request or notification, or adds it to the batch that is being collected. */
  send(parts: readonly Uint8Array[]): void {
    if (this.#collected === undefined) {
      this.write(parts);
      return;
    }
    const message = joined(parts);
    // The peer does not announce its limits; the local ones are a fair guess.
    const size = this.#collectedBytes + message.length + 2;
    if (size > this.#maxMessage || this.#collected.length === MAX_BATCH) {
      this.#writeCollected();
    }
    this.#collected.push(message);
    this.#collectedBytes += message.length + 1;
  }

  /** Runs `calls`, and writes what they send as one array. */
  collect<T>(calls: () => T): T {
    if (this.#collected !== undefined) return calls();
    this.#collected = [];
    try {
      return calls();
    } finally {
      this.#writeCollected();
      this.#collected = undefined;
    }
  }

  #writeCollected(): void {
    const messages = this.#collected as Uint8Array[];
    this.#collected = [];
    this.#collectedBytes = 0;
    // A single message needs no array, which some peers do not support.
    if (messages.length === 1) this.write(messages);
    else if (messages.length > 1) this.write(toJsonArray(messages));
  }

  /** Adds a response to those of its batch. */
  addToBatch(batch: BatchResponse, response: Uint8Array): void {
    if (batch.size + response.length > this.#maxMessage) {
      this.#writeBatch(batch);
    }
    batch.add(response);
    this.#batchedBytes += response.length + 1;
    if (this.#batchedBytes > MAX_BATCHED_BYTES) this.#writeBatch(batch);
  }

  /**
   * Counts one call of a batch as finished, or the batch as completely read.
   * Writes the responses once nothing is pending any more.
   */
  finishOne(batch: BatchResponse): void {
    if (batch.finishOne()) this.#writeBatch(batch);
  }

  #writeBatch(batch: BatchResponse): void {
    this.#batchedBytes -= batch.size;
    const parts = batch.take();
    if (parts.length > 0) this.write(parts);
  }
}

/** The size of the parts in bytes. */
function sizeOf(parts: readonly Uint8Array[]): number {
  let size = 0;
  for (const part of parts) size += part.length;
  return size;
}

/** The parts as one array of bytes. */
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
