/**
 * Every constant of `docs/protocol.md`: bounds, the window before HELLO, kinds of payload.
 *
 * @module
 */

/** The protocol's major version. */
export const VERSION = 1;

/** Largest HELLO body, in bytes. */
export const MAX_HELLO = 16 * 1024;

/** Before the peer's HELLO is read: calls that may be sent. */
export const EARLY_CALLS = 64;

/** Before the peer's HELLO is read: bytes of calls that may be sent. */
export const EARLY_BYTES = 64 * 1024;

/** Before the peer's HELLO is read: the largest body. */
export const EARLY_MESSAGE = 64 * 1024;

/** The least a peer must accept as a body: room for every frame the protocol makes by itself. */
export const MIN_MESSAGE = 16 * 1024;

/** The most a peer may say it accepts as a body: 1 GiB. */
export const MAX_MESSAGE = 1024 * 1024 * 1024;

/** The most calls a window may have: 2^24. */
export const MAX_WINDOW_CALLS = 1 << 24;

/** The most bytes of credentials: leaves room in a HELLO for all its other fields. */
export const MAX_CREDENTIALS = 15 * 1024;

/** Most bytes of a metadata block. */
export const MAX_METADATA = 0xffff;

/** The largest payload of a DATA frame, in bytes: chunks of a power of two need no frame for a byte or two. */
export const MAX_DATA = 32 * 1024;

/** What a DATA frame counts against the credit besides its body: so that tiny ones are not free. */
const FRAME_CHARGE = 16;

/** What a DATA frame of `n` payload bytes counts. */
export const CHARGE_BESIDE = FRAME_CHARGE + 1;

/** A producer that waits for more credit than this never gets on: half of the least window is given back at the latest. */
export const QUANTUM = 4096;

/** The least credit a stream begins with, in bytes. */
export const MIN_CREDIT = 16 * 1024;

/** The largest window of one stream, in bytes. */
export const MAX_WINDOW = 1024 * 1024;

/** The largest item that is not bytes; it has to fit in the largest window, however it is cut. */
export const MAX_ITEM = 1_000_000;

/** Credit beyond this is a fault. */
export const MAX_CREDIT = 0x7fffffff;

/** Payload kind: no value. */
export const UNDEFINED = 0;

/** Payload kind: JSON text. */
export const JSON_TEXT = 1;

/** Payload kind: bytes as they are. */
export const BYTES = 2;

/** Payload kind: a string, as UTF-8. */
export const STRING = 3;

/** Payload kind: what the custom serializer of both ends made. */
export const CUSTOM = 4;

/** Payload kind of params and results alone: a stream, whose items travel in frames of their own. */
export const STREAM = 5;
