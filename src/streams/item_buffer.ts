/**
 * Items that wait to be read, as bytes.
 *
 * Bound: waiting items take about as much memory as the window counts for
 * them. Small payloads share a block, behind a header of four bytes each: one
 * typed array for each payload of a byte would take ten times as much. The
 * parts of an item are joined as they arrive, however small they are; an item
 * that has not arrived whole takes at most twice its bytes.
 *
 * @module
 */

import { copyBytes } from "../base/bytes.ts";
import type { PayloadView } from "../wire/values/payload.ts";
import { BYTES } from "../wire/protocol.ts";

/** Payloads of at least this many bytes get a block of their own. */
const OWN_BLOCK = 1024;
const MIN_BLOCK = 256;
const MAX_BLOCK = 8 * 1024;
/** Parts of at least this many bytes stay arrays of their own; smaller ones are joined into arrays of up to as many. */
const OWN_PART = 4096;
/** The header of a payload in a shared block: its kind, its length in two bytes, and one byte unused. */
const HEADER = 4;
/** The kind of a shared block. */
const SHARED = -1;

/** One large payload in parts, or many small ones in a single part. */
interface ItemBlock {
  /** The payload kind, or {@linkcode SHARED}. */
  readonly kind: number;
  readonly parts: readonly Uint8Array[];
  /** Bytes in it, and how many of them were read. */
  size: number;
  at: number;
}

/** An item taken out of the buffer. */
export interface StoredItem extends PayloadView {
  /** Whether nothing else uses the bytes. */
  readonly owned: boolean;
}

/** A queue of items. */
export class ItemBuffer {
  /** Bytes of the item that has not arrived whole. */
  unfinished = 0;
  #blocks: ItemBlock[] = [];
  /** The parts of the item that has not arrived whole, and how far the last array is filled; 0 if it takes no more. */
  #parts: Uint8Array[] = [];
  #fill = 0;

  /** Adds an item, or a part of one if `more` follows; `owned` says that the buffer may keep the bytes. */
  push(
    { kind, bytes, at, end }: PayloadView,
    more: boolean,
    owned: boolean,
  ): void {
    const size = end - at;
    const whole = !more && this.unfinished === 0;
    if (size < (whole ? OWN_BLOCK : OWN_PART)) {
      if (whole) this.#addSmall(kind, bytes.subarray(at, end));
      else this.#join(bytes, at, end);
    } else {
      const own = owned ? bytes.subarray(at, end) : copyBytes(bytes, at, end);
      if (whole) return this.#addLarge(kind, [own], size);
      this.#seal();
      this.#parts.push(own);
    }
    if (whole) return;
    this.unfinished += size;
    if (!more) this.#finish(kind);
  }

  /** Copies a small part behind those that arrived before. */
  #join(bytes: Uint8Array, at: number, end: number): void {
    while (at < end) {
      if (this.#fill === 0) {
        const wanted = Math.max(end - at, MIN_BLOCK, this.unfinished);
        this.#parts.push(new Uint8Array(Math.min(OWN_PART, wanted)));
      }
      const tail = this.#parts[this.#parts.length - 1];
      const to = Math.min(end, at + tail.length - this.#fill);
      tail.set(bytes.subarray(at, to), this.#fill);
      this.#fill = (this.#fill + to - at) % tail.length;
      at = to;
    }
  }

  /** Ends the last array where it is filled. */
  #seal(): void {
    if (this.#fill === 0) return;
    this.#parts.push((this.#parts.pop() as Uint8Array).subarray(0, this.#fill));
    this.#fill = 0;
  }

  /** Adds the item whose last part has arrived. */
  #finish(kind: number): void {
    this.#seal();
    const parts = this.#parts;
    const size = this.abandon();
    if (size < OWN_BLOCK) this.#addSmall(kind, join(parts, size));
    else this.#addLarge(kind, parts, size);
  }

  #addLarge(kind: number, parts: readonly Uint8Array[], size: number): void {
    this.#blocks.push({ kind, parts, size, at: 0 });
  }

  #addSmall(kind: number, payload: Uint8Array): void {
    const { length } = payload;
    const block = this.#blockFor(HEADER + length);
    const bytes = block.parts[0];
    const at = block.size;
    bytes[at] = kind;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length;
    bytes.set(payload, at + HEADER);
    block.size = at + HEADER + length;
  }

  /** The last block if it is shared and has `n` bytes left, else a new one. */
  #blockFor(n: number): ItemBlock {
    const last = this.#blocks.at(-1);
    let wanted = MIN_BLOCK;
    if (last?.kind === SHARED) {
      const { length } = last.parts[0];
      if (last.size + n <= length) return last;
      wanted = 2 * length;
    }
    const bytes = new Uint8Array(Math.max(n, Math.min(MAX_BLOCK, wanted)));
    const block = { kind: SHARED, parts: [bytes], size: 0, at: 0 };
    this.#blocks.push(block);
    return block;
  }

  /** Takes out the first item, in one piece. */
  take(): StoredItem {
    const block = this.#first();
    const { kind, parts, at, size } = block;
    const bytes = parts[0];
    if (kind !== SHARED) {
      this.#blocks.shift();
      const whole = parts.length === 1 ? bytes : join(parts, size);
      return { kind, bytes: whole, at: 0, end: size, owned: true };
    }
    const start = at + HEADER;
    const end = start + ((bytes[at + 1] << 8) | bytes[at + 2]);
    block.at = end;
    if (end === size) {
      // A small block that was read serves again: where each item is read as
      // it arrives, no memory is allocated.
      const again = this.#blocks.length === 1 && bytes.length <= OWN_BLOCK;
      if (again) block.size = block.at = 0;
      else this.#blocks.shift();
    }
    return { kind: bytes[at], bytes, at: start, end, owned: false };
  }

  /** The size in bytes of the item that `take` returns next; 0 for a small one, and for bytes, which are not parsed. */
  get nextSize(): number {
    const { kind, size } = this.#first();
    return kind === SHARED || kind === BYTES ? 0 : size;
  }

  /** The first block with an item. */
  #first(): ItemBlock {
    const block = this.#blocks[0];
    if (block.at < block.size) return block;
    // It was kept to serve again, and was too small.
    this.#blocks.shift();
    return this.#blocks[0];
  }

  /** Drops the item that has not arrived whole; returns how many bytes of it had. */
  abandon(): number {
    const { unfinished } = this;
    this.#parts = [];
    this.#fill = this.unfinished = 0;
    return unfinished;
  }

  /** Drops everything. */
  clear(): void {
    this.#blocks = [];
    this.abandon();
  }
}

/** Joins byte arrays of `size` bytes in all. */
function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
