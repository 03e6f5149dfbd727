/**
 * How bytes are cut into frames: the incremental decoder.
 *
 * Invariants owned here:
 * - A header that breaks the rules is no frame: kinds and flag bits that are
 *   not known, and a length, are checked before anything is allocated.
 * - A frame that lies within one chunk is not copied. One that spans chunks is
 *   gathered as it comes and copied once; only bytes that come in pieces under
 *   {@linkcode OWN_PART} of a frame above it are copied a second time.
 * - Memory held for an unfinished frame follows what was received, not what
 *   its header promises.
 *
 * @module
 */

import { blank, viewOf } from "../base/bytes.ts";
import { ConnectionError } from "../base/errors.ts";
import { LARGE } from "../base/large_reads.ts";
import {
  CANCEL,
  CREDIT,
  DATA,
  END,
  ERROR,
  FIRST_SKIPPABLE,
  FLAG_CALLER,
  FLAG_DEADLINE,
  FLAG_ERROR,
  FLAG_METADATA,
  FLAG_MORE,
  FLAG_NONE,
  FLAG_STARTED,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  PAD,
  PING,
  PONG,
  REPLY,
  REQUEST,
  STOP,
} from "./frame.ts";

/** Flag bits each kind knows; PAD and the skippable kinds ignore theirs. */
const KNOWN_FLAGS = new Map<number, number>([
  [REQUEST, FLAG_DEADLINE | FLAG_METADATA],
  [REPLY, FLAG_METADATA],
  [ERROR, FLAG_STARTED | FLAG_METADATA],
  [CANCEL, 0],
  [PING, 0],
  [PONG, 0],
  [GOAWAY, FLAG_NONE],
  [DATA, FLAG_CALLER | FLAG_MORE],
  [END, FLAG_CALLER | FLAG_ERROR],
  [STOP, FLAG_CALLER],
  [CREDIT, FLAG_CALLER],
]);

/** A HELLO's reserved bits, where they are set, as its sink is told of them: as a flag bit that no header has. */
const FLAG_RESERVED = 0x100;

/** The same by index, with -1 for a kind that closes and -2 for one that is skipped whatever its flags. */
const FLAG_TABLE = new Int16Array(256).fill(-1);
for (const [kind, flags] of KNOWN_FLAGS) FLAG_TABLE[kind] = flags;
FLAG_TABLE[PAD] = -2;
// Whoever reads it judges them, once its version is known.
FLAG_TABLE[HELLO] = 0xff;
FLAG_TABLE.fill(-2, FIRST_SKIPPABLE);

/** Smallest buffer the decoder sets up for a frame that spans chunks, in bytes. */
const OWN_PART = 4096;

/** Takes the frames of a {@linkcode FrameDecoder}; `bytes` is only lent for the time of the call. */
export interface FrameHandler {
  /** Whether a frame with a body of so many bytes may be delivered now; asked of those of {@linkcode LARGE} and more. If not, `push` comes no further. */
  mayRead?(bytes: number): boolean;
  /**
   * One whole frame; its body is `bytes[start..end)`. Skippable frames do not
   * come here. A HELLO's flags and reserved bits are not checked yet: what its
   * version says of itself goes first. {@linkcode checkHelloBits} does it.
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
 * Cuts a byte stream into frames, synchronously, calling its sink once a
 * frame. After it has thrown it must not be used again.
 */
export class FrameDecoder {
  /** The largest body accepted, in bytes; may change between frames. */
  maxBody: number;
  /** Set to stop before the next frame of the chunk being decoded. */
  stopped = false;
  /** Whether the body being delivered was gathered from chunks: the decoder lets go of it, so that its taker may keep it. */
  owned = false;
  /** Headers parsed and body bytes copied so far: what the linearity tests count. */
  readonly counters = { headers: 0, copied: 0 };

  readonly #sink: FrameHandler;
  /** Bytes of a header that is not complete yet. */
  readonly #header = new Uint8Array(HEADER_SIZE);
  #headerFill = 0;
  /** The parts of a body that spans chunks, and how much of it they hold. */
  #parts: Uint8Array[] = [];
  #filled = 0;
  /** Bytes used of the last part, where it is our own and has room; else 0. */
  #tailFill = 0;
  /** The header fields of the body being gathered; length -1 while there is none. */
  #length = -1;
  #kind = 0;
  #flags = 0;
  #id = 0;

  /**
   * @param sink Takes the frames.
   * @param maxBody The largest body accepted, in bytes.
   */
  constructor(sink: FrameHandler, maxBody: number) {
    this.#sink = sink;
    this.maxBody = maxBody;
  }

  /**
   * Decodes `chunk` from `at`, at most `budget` frames of it, and returns how
   * far it came: less than `chunk.length` only if the budget ran out,
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
      if (this.#length >= LARGE && this.#waits()) {
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

  /** Reads no frame more, and lets go of the one that has begun. */
  stop(): void {
    this.stopped = true;
    this.#parts = [];
    this.#filled = this.#tailFill = 0;
  }

