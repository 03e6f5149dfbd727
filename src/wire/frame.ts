/**
 * The header of a frame: its layout, the kinds and the flags.
 *
 * 12 bytes, big-endian: body length u32, kind u8, flags u8, reserved u16
 * (zero), id u32. `docs/protocol.md` section 2 is normative.
 *
 * @module
 */

/** Bytes in a frame header. */
export const HEADER_SIZE = 12;

/** The first frame of each direction: version, limits, capabilities. */
export const HELLO = 0x01;
/** A call. */
export const REQUEST = 0x02;
/** A call's result. */
export const REPLY = 0x03;
/** A call's failure. */
export const ERROR = 0x04;
/** The caller no longer wants the result of a call. */
export const CANCEL = 0x05;
/** Asks for a PONG with the same id. */
export const PING = 0x06;
/** The reply to the latest PING. */
export const PONG = 0x07;
/** The sender serves no request with a later id. */
export const GOAWAY = 0x08;
/** Ignored by the receiver. A request that is taken back before it is sent becomes one. */
export const PAD = 0x09;
/** The sender makes no more calls; with {@linkcode FLAG_ALL} it sends nothing more. */
export const LAST = 0x0a;
/** Moves the window of calls that the sender grants; with {@linkcode FLAG_ACK}, the peer obeys it from here on. */
export const WINDOW = 0x0b;
/** A piece of a REQUEST, REPLY or ERROR that is too long for one frame. */
export const FRAGMENT = 0x0c;
/** The caller refers to the result of a call no more. Needs the capability for dependent calls of the callee. */
export const RELEASE = 0x0d;
/** An item of a stream, or a fragment of one. This kind and the next three need the capability for streams of both sides. */
export const DATA = 0x10;
/** The end of a stream. */
export const END = 0x11;
/** The reader of a stream wants no more items. */
export const STOP = 0x12;
/** The reader of a stream grants more bytes. */
export const CREDIT = 0x13;
/** A receiver ignores unknown kinds from here up, so that a later version can add them. */
export const FIRST_SKIPPABLE = 0x80;

/** REQUEST: the body begins with a u32, the milliseconds until the deadline. */
export const FLAG_DEADLINE = 0x01;
/** REQUEST, REPLY, ERROR: the body has a metadata block next. */
export const FLAG_METADATA = 0x02;
/** REQUEST: the callee keeps the result for calls that refer to it. */
export const FLAG_KEEP = 0x04;
/** REQUEST: the body has a block of references next. */
export const FLAG_REFS = 0x08;
/** REQUEST: it goes ahead of calls that wait, at both sides. */
export const FLAG_URGENT = 0x20;
/** ERROR: the handler was called. */
export const FLAG_STARTED = 0x01;
/** GOAWAY: the sender served no request at all; the header's id has no meaning. */
export const FLAG_NONE = 0x01;
/** GOAWAY: a close has begun; the sender still accepts requests. */
export const FLAG_WARNING = 0x02;
/** LAST: in place of FIN. */
export const FLAG_ALL = 0x01;
/** WINDOW: the sender has read the WINDOW with this id and these values. */
export const FLAG_ACK = 0x01;
/** Kinds of streams, and FRAGMENT: the sender of the frame is the caller. */
export const FLAG_CALLER = 0x01;
/** END: the stream failed; the body has the error. */
export const FLAG_ERROR = 0x02;
/** CREDIT: for all streams of the connection together. */
export const FLAG_CONNECTION = 0x02;
/** REQUEST, REPLY: a stream comes beside the payload. */
export const FLAG_BODY = 0x10;
/** END: the body begins with a metadata block, the trailers. */
export const FLAG_TRAILERS = 0x04;
/** FRAGMENT: the sender gives the message up; the body has no meaning. */
export const FLAG_ABORT = 0x02;
/** DATA: the item continues in the stream's next DATA. */
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

/** Does the same with three stores, which is faster where many frames follow each other. */
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

/** Writes a big-endian u16; returns where it ends. */
export function writeU16(bytes: Uint8Array, at: number, n: number): number {
  bytes[at] = n >>> 8;
  bytes[at + 1] = n;
  return at + 2;
}

/** Writes a big-endian u32; returns where it ends. */
export function writeU32(bytes: Uint8Array, at: number, n: number): number {
  return writeU16(bytes, writeU16(bytes, at, n >>> 16), n);
}
