/**
 * Writes frames into the send buffer: header, fields, and the prepared payload.
 *
 * A large payload is not copied into the batch but attached to it, right behind
 * the other fields of its frame.
 *
 * @module
 */

import { boundedUtf8 } from "../base/utf8.ts";
import { HEADER_SIZE, writeHeader, writeHeaderTo, writeU16 } from "./frame.ts";
import type { FrameBuffer, MessageBuffer } from "./frame_buffer.ts";
import type { PayloadEncoder } from "./values/payload.ts";

/** The longest error code that is sent, in bytes. */
const MAX_CODE = 64;
/** The longest text of an error or a GOAWAY that is sent, in bytes. */
const MAX_TEXT = 4096;

/** Encodes a code behind its u8 length, and a text for people behind its u16 length; cuts what is too long. */
export function codeAndText(code: string, text: string): Uint8Array {
  const first = boundedUtf8(code, MAX_CODE);
  const second = boundedUtf8(text, MAX_TEXT);
  const bytes = new Uint8Array(3 + first.length + second.length);
  bytes[0] = first.length;
  bytes.set(first, 1);
  bytes.set(second, writeU16(bytes, 1 + first.length, second.length));
  return bytes;
}

/** Begins a frame with a body of `size` bytes and no payload; returns where the body begins. */
export function beginFrame(
  sendBuffer: FrameBuffer,
  size: number,
  kind: number,
  flags: number,
  id: number,
): number {
  const at = sendBuffer.reserve(HEADER_SIZE + size);
  writeHeaderTo(sendBuffer.view, at, size, kind, flags, id);
  return at + HEADER_SIZE;
}

/** Begins a frame whose body, of `size` bytes, ends with the prepared payload; returns where the body begins. */
export function beginWithPayload(
  payload: PayloadEncoder,
  sendBuffer: MessageBuffer,
  size: number,
  kind: number,
  flags: number,
  id: number,
): number {
  const attached = payload.inline ? 0 : payload.size;
  const at = sendBuffer.reserve(HEADER_SIZE + size - attached, attached);
  writeHeaderTo(sendBuffer.view, at, size, kind, flags, id);
  return at + HEADER_SIZE;
}

/** Ends it with the kind and the bytes of the payload. */
export function endWithPayload(
  payload: PayloadEncoder,
  sendBuffer: MessageBuffer,
  at: number,
): void {
  sendBuffer.bytes[at] = payload.kind;
  if (payload.inline) payload.write(sendBuffer, at + 1);
  else payload.attach(sendBuffer);
  payload.clear();
}

/** Begins a frame in the urgent lane, with a body of `size` bytes; returns where the body begins. */
export function beginUrgent(
  sendBuffer: FrameBuffer,
  size: number,
  kind: number,
  flags: number,
  id: number,
): number {
  const at = sendBuffer.reserveUrgent(HEADER_SIZE + size);
  writeHeader(sendBuffer.urgentBytes, at, size, kind, flags, id);
  return at + HEADER_SIZE;
}
