/**
 * The incremental frame decoder: bytes in chunks of any size to frames.
 *
 * Invariants owned here:
 * - The length, kind and flags of a header are checked before anything is
 *   allocated for its frame.
 * - A frame within one chunk is not copied. One that spans chunks is gathered
 *   and copied once ({@linkcode BodyParts}). A FRAGMENT is not even gathered, if
 *   its handler takes it in parts.
 * - The memory for an unfinished frame grows with the bytes received, not with
 *   the length in its header.
 *
 * @module
 */

import { viewOf } from "../base/bytes.ts";
import { ConnectionError, protocolError } from "../base/errors.ts";
import { LARGE } from "../base/large_reads.ts";
import {
  DATA,
  FIRST_SKIPPABLE,
  FLAG_ABORT,
  FLAG_ACK,
  FLAG_ALL,
  FLAG_BODY,
  FLAG_CALLER,
  FLAG_CONNECTION,
  FLAG_DEADLINE,
  FLAG_ERROR,
  FLAG_KEEP,
  FLAG_METADATA,
  FLAG_MORE,
  FLAG_NONE,
  FLAG_REFS,
  FLAG_STARTED,
  FLAG_TRAILERS,
  FLAG_URGENT,
  FLAG_WARNING,
  FRAGMENT,
  HEADER_SIZE,
  HELLO,
  PAD,
  REQUEST,
} from "./frame.ts";
import { BodyParts, OWN_PART } from "./fragments/body_parts.ts";

/** The flags that each kind may have, with the reserved bits above them; negative for an unknown kind. */
const LEGAL_FLAGS: Int32Array = /* @__PURE__ */ (() => {
  const flags = new Int32Array(256).fill(-1).fill(0xff, FIRST_SKIPPABLE);
  // REQUEST to RELEASE, then DATA to CREDIT, in the order of their numbers.
  flags.set([
    FLAG_DEADLINE | FLAG_METADATA | FLAG_KEEP | FLAG_REFS | FLAG_BODY |
    FLAG_URGENT,
    FLAG_METADATA | FLAG_BODY,
    FLAG_STARTED | FLAG_METADATA,
    ...[0, 0, 0],
    FLAG_NONE | FLAG_WARNING,
    0xff,
    FLAG_ALL,
    FLAG_ACK,
    FLAG_CALLER | FLAG_ABORT,
    0,
  ], REQUEST);
  flags.set([
    FLAG_CALLER | FLAG_MORE,
    FLAG_CALLER | FLAG_ERROR | FLAG_TRAILERS,
    FLAG_CALLER,
    FLAG_CALLER | FLAG_CONNECTION,
  ], DATA);
  // Its reader checks them, after the version.
  flags[HELLO] = 0xffffff;
  return flags;
})();

/** Takes frames. */
export interface FrameReceiver {
  /**
   * Takes one whole frame. Its body is `bytes[start..end)`, lent for the time
   * of the call.
   */
  frame(
    kind: number,
    flags: number,
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void;
}

/**
 * Takes the frames of a {@linkcode FrameDecoder}. Frames that must be ignored
 * are not delivered. The flags and reserved bits of a HELLO are not checked yet,
 * because its version comes first: call {@linkcode checkHelloBits}.
 */
export interface FrameHandler extends FrameReceiver {
  /**
   * Whether a frame with a body of so many bytes may be delivered now. Asked
   * for bodies of {@linkcode LARGE} bytes and more, and for a FRAGMENT; on
   * false, `push` returns before that frame.
   */
  mayRead?(bytes: number, kind: number, flags: number): boolean;
  /** Whether a FRAGMENT with a body of so many bytes, which spans chunks, is delivered in parts, as if each were a frame. */
  inParts?(bytes: number, flags: number): boolean;
}

/**
 * Decodes a byte stream to frames, synchronously: calls its handler once for
 * each frame. After it has thrown it must not be used again.
 */
export class FrameDecoder {
  /** The largest body accepted, in bytes; may change between frames. */
  maxBody: number;
  /** Set to stop before the next frame of the current chunk. */
  stopped = false;
  /** Whether the body that is being delivered was gathered from chunks. Nobody else uses its memory then, so its handler may keep it. */
  owned = false;
  /** Headers parsed and body bytes copied so far. Tests check that the work is linear. */
  readonly counters = { headers: 0, copied: 0 };

