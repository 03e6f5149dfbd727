/**
 * HELLO, the first frame of each direction.
 *
 * Body: magic "SLUICE", major version u16, then fields of type u8, length u16
 * and value. A receiver ignores types that it does not know.
 * `docs/protocol.md` section 4 is normative.
 *
 * Invariant owned here: a limit that no honest peer would state is a fault when
 * it is read, so that no later code has to check it.
 *
 * @module
 */

import { copyBytes, isBytes, lengthOf, plainView } from "../base/bytes.ts";
import { ConnectionError, protocolError } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import type {
  Credentials,
  PeerHello,
  StreamGrant,
} from "../types/connection.ts";
import type { FieldReader } from "./fields.ts";
import { readU16 } from "./frame.ts";
import {
  EARLY_BYTES,
  EARLY_CALLS,
  EARLY_MESSAGE,
  MAX_CREDENTIALS,
  MAX_CREDIT,
  MAX_MESSAGE,
  MAX_WINDOW,
  MAX_WINDOW_CALLS,
  MIN_CONNECTION_CREDIT,
  MIN_CREDIT,
  MIN_MESSAGE,
  VERSION,
} from "./protocol.ts";

const MAGIC = "SLUICE";

/** Field: the largest body that the sender accepts, u32. */
const MESSAGE = 1;
/** Field: the window in calls, u32. */
const CALLS = 2;
/** Field: the window in bytes, u32. */
const BYTES = 3;
/** Field: the names of the serializers, UTF-8 with a space between; absent with JSON alone. */
const SERIALIZERS = 4;
/** Field: the sender's credentials, any bytes; absent if it has none. */
const CREDENTIALS = 5;
/** Field: what else the sender supports, a u32 of bits. */
const CAPABILITIES = 6;
/** Field: the credit of a new stream, how many may be open, and the credit of all together, three u32. */
const STREAMS = 7;
/** Field: the credentials are text. Empty. */
const IS_TEXT = 8;

/** Field: the highest version that the sender speaks, u16; absent if it is the one in front of the fields. */
const HIGHEST = 9;

/** Capability: streams. */
const CAN_STREAM = 1;
/** Capability: FRAGMENT is read. */
const CAN_FRAGMENT = 4;

/** Capability: applies and acknowledges WINDOW. */
const MOVES_WINDOW = 16;

/** Capability: results are kept for dependent calls. */
const KEEPS_RESULTS = 32;

/** Encodes the body of a HELLO. */
export function encodeHello(hello: PeerHello): Uint8Array {
  const { credentials, serializers, streams, fragments = true } = hello;
  const body = [...utf8(MAGIC), VERSION >> 8, VERSION];
  const add = (type: number, value: Uint8Array | number[]) => {
    body.push(type, value.length >> 8, value.length, ...value);
  };
  add(MESSAGE, u32(hello.maxMessage));
  add(CALLS, u32(hello.windowCalls));
  add(BYTES, u32(hello.windowBytes));
  if (serializers) add(SERIALIZERS, utf8(serializers));
  if (typeof credentials === "string") {
    add(CREDENTIALS, utf8(credentials));
    add(IS_TEXT, []);
  } else if (credentials !== undefined) add(CREDENTIALS, credentials);
  const capabilities = (streams === undefined ? 0 : CAN_STREAM) |
    (fragments ? CAN_FRAGMENT : 0) |
    (hello.movesWindow ? MOVES_WINDOW : 0) |
    (hello.keepsResults ? KEEPS_RESULTS : 0);
  if (capabilities !== 0) add(CAPABILITIES, u32(capabilities));
  if (streams !== undefined) {
    const { credit, max, connectionCredit } = streams;
    add(STREAMS, [credit, max, connectionCredit].flatMap(u32));
  }
  return new Uint8Array(body);
}

/** A big-endian u32 for a `Uint8Array`, which stores the lowest 8 bits of each number. */
function u32(n: number): number[] {
  return [n >>> 24, n >>> 16, n >>> 8, n];
}

/**
 * Checks the start of a HELLO and the versions it offers, which every version
 * states in the same way. It comes first, so that a peer of another version
 * gets that as the reason, whatever else in its HELLO is unknown here. This
 * library speaks one version: the highest common one is that, or there is none.
 *
 * @returns Whether the peer speaks a later version, too. Then its HELLO may have
 *   flags that are unknown here.
 * @throws {ConnectionError} `not_sluice` or `version_mismatch`.
 */
