/**
 * The constants of `docs/protocol.md`: bounds, the window before HELLO, kinds of payload.
 *
 * @module
 */

/** The protocol's major version. */
export const VERSION = 1;

/** Largest HELLO body, in bytes. */
export const MAX_HELLO = 16 * 1024;

/** Calls that may be in flight before the peer's HELLO is read. */
export const EARLY_CALLS = 64;

/** Bytes of those calls. */
export const EARLY_BYTES = 64 * 1024;

/** The largest body before the peer's HELLO is read, in bytes. */
export const EARLY_MESSAGE = 64 * 1024;

/** The least `maxMessage`, in bytes: enough for each frame that the library makes by itself. */
export const MIN_MESSAGE = 16 * 1024;

/** The largest `maxMessage`: 1 GiB. */
export const MAX_MESSAGE = 1024 * 1024 * 1024;

/** The largest window in calls: 2^24. */
export const MAX_WINDOW_CALLS = 1 << 24;

/** The largest credentials, in bytes: a HELLO has room for its other fields, too. */
export const MAX_CREDENTIALS = 15 * 1024;

/** The largest metadata block, in bytes. */
export const MAX_METADATA = 0xffff;

/** The largest payload of a DATA frame, in bytes: an item of a power of two is cut into full frames. */
export const MAX_DATA = 32 * 1024;

/** The largest body of a REQUEST, REPLY or ERROR that is sent whole to a peer that reads fragments, and the largest body of a FRAGMENT, in bytes. */
export const MAX_WHOLE = 32 * 1024;

/** Urgent calls that may be in flight beyond the window. */
export const URGENT_CALLS = 16;

/** Their bytes. */
export const URGENT_BYTES = 64 * 1024;

/** What a DATA frame counts against the credit besides its body, so that tiny frames are not free. */
const FRAME_CHARGE = 16;

/** What a DATA frame counts besides the bytes of its item: this and the payload kind. */
export const CHARGE_BESIDE = FRAME_CHARGE + 1;

/** The most credit that a producer may wait for, in bytes; to wait for more could take forever. A reader grants credit once half of the least window has been read. */
export const QUANTUM = 4096;

/** The least initial credit of a stream, in bytes. */
export const MIN_CREDIT = 16 * 1024;

/** The least credit of all streams of a connection together, in bytes. */
export const MIN_CONNECTION_CREDIT = 64 * 1024;

/** The largest window of one stream, in bytes. */
export const MAX_WINDOW = 1024 * 1024;

/** The largest item that is not bytes, in bytes. It fits in the largest window, in whatever fragments it is sent. */
export const MAX_ITEM = 1_000_000;

/** The most credit that a stream, or all of them together, may have, in bytes. More is a fault. */
export const MAX_CREDIT = 0x7fffffff;

/** Payload kind: no value. */
export const UNDEFINED = 0;

/** Payload kind: JSON text. */
export const JSON_TEXT = 1;

/** Payload kind: bytes. */
export const BYTES = 2;

/** Payload kind: a string, as UTF-8. */
export const STRING = 3;

/** Payload kind: bytes of the custom serializer. */
export const CUSTOM = 4;

/** Payload kind, of items only: bytes that are one message. */
export const MESSAGE = 6;

/** Payload kind, of params and results only: a stream, whose items are sent in DATA frames. */
export const STREAM = 5;