  readonly #handler: FrameHandler;
  /** The start of a header that is not complete yet. */
  readonly #header = new Uint8Array(HEADER_SIZE);
  #headerFill = 0;
  /** The parts of a body that spans chunks. */
  readonly #gathered = new BodyParts();
  /** The header fields of the current frame; the length is -1 between frames. */
  #length = -1;
  #kind = 0;
  #flags = 0;
  #id = 0;

  /**
   * @param handler Takes the frames.
   * @param maxBody The largest body accepted, in bytes.
   */
  constructor(handler: FrameHandler, maxBody: number) {
    this.#handler = handler;
    this.maxBody = maxBody;
  }

  /**
   * Decodes `chunk` from `at`, at most `budget` frames, and returns where it
   * stopped: before the end of the chunk only if the budget is used up,
   * `stopped` was set, or a large frame has to wait.
   *
   * @throws {ConnectionError} If a header breaks the rules: `frame_too_large` or `protocol_error`.
   */
  push(chunk: Uint8Array, at = 0, budget = Infinity): number {
    const end = chunk.length;
    if (this.#length >= 0 || this.#headerFill > 0) {
      at = this.#resume(chunk, at);
      if (this.#length >= 0) return at;
      budget--;
    }
    const view = viewOf(chunk);
    while (at + HEADER_SIZE <= end) {
      if (this.stopped || budget-- <= 0) return at;
      this.#parseHeader(view, at);
      const start = at + HEADER_SIZE;
      if (start + this.#length > end) return this.#gather(chunk, start);
      if (
        (this.#length >= LARGE || this.#kind === FRAGMENT) && this.#waits()
      ) {
        this.#length = -1;
        this.counters.headers--;
        return at;
      }
      at = start + this.#length;
      this.#deliver(chunk, start, at);
    }
    if (at < end && !this.stopped) {
      this.#header.set(chunk.subarray(at), 0);
      this.#headerFill = end - at;
      return end;
    }
    return at;
  }

  /** Stops decoding, and drops the frame that has begun. */
  stop(): void {
    this.stopped = true;
    this.#gathered.clear();
  }

  /** The number of the frame that has begun and not ended, 1 for the first; undefined between frames. */
  get unfinished(): number | undefined {
    if (this.#length >= 0) return this.counters.headers;
    return this.#headerFill > 0 ? this.counters.headers + 1 : undefined;
  }

  /** Bytes of its body that have been received. */
  get unfinishedBytes(): number {
    return this.#gathered.filled;
  }

  /**
   * Checks that the byte stream may end here.
   *
   * @throws {ConnectionError} `truncated` inside a frame; the message has the
   *   number of missing bytes.
   */
  end(): void {
    if (this.unfinished === undefined) return;
    const [size, got] = this.#length < 0
      ? [HEADER_SIZE, this.#headerFill]
      : [this.#length, this.unfinishedBytes];
    throw new ConnectionError(
      "truncated",
      `the stream ended inside a frame: ${size - got} of ${size} bytes missing`,
    );
  }

  /** Continues the frame that an earlier chunk began. */
  #resume(chunk: Uint8Array, at: number): number {
    if (this.#length < 0) {
      const take = Math.min(HEADER_SIZE - this.#headerFill, chunk.length - at);
      this.#header.set(chunk.subarray(at, at + take), this.#headerFill);
      this.#headerFill += take;
      at += take;
      if (this.#headerFill < HEADER_SIZE) return at;
      this.#headerFill = 0;
      this.#parseHeader(viewOf(this.#header), 0);
      const end = at + this.#length;
      if (end <= chunk.length && !this.#gated) {
        this.#deliver(chunk, at, end);
        return end;
      }
    }
    return this.#gather(chunk, at);
  }

  #parseHeader(view: DataView, at: number): void {
    const length = view.getUint32(at);
    const word = view.getInt32(at + 4);
    const kind = word >>> 24;
    const flags = word >>> 16 & 0xff | (word & 0xffff) << 8;
    this.counters.headers++;
    const legal = LEGAL_FLAGS[kind];
    if (length > this.maxBody || legal < 0 || (flags & ~legal) !== 0) {
      checkLength(length, this.maxBody);
      checkKind(kind, flags);
    }
    this.#length = length;
    this.#kind = kind;
    this.#flags = flags;
    this.#id = view.getUint32(at + 8);
  }

  #inParts(): boolean {
    return this.#kind === FRAGMENT &&
      this.#handler.inParts?.(this.#length, this.#flags) === true;
  }

  #waits(): boolean {
    const may = this.#handler.mayRead?.(this.#length, this.#kind, this.#flags);
    return may === false;
  }

  #deliver(bytes: Uint8Array, start: number, end: number): void {
    this.#length = -1;
    const kind = this.#kind;
    if (kind === PAD || kind >= FIRST_SKIPPABLE) return;
    this.#handler.frame(kind, this.#flags, this.#id, bytes, start, end);
  }

  /** Whether the handler is asked before the current frame is delivered. */
  get #gated(): boolean {
    return this.#length >= LARGE || this.#kind === FRAGMENT;
  }

  /** Takes the bytes of the current body that `chunk` has. */
  #gather(chunk: Uint8Array, at: number): number {
    const gathered = this.#gathered;
    const rest = this.#length - gathered.filled;
    const has = chunk.length - at;
    const ends = rest <= has;
    if (!ends && has >= OWN_PART && gathered.filled === 0 && this.#inParts()) {
      this.#length -= has;
      const { length } = chunk;
      this.#handler.frame(this.#kind, this.#flags, this.#id, chunk, at, length);
      return length;
    }
    // The last bytes stay in the chunk, so that the caller comes back with them.
    if (ends && this.#gated && this.#waits()) return at;
    at = gathered.take(chunk, at, chunk.length, this.#length);
    if (gathered.filled === this.#length) {
      const body = gathered.join();
      this.counters.copied = gathered.copied;
      this.owned = true;
      this.#deliver(body, 0, body.length);
      this.owned = false;
    }
    return at;
  }
}

/**
 * Checks the length of a body.
 *
 * @throws {ConnectionError} `frame_too_large`.
 */
export function checkLength(length: number, most: number): void {
  if (length <= most) return;
  throw new ConnectionError(
    "frame_too_large",
    `a frame of ${length} bytes; at most ${most} are accepted`,
  );
}

/**
 * Checks the kind of a frame, and its flags with the reserved bits above them.
 *
 * @throws {ConnectionError} `protocol_error`.
 */
export function checkKind(kind: number, flags: number): void {
  const legal = LEGAL_FLAGS[kind];
  if (legal < 0) protocolError(`unknown frame kind ${hex(kind)}`);
  if ((flags & ~legal) !== 0) unknownFlags(kind, flags & ~legal);
}

/**
 * Checks the flags and reserved bits of a HELLO: this version knows none.
 *
 * @throws {ConnectionError} `protocol_error`, if one is set.
 */
export function checkHelloBits(flags: number): void {
  if (flags !== 0) unknownFlags(HELLO, flags);
}

function unknownFlags(kind: number, flags: number): never {
  protocolError(
    `unknown flags or reserved bits ${hex(flags)} on frame kind ${hex(kind)}`,
  );
}

function hex(n: number): string {
  return "0x" + n.toString(16).padStart(2, "0");
}
