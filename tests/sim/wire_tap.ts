/**
 * Watches one direction of a connection, and counts what the window bounds,
 * independently of the library.
 *
 * @module
 */

import { HEADER_SIZE, readU32 } from "../../src/wire/frame.ts";
import { KIND } from "../support/raw_peer.ts";

/** A frame that was seen; the same object is reused for each frame. */
export interface WireFrame {
  readonly kind: number;
  readonly flags: number;
  readonly id: number;
  /** Its size in bytes, header included. */
  readonly size: number;
  /** Whether it is a request or reply whose value is a stream. */
  readonly streamed: boolean;
  /** What a CREDIT grants; 0 for all others. */
  readonly grant: number;
  /** The calls and bytes of a WINDOW; 0 for all others. */
  readonly window: readonly [calls: number, bytes: number];
}

/** How many bytes of a body are kept: enough to find its payload kind. */
const HEAD = 128;
const DEADLINE = 0x01;
const METADATA = 0x02;
const REFS = 0x08;
/** The payload kind that says that the value is a stream. */
const STREAM = 5;

/** Cuts bytes into frames, and calls a function with each. */
export class FrameTap {
  readonly #onFrame: (frame: WireFrame) => void;
  readonly #header = new Uint8Array(HEADER_SIZE);
  readonly #head = new Uint8Array(HEAD);
  #fill = 0;
  #body = 0;
  #missing = 0;

  constructor(onFrame: (frame: WireFrame) => void) {
    this.#onFrame = onFrame;
  }

  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#fill < HEADER_SIZE) {
        const part = bytes.subarray(at, at + HEADER_SIZE - this.#fill);
        this.#header.set(part, this.#fill);
        this.#fill += part.length;
        at += part.length;
        if (this.#fill < HEADER_SIZE) return;
        this.#body = this.#missing = readU32(this.#header, 0);
      }
      const part = bytes.subarray(at, at + this.#missing);
      const seen = this.#body - this.#missing;
      if (seen < HEAD) this.#head.set(part.subarray(0, HEAD - seen), seen);
      this.#missing -= part.length;
      at += part.length;
      if (this.#missing > 0) return;
      this.#fill = 0;
      this.#onFrame(this.#frame());
    }
  }

  #frame(): WireFrame {
    const [kind, flags] = this.#header.subarray(4);
    return {
      kind,
      flags,
      id: readU32(this.#header, 8),
      size: HEADER_SIZE + this.#body,
      streamed: this.#payloadKind(kind, flags) === STREAM,
      grant: kind === KIND.CREDIT ? readU32(this.#head, 0) : 0,
      window: kind === KIND.WINDOW
        ? [readU32(this.#head, 0), readU32(this.#head, 4)]
        : [0, 0],
    };
  }

  /** The payload kind of a request or a reply. */
  #payloadKind(kind: number, flags: number): number | undefined {
    if (kind !== KIND.REQUEST && kind !== KIND.REPLY) return undefined;
    let at = 0;
    if (kind === KIND.REQUEST && (flags & DEADLINE) !== 0) at += 4;
    if ((flags & METADATA) !== 0) at += this.#past(at);
    if (kind === KIND.REQUEST) {
      if ((flags & REFS) !== 0) at += this.#past(at);
      at += this.#past(at);
    }
    return this.#head[at];
  }

  /** The size of a field with its length before it. */
  #past(at: number): number {
    return 2 + (this.#head[at] << 8 | this.#head[at + 1]);
  }
}

/** The bytes of the window that each call occupies, by id. */
export class Places {
  bytes = 0;
  readonly #sizes = new Map<number, number>();

  get calls(): number {
    return this.#sizes.size;
  }

  take(id: number, size: number): void {
    this.#sizes.set(id, size);
    this.bytes += size;
  }

  free(id: number): void {
    this.bytes -= this.#sizes.get(id) ?? 0;
    this.#sizes.delete(id);
  }

  has(id: number): boolean {
    return this.#sizes.has(id);
  }
}