  /** Which frame has begun and not ended, counted from the first; undefined between frames. */
  get unfinished(): number | undefined {
    if (this.#length >= 0) return this.counters.headers;
    return this.#headerFill > 0 ? this.counters.headers + 1 : undefined;
  }

  /** Bytes held of its body. */
  get unfinishedBytes(): number {
    return this.#filled;
  }

  /**
   * Says that the byte stream has ended.
   *
   * @throws {ConnectionError} `truncated`, if that is inside a frame; the message says how many bytes were missing.
   */
  end(): void {
    if (this.#length >= 0) {
      const missing = this.#length - this.#filled;
      throw new ConnectionError(
        "truncated",
        `the stream ended inside a frame body: ${missing} of ${this.#length} bytes missing`,
      );
    }
    if (this.#headerFill > 0) {
      const missing = HEADER_SIZE - this.#headerFill;
      throw new ConnectionError(
        "truncated",
        `the stream ended inside a frame header: ${missing} of ${HEADER_SIZE} bytes missing`,
      );
    }
  }

  /** Goes on with the frame that an earlier chunk began. */
  #resume(chunk: Uint8Array, at: number): number {
    if (this.#length < 0) {
      const take = Math.min(HEADER_SIZE - this.#headerFill, chunk.length - at);
      this.#header.set(chunk.subarray(at, at + take), this.#headerFill);
      this.#headerFill += take;
      at += take;
      if (this.#headerFill < HEADER_SIZE) return at;
      this.#headerFill = 0;
      this.#parseHeader(viewOf(this.#header), 0);
      if (at + this.#length <= chunk.length && this.#length < LARGE) {
        const start = at;
        at += this.#length;
        this.#deliver(chunk, start, at);
        return at;
      }
    }
    return this.#gather(chunk, at);
  }

  #parseHeader(view: DataView, at: number): void {
    const length = view.getUint32(at);
    const word = view.getInt32(at + 4);
    const kind = word >>> 24;
    let flags = word >>> 16 & 0xff;
    this.counters.headers++;
    if (length > this.maxBody) {
      throw new ConnectionError(
        "frame_too_large",
        `a frame of ${length} bytes; at most ${this.maxBody} are accepted`,
      );
    }
    const known = FLAG_TABLE[kind];
    if (known !== -2 && (flags & ~known) !== 0 || known === -1) {
      throw new ConnectionError(
        "protocol_error",
        known === -1
          ? `unknown frame kind ${hex(kind)}`
          : `unknown flag bits ${hex(flags & ~known)} on frame kind ${
            hex(kind)
          }`,
      );
    }
    if ((word & 0xffff) !== 0) {
      if (kind === HELLO) flags |= FLAG_RESERVED;
      else {throw new ConnectionError(
          "protocol_error",
          "reserved header bits are set",
        );}
    }
    this.#length = length;
    this.#kind = kind;
    this.#flags = flags;
    this.#id = view.getUint32(at + 8);
  }

  #waits(): boolean {
    return this.#sink.mayRead?.(this.#length) === false;
  }

  #deliver(bytes: Uint8Array, start: number, end: number): void {
    this.#length = -1;
    const kind = this.#kind;
    if (FLAG_TABLE[kind] !== -2) {
      this.#sink.frame(kind, this.#flags, this.#id, bytes, start, end);
    }
  }

  /**
   * Takes what `chunk` has of the current body. A chunk's rest of at least
   * OWN_PART bytes is kept as it is; smaller pieces are copied into a part of
   * our own, which doubles what is held, so that bytes that trickle in cost
   * neither an object each nor a buffer of the promised length.
   */
  #gather(chunk: Uint8Array, at: number): number {
    const rest = this.#length - this.#filled;
    const ends = rest <= chunk.length - at;
    // Its last bytes are left, so that whoever waits is asked for them again.
    if (ends && this.#length >= LARGE && this.#waits()) return at;
    while (at < chunk.length && this.#filled < this.#length) {
      const missing = this.#length - this.#filled;
      const last = this.#parts.length - 1;
      let take = Math.min(missing, chunk.length - at);
      if (this.#tailFill > 0) {
        const tail = this.#parts[last];
        take = Math.min(take, tail.length - this.#tailFill);
        tail.set(chunk.subarray(at, at + take), this.#tailFill);
        this.#tailFill += take;
        if (this.#tailFill === tail.length) this.#tailFill = 0;
        this.counters.copied += take;
      } else if (take >= OWN_PART && take < this.#length) {
        this.#parts.push(chunk.subarray(at, at + take));
      } else {
        const room = Math.min(missing, Math.max(OWN_PART, this.#filled));
        take = Math.min(take, room);
        const own = new Uint8Array(room);
        own.set(chunk.subarray(at, at + take));
        this.#parts.push(own);
        this.#tailFill = take < room ? take : 0;
        this.counters.copied += take;
      }
      this.#filled += take;
      at += take;
    }
    if (this.#filled === this.#length) this.#deliverParts();
    return at;
  }

  #deliverParts(): void {
    const parts = this.#parts;
    let body = parts[0] ?? this.#header.subarray(0, 0);
    if (parts.length > 1) {
      body = blank(this.#length);
      let at = 0;
      for (const part of parts) {
        body.set(part, at);
        at += part.length;
      }
      this.counters.copied += at;
    }
    this.#parts = [];
    this.#filled = 0;
    this.#tailFill = 0;
    this.owned = true;
    this.#deliver(body, 0, body.length);
    this.owned = false;
  }
}

/**
 * Says whether a HELLO's header has bits that this version does not know.
 *
 * @throws {ConnectionError} `protocol_error`, if it has.
 */
export function checkHelloBits(flags: number): void {
  if (flags === 0) return;
  throw new ConnectionError(
    "protocol_error",
    (flags & FLAG_RESERVED) !== 0
      ? "reserved header bits are set"
      : `unknown flag bits ${hex(flags)} on frame kind ${hex(HELLO)}`,
  );
}

function hex(byte: number): string {
  return "0x" + byte.toString(16).padStart(2, "0");
}
