/**
 * HELLO: the first frame of each direction, and the protocol's constants.
 *
 * Body: magic "SLUICE", major version u16, then fields of type u8, length u16,
 * value. Unknown types are skipped. `docs/protocol.md` section 4 is normative.
 *
 * Invariant owned here: limits that no honest peer would state are refused
 * when they are read, so nothing later has to guard against them.
 *
 * @module
 */

import type {
  Credentials,
  PeerHello,
  StreamGrant,
} from "../types/connection.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import { readU16, readU32 } from "./frame.ts";
import { writeU16, writeU32 } from "./fields.ts";
import {
  EARLY_BYTES,
  EARLY_CALLS,
  EARLY_MESSAGE,
  MAX_CREDENTIALS,
  MAX_MESSAGE,
  MAX_WINDOW,
  MAX_WINDOW_CALLS,
  MIN_CREDIT,
  MIN_MESSAGE,
  VERSION,
} from "./protocol.ts";
import { readText, utf8 } from "../base/utf8.ts";
import { copyBytes, isBytes, lengthOf, plainView } from "../base/bytes.ts";

/** What an end grants for streams that has the capability and says no numbers. */
const DEFAULT_GRANT: StreamGrant = { credit: 64 * 1024, max: 1024 };

/** Longest serializer name, in bytes of UTF-8. */
const MAX_SERIALIZER_NAME = 255;

const NOTHING = new Uint8Array();
const MAGIC = utf8("SLUICE");
const FIXED = MAGIC.length + 2;

/** Field: largest body accepted, u32. */
const FIELD_MAX_MESSAGE = 1;
/** Field: window in calls, u32. */
const FIELD_WINDOW_CALLS = 2;
/** Field: window in bytes, u32. */
const FIELD_WINDOW_BYTES = 3;
/** Field: name of the custom serializer, UTF-8; absent for JSON alone. */
const FIELD_SERIALIZER = 4;
/** Field: who the sender is, any bytes; absent for nobody in particular. */
const FIELD_CREDENTIALS = 5;
/** Field: the credentials are text, not bytes; empty. */
const FIELD_CREDENTIALS_TEXT = 8;
/** Field: what the sender can take besides, a u32 of bits. */
const FIELD_CAPABILITIES = 6;
/** Field: credit of a new stream and most streams at once, two u32. */
const FIELD_STREAMS = 7;

/** Capability: streams. */
const CAN_STREAM = 1;

/** The body of a HELLO. */
export function encodeHello(hello: PeerHello, serializer?: string): Uint8Array {
  const name = serializer === undefined ? undefined : utf8(serializer);
  if (name !== undefined && name.length > MAX_SERIALIZER_NAME) {
    throw new RangeError(
      `Cannot use the serializer: its name has ${name.length} bytes, at most ${MAX_SERIALIZER_NAME} fit`,
    );
  }
  const { credentials: given, streams } = hello;
  const text = typeof given === "string";
  const credentials = text ? utf8(given) : given;
  const isText = text ? NOTHING : undefined;
  const more = streams === undefined ? 0 : 7 + 11;
  const size = FIXED + 3 * 7 + fieldSize(name) + fieldSize(credentials) +
    fieldSize(isText) + more;
  const body = new Uint8Array(size);
  body.set(MAGIC);
  let at = writeU16(body, MAGIC.length, VERSION);
  at = writeField(body, at, FIELD_MAX_MESSAGE, hello.maxMessage);
  at = writeField(body, at, FIELD_WINDOW_CALLS, hello.windowCalls);
  at = writeField(body, at, FIELD_WINDOW_BYTES, hello.windowBytes);
  at = writeBytes(body, at, FIELD_SERIALIZER, name);
  at = writeBytes(body, at, FIELD_CREDENTIALS, credentials);
  at = writeBytes(body, at, FIELD_CREDENTIALS_TEXT, isText);
  if (streams !== undefined) writeStreams(body, at, streams);
  return body;
}

function fieldSize(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : 3 + value.length;
}

function writeBytes(
  body: Uint8Array,
  at: number,
  type: number,
  value: Uint8Array | undefined,
): number {
  if (value === undefined) return at;
  body[at] = type;
  at = writeU16(body, at + 1, value.length);
  body.set(value, at);
  return at + value.length;
}

function writeStreams(body: Uint8Array, at: number, grant: StreamGrant): void {
  at = writeField(body, at, FIELD_CAPABILITIES, CAN_STREAM);
  body[at] = FIELD_STREAMS;
  at = writeU16(body, at + 1, 8);
  at = writeU32(body, at, grant.credit);
  writeU32(body, at, grant.max);
}

function writeField(
  body: Uint8Array,
  at: number,
  type: number,
  value: number,
): number {
  body[at] = type;
  at = writeU16(body, at + 1, 4);
  return writeU32(body, at, value);
}

/**
 * Reads the fields of a HELLO's body whose version was checked; a limit that is not told is the protocol's constant.
 *
 * @throws {ConnectionError} `serializer_mismatch`, or `protocol_error` for fields that are cut short or
 * limits that cannot be.
 */