export function checkVersion(body: FieldReader): boolean {
  const { bytes, at, end } = body;
  const fields = at + MAGIC.length;
  const magic = String.fromCharCode(...bytes.subarray(at, fields));
  if (magic !== MAGIC || fields + 2 > end) {
    throw new ConnectionError("not_sluice", "the first frame is not a HELLO");
  }
  body.at = fields;
  const lowest = body.u16();
  const highest = Math.max(lowest, highestVersion(body) ?? lowest);
  if (lowest > VERSION || highest < VERSION) {
    throw new ConnectionError(
      "version_mismatch",
      `this side speaks versions ${VERSION}-${VERSION}, the peer versions ${lowest}-${highest}`,
    );
  }
  return highest > VERSION;
}

/** Looks for the highest version in the fields, and leaves all faults of theirs to be found later. */
function highestVersion({ bytes, at, end }: FieldReader): number | undefined {
  while (at + 3 <= end) {
    const next = at + 3 + readU16(bytes, at + 1);
    if (bytes[at] === HIGHEST && next === at + 5 && next <= end) {
      return readU16(bytes, at + 3);
    }
    at = next;
  }
  return undefined;
}

/**
 * Reads the fields of a HELLO, behind its version. A limit that it does not
 * state has the protocol's default.
 *
 * @throws {ConnectionError} `protocol_error` for fields that are cut short or
 *   have an illegal value.
 */
export function parseHello(body: FieldReader): PeerHello {
  let maxMessage = EARLY_MESSAGE;
  let windowCalls = EARLY_CALLS;
  let windowBytes = EARLY_BYTES;
  let serializers: string | undefined;
  let credentials: Credentials | undefined;
  let isText = false;
  let capabilities = 0;
  let grant: StreamGrant = {
    credit: 64 * 1024,
    max: 1024,
    connectionCredit: 16 * 1024 * 1024,
  };
  while (body.at < body.end) {
    const type = body.u8();
    const length = body.u16();
    const end = body.at + length;
    const number = (least = 0, most = 0xffffffff) => {
      const value = body.u32();
      if (value >= least && value <= most) return value;
      protocolError(
        `HELLO field ${type} is ${value}; ${least} to ${most} is legal`,
      );
    };
    switch (type) {
      case MESSAGE:
        maxMessage = number(MIN_MESSAGE, MAX_MESSAGE);
        break;
      case CALLS:
        windowCalls = number(0, MAX_WINDOW_CALLS);
        break;
      case BYTES:
        windowBytes = number();
        break;
      case SERIALIZERS:
        serializers = body.text(length);
        break;
      case CREDENTIALS:
        // Copied, because the memory is the transport's.
        credentials = copyBytes(body.bytes, body.skip(length), end);
        break;
      case CAPABILITIES:
        capabilities = number();
        break;
      case STREAMS:
        grant = {
          credit: number(MIN_CREDIT, MAX_WINDOW),
          max: number(),
          connectionCredit: number(MIN_CONNECTION_CREDIT, MAX_CREDIT),
        };
        break;
      case IS_TEXT:
        isText = true;
        break;
      case HIGHEST:
        // Read with the version; here only its length is checked.
        body.u16();
        break;
      default:
        body.skip(length);
    }
    if (body.at !== end) {
      protocolError(`HELLO field ${type} must not have ${length} bytes`);
    }
  }
  if (isText && credentials !== undefined) {
    const { length } = credentials;
    body.open(credentials as Uint8Array, 0, length);
    credentials = body.text(length);
  }
  const streams = (capabilities & CAN_STREAM) !== 0 ? grant : undefined;
  const fragments = (capabilities & CAN_FRAGMENT) !== 0;
  const movesWindow = (capabilities & MOVES_WINDOW) !== 0;
  const keepsResults = (capabilities & KEEPS_RESULTS) !== 0;
  return {
    maxMessage,
    windowCalls,
    windowBytes,
    fragments,
    movesWindow,
    keepsResults,
    credentials,
    serializers,
    streams,
  };
}

/**
 * Checks that credentials can be sent, and copies bytes.
 *
 * @throws {TypeError} If they are neither text nor bytes, or a text with half of
 *   a surrogate pair, which has no form as UTF-8.
 * @throws {RangeError} If they are too long.
 */
export function toCredentials(given: Credentials): Credentials {
  const isText = typeof given === "string";
  if (isText ? !given.isWellFormed() : !isBytes(given)) {
    throw new TypeError(
      `Cannot use credentials: expected bytes, or text without half of a surrogate pair, received ${typeof given}`,
    );
  }
  const length = lengthOf(isText ? utf8(given) : given);
  if (length > MAX_CREDENTIALS) {
    throw new RangeError(
      `Cannot use credentials: ${length} bytes, at most ${MAX_CREDENTIALS} fit`,
    );
  }
  return isText ? given : copyBytes(plainView(given));
}
