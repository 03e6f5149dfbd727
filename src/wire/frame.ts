/**
 * A frame's header, and what can stand in it.
 *
 * 12 bytes, big-endian: body length u32, kind u8, flags u8, reserved u16
 * (zero), id u32. `docs/protocol.md` section 2 is normative.
 *
 * Invariant owned here: a kind, and a flag bit of a kind, has one meaning; it
 * stands here and nowhere else.
 *
 * @module
 */

/** Bytes in a frame header. */
export const HEADER_SIZE = 12;

/** First frame of each direction: version, limits, capabilities. */
export const HELLO = 0x01;
/** A call. */
export const REQUEST = 0x02;
/** A call's result. */
export const REPLY = 0x03;
/** A call's failure. */
export const ERROR = 0x04;
/** The caller has no more interest in a call. */
export const CANCEL = 0x05;
/** Are you there? Its id comes back in the PONG. */
export const PING = 0x06;
/** Answer to the latest PING. */
export const PONG = 0x07;
/** No request above this id will be served. */
export const GOAWAY = 0x08;
/** Skipped: what became of a request that was taken back before it was written. */
export const PAD = 0x09;
/** An item of a stream, or a part of one; this and the next three only where both ends say they can. */
export const DATA = 0x10;
/** The end of a stream. */
export const END = 0x11;
/** The reader of a stream wants no more of it. */
export const STOP = 0x12;
/** The reader of a stream grants bytes. */
export const CREDIT = 0x13;
/** Kinds from here up are skipped when unknown, so that they can be added without asking. */
export const FIRST_SKIPPABLE = 0x80;

/** REQUEST: a u32 of remaining milliseconds comes first in the body. */
export const FLAG_DEADLINE = 0x01;
/** REQUEST, REPLY, ERROR: a metadata block comes next in the body. */
export const FLAG_METADATA = 0x02;
/** ERROR: the handler function had been called. */
export const FLAG_STARTED = 0x01;
/** GOAWAY: no id was served at all; the header's id says nothing. */
export const FLAG_NONE = 0x01;
/** Stream kinds: the sender made the call that the stream belongs to. */
export const FLAG_CALLER = 0x01;
/** END: the stream failed, and the body says how. */
export const FLAG_ERROR = 0x02;
/** DATA: the item goes on in the stream's next one. */
export const FLAG_MORE = 0x02;

/** Writes a frame header at `at`. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  kind: number,
  flags: number,
  id: number,
): void {
  bytes[at] = length >>> 24;
  bytes[at + 1] = length >>> 16;
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
  bytes[at + 4] = kind;
  bytes[at + 5] = flags;
  bytes[at + 6] = 0;
  bytes[at + 7] = 0;
  bytes[at + 8] = id >>> 24;
  bytes[at + 9] = id >>> 16;
  bytes[at + 10] = id >>> 8;
  bytes[at + 11] = id;
}

/** The same in three stores: where frame follows frame that pays. */
export function writeHeaderTo(
  view: DataView,
  at: number,
  length: number,
  kind: number,
  flags: number,
  id: number,
): void {
  view.setInt32(at, length);
  view.setInt32(at + 4, kind << 24 | flags << 16);
  view.setInt32(at + 8, id);
}

/** Reads a big-endian u32. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) |
    bytes[at + 3]) >>> 0;
}

/** Reads a big-endian u16. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