export function parseHello(body: Uint8Array, serializer?: string): PeerHello {
  let maxMessage = EARLY_MESSAGE;
  let windowCalls = EARLY_CALLS;
  let windowBytes = EARLY_BYTES;
  let theirs: string | undefined;
  let credentials: Uint8Array | undefined;
  let isText = false;
  let canStream = false;
  let grant = DEFAULT_GRANT;
  let at = FIXED;
  while (at < body.length) {
    const type = body[at];
    const length = at + 3 <= body.length ? readU16(body, at + 1) : 0;
    const start = at + 3;
    if (start + length > body.length) fault("a HELLO field is cut short");
    at = start + length;
    if (type === FIELD_SERIALIZER) {
      theirs = toText(body, start, at, "serializer name is");
    } else if (type === FIELD_CREDENTIALS) {
      // The memory is the transport's.
      credentials = new Uint8Array(body.subarray(start, at));
    } else if (type === FIELD_CREDENTIALS_TEXT) {
      checkLength(type, length, 0);
      isText = true;
    } else if (type === FIELD_CAPABILITIES) {
      checkLength(type, length, 4);
      canStream = (readU32(body, start) & CAN_STREAM) !== 0;
    } else if (type === FIELD_STREAMS) {
      checkLength(type, length, 8);
      grant = { credit: readU32(body, start), max: readU32(body, start + 4) };
    } else if (type >= FIELD_MAX_MESSAGE && type <= FIELD_WINDOW_BYTES) {
      checkLength(type, length, 4);
      const value = readU32(body, start);
      if (type === FIELD_MAX_MESSAGE) maxMessage = value;
      else if (type === FIELD_WINDOW_CALLS) windowCalls = value;
      else windowBytes = value;
    }
  }
  if (maxMessage < MIN_MESSAGE || maxMessage > MAX_MESSAGE) {
    fault(
      `HELLO says maxMessage ${maxMessage}; ${MIN_MESSAGE} to ${MAX_MESSAGE} is legal`,
    );
  }
  if (windowCalls > MAX_WINDOW_CALLS) {
    fault(
      `HELLO says a window of ${windowCalls} calls; at most ${MAX_WINDOW_CALLS} is legal`,
    );
  }
  if (grant.credit < MIN_CREDIT || grant.credit > MAX_WINDOW) {
    fault(
      `HELLO says a stream credit of ${grant.credit}; ${MIN_CREDIT} to ${MAX_WINDOW} is legal`,
    );
  }
  checkSerializer(serializer, theirs);
  return {
    ...{ maxMessage, windowCalls, windowBytes },
    credentials: credentials !== undefined && isText
      ? toText(credentials, 0, credentials.length, "credentials are")
      : credentials,
    streams: canStream ? grant : undefined,
  };
}

function checkLength(type: number, length: number, legal: number): void {
  if (length === legal) return;
  fault(`HELLO field ${type} has ${length} bytes, not ${legal}`);
}

function toText(
  bytes: Uint8Array,
  start: number,
  end: number,
  what: string,
): string {
  try {
    return readText(bytes, start, end);
  } catch {
    return fault(`a HELLO's ${what} not UTF-8`);
  }
}

/**
 * Looks at what a HELLO of any version has: it is read first of all, so that a
 * peer of another version learns that, whatever else this one does not know.
 *
 * @throws {ConnectionError} `not_sluice` or `version_mismatch`.
 */
export function checkVersion(body: Uint8Array): void {
  const magic = body.length >= FIXED && MAGIC.every((b, i) => body[i] === b);
  if (!magic) {
    throw new ConnectionError("not_sluice", "the first frame is not a HELLO");
  }
  const version = readU16(body, MAGIC.length);
  if (version !== VERSION) {
    throw new ConnectionError(
      "version_mismatch",
      `the peer speaks version ${version}, this end ${VERSION}`,
    );
  }
}

function checkSerializer(ours?: string, theirs?: string): void {
  if (ours === theirs) return;
  const name = (text?: string) => text === undefined ? "JSON" : quote(text);
  throw new ConnectionError(
    "serializer_mismatch",
    `the peer's serializer is ${name(theirs)}, this end's ${name(ours)}`,
  );
}

function fault(message: string): never {
  throw new ConnectionError("protocol_error", message);
}

/**
 * Checks that credentials can be sent.
 *
 * @throws {TypeError} If they are neither text nor bytes, or a text with half of
 *   a surrogate pair, which has no form as UTF-8.
 * @throws {RangeError} If they are too long.
 */
export function toCredentials(given: Credentials): Credentials {
  const bytes = typeof given === "string" ? utf8(given) : given;
  if (
    typeof given === "string" &&
    readText(bytes as Uint8Array, 0, bytes.length) !== given
  ) {
    throw new TypeError(
      "Cannot use credentials: the text has half of a surrogate pair",
    );
  }
  if (!isBytes(bytes)) {
    throw new TypeError(
      `Cannot use credentials: text or bytes, received ${typeof given}`,
    );
  }
  const length = lengthOf(bytes);
  if (length > MAX_CREDENTIALS) {
    throw new RangeError(
      `Cannot use credentials: ${length} bytes, at most ${MAX_CREDENTIALS} fit`,
    );
  }
  return typeof given === "string" ? given : copyBytes(plainView(bytes));
}
