/**
 * The frames of the limits: those of the native protocol (`docs/protocol.md`) for
 * the calls that all benchmarks make, with only the code that they need.
 *
 * @module
 */

import {
  HEADER_SIZE,
  REPLY,
  REQUEST,
  writeHeader,
} from "../../src/wire/frame.ts";
import { CHUNK } from "../rows.ts";

/** Payload kind: text. */
const STRING = 3;

const METHOD = ascii("HelloService.Hello");
/** The bytes between the header and the text of a REQUEST: the method, and the kind of the payload. */
const CALL = Uint8Array.of(0, METHOD.length, ...METHOD, STRING);
/** The same bytes of a REPLY, and the start of its text. */
const ANSWER = Uint8Array.of(STRING, ...ascii("hello:"));

const TEXT_AT = HEADER_SIZE + CALL.length;
const SPARE = 64;

/** A chunk of whole REQUESTs. */
export interface Requests {
  readonly bytes: Uint8Array;
  readonly calls: number;
}

/** The REQUESTs of calls 0 to `calls`, their ids from 0, encoded. */
export function encodeRequests(calls: number): Requests[] {
  const chunks: Requests[] = [];
  let bytes = new Uint8Array(CHUNK);
  let at = 0;
  let first = 0;
  for (let id = 0; id < calls; id++) {
    const text = ascii("client " + id);
    if (at + TEXT_AT + text.length > CHUNK) {
      chunks.push({ bytes: bytes.subarray(0, at), calls: id - first });
      bytes = new Uint8Array(CHUNK);
      at = 0;
      first = id;
    }
    writeHeader(bytes, at, CALL.length + text.length, REQUEST, 0, id);
    bytes.set(CALL, at + HEADER_SIZE);
    bytes.set(text, at + TEXT_AT);
    at += TEXT_AT + text.length;
  }
  chunks.push({ bytes: bytes.subarray(0, at), calls: calls - first });
  return chunks;
}

/** Takes one whole frame, which begins at `at`; its body is `bytes[start..end)`. */
export type TakeFrame = (
  bytes: Uint8Array,
  at: number,
  end: number,
) => void;

/** Joins chunks that end anywhere into whole frames. */
export class Cutter {
  readonly #take: TakeFrame;
  /** The received part of the frame in which the last chunk ended. */
  readonly #joint = new Uint8Array(SPARE);
  #held = 0;

  constructor(take: TakeFrame) {
    this.#take = take;
  }

  push(chunk: Uint8Array): void {
    const take = this.#take;
    const length = chunk.length;
    let at = this.#held > 0 ? this.#join(chunk) : 0;
    while (at + HEADER_SIZE <= length) {
      const end = at + HEADER_SIZE + bodyLength(chunk, at);
      if (end > length) break;
      take(chunk, at, end);
      at = end;
    }
    while (at < length) this.#joint[this.#held++] = chunk[at++];
  }

  /** Completes the frame of an earlier chunk. Returns how many bytes of this chunk it took. */
  #join(chunk: Uint8Array): number {
    const joint = this.#joint;
    for (let at = 0; at < chunk.length;) {
      joint[this.#held++] = chunk[at++];
      if (this.#held < HEADER_SIZE) continue;
      if (this.#held < HEADER_SIZE + bodyLength(joint, 0)) continue;
      const length = this.#held;
      this.#held = 0;
      this.#take(joint, 0, length);
      return at;
    }
    return chunk.length;
  }
}

/** The length of a frame's body; all are short here. */
function bodyLength(bytes: Uint8Array, at: number): number {
  const length = bytes[at + 2] << 8 | bytes[at + 3];
  if ((bytes[at] | bytes[at + 1]) !== 0 || length > SPARE - HEADER_SIZE) {
    throw new Error("Cannot read: no frame of this benchmark");
  }
  return length;
}

/** The id of the frame at `at`. */
export function frameId(bytes: Uint8Array, at: number): number {
  return (bytes[at + 8] << 24 | bytes[at + 9] << 16 | bytes[at + 10] << 8 |
    bytes[at + 11]) >>> 0;
}

/** Offset of the text of a REPLY, after its header and the kind of its payload. */
export const REPLY_TEXT = HEADER_SIZE + 1;

/** Throws unless the frame at `at` is a REPLY with a text. */
export function checkReply(bytes: Uint8Array, at: number): void {
  if (bytes[at + 4] !== REPLY || bytes[at + HEADER_SIZE] !== STRING) {
    throw new Error("Cannot read: no reply with a text");
  }
}

/** Writes the replies of the echo service into one buffer for each chunk of REQUESTs. */
export class Answers {
  #bytes = new Uint8Array(CHUNK);
  #at = 0;

  /** Writes the reply to the REQUEST at `at`. */
  add(bytes: Uint8Array, at: number, end: number): void {
    checkRequest(bytes, at);
    const text = at + TEXT_AT;
    const length = ANSWER.length + end - text;
    if (this.#at + HEADER_SIZE + length > this.#bytes.length) this.#grow();
    const out = this.#bytes;
    let to = this.#at;
    writeHeader(out, to, length, REPLY, 0, frameId(bytes, at));
    to += HEADER_SIZE;
    for (let i = 0; i < ANSWER.length; i++) out[to++] = ANSWER[i];
    for (let i = text; i < end; i++) out[to++] = bytes[i];
    this.#at = to;
  }

  /** The replies since the last call, which belong to the caller from now on. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = new Uint8Array(CHUNK);
    this.#at = 0;
    return taken;
  }

  #grow(): void {
    const larger = new Uint8Array(this.#bytes.length * 2);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Throws unless the frame at `at` calls the one known method with a text. */
function checkRequest(bytes: Uint8Array, at: number): void {
  let same = bytes[at + 4] === REQUEST;
  for (let i = 0; i < CALL.length; i++) {
    if (bytes[at + HEADER_SIZE + i] !== CALL[i]) same = false;
  }
  if (!same) throw new Error("Cannot answer: not a call of Hello with a text");
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
