/**
 * Items that wait to be read, as bytes.
 *
 * Invariant owned here: what waits takes about as much memory as it was
 * counted for. Small payloads share a block, behind a header of four bytes
 * each: a typed array for every byte of a hostile peer's would take ten times
 * that. The parts of an item are joined as they come, however small they are;
 * what waits of one that is not whole takes at most twice its bytes.
 *
 * @module
 */

import { copyBytes, NO_BYTES } from "../base/bytes.ts";
import { BYTES } from "../wire/protocol.ts";
import type { PayloadView } from "../wire/codec.ts";

/** Payloads of at least this many bytes are kept by themselves. */
const OWN_BLOCK = 1024;
const MIN_BLOCK = 256;
const MAX_BLOCK = 8 * 1024;
/** Parts of at least this many bytes are kept by themselves; smaller ones are joined into blocks of up to as many. */
const OWN_PART = 4096;
const HEAD = 4;

interface ItemBlock {
  readonly bytes: Uint8Array;
  /** How far it is filled, and read. */
  fill: number;
  at: number;
  /** The payload kind, and whether its item goes on in the next block, of a block that is one payload; -1 for one of many. */
  readonly mark: number;
}

const MORE = 0x80;

/** The payload that was taken last. */
class ItemView implements PayloadView {
  kind = 0;
  bytes: Uint8Array = NO_BYTES;
  at = 0;
  end = 0;
  /** Whether the bytes are nobody else's. */
  owned = false;
  /** Whether its item goes on in the next one. */
  more = false;
}

/** A queue of payloads. */
export class ItemBuffer {
  /** The payload that `take` took. */
  readonly view = new ItemView();
  /** Bytes of the item that is not whole. */
  unfinished = 0;
  #blocks: ItemBlock[] = [];
  #head = 0;
  /** The item that is not whole: its bytes, and how far the last array is filled. */
  #parts: Uint8Array[] = [];
  #fill = 0;

  /** Adds a payload, or a part of one; `owned` says that its bytes may be kept. */
  push(
    { kind, bytes, at, end }: PayloadView,
    more: boolean,
    owned: boolean,
  ): void {
    if (!more && this.unfinished === 0) {
      return this.#add(kind, bytes, at, end, owned);
    }
    if (end - at >= OWN_PART) {
      this.#seal();
      this.#parts.push(
        owned ? bytes.subarray(at, end) : copyBytes(bytes, at, end),
      );
    } else this.#join(bytes, at, end);
    this.unfinished += end - at;
    if (!more) this.#finish(kind);
  }

  /** Copies a small part behind those that came. */
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

  /** What comes next does not go into the last array. */
  #seal(): void {
    if (this.#fill === 0) return;
    const last = this.#parts.length - 1;
    this.#parts[last] = this.#parts[last].subarray(0, this.#fill);
    this.#fill = 0;
  }

  /** The item is whole. */
  #finish(kind: number): void {
    this.#seal();
    const parts = this.#parts;
    const size = this.unfinished;
    this.#parts = [];
    this.unfinished = 0;
    if (size < OWN_BLOCK) {
      return this.#add(kind, join(parts, size), 0, size, false);
    }
    parts.forEach((bytes, i) => {
      const mark = kind | (i < parts.length - 1 ? MORE : 0);
      this.#blocks.push({ bytes, fill: bytes.length, at: 0, mark });
    });
  }

  #add(
    kind: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    owned: boolean,
  ): void {
    const length = end - at;
    if (length >= OWN_BLOCK) {
      const own = owned ? bytes.subarray(at, end) : copyBytes(bytes, at, end);
      this.#blocks.push({ bytes: own, fill: length, at: 0, mark: kind });
      return;
    }
    const block = this.#room(HEAD + length);
    const to = block.fill;
    block.bytes[to] = kind;
    block.bytes[to + 1] = length >>> 8;
    block.bytes[to + 2] = length;
    block.bytes.set(bytes.subarray(at, end), to + HEAD);
    block.fill = to + HEAD + length;
  }

  /** Takes the first payload out; `view` shows it until the next call of anything here. */
  take(): void {
    let block = this.#blocks[this.#head];
    // One that was kept to be filled again, and did not suit.
    if (block.at === block.fill) block = this.#blocks[++this.#head];
    const single = block.mark >= 0;
    const { bytes } = block;
    const mark = single ? block.mark : bytes[block.at];
    const at = single ? 0 : block.at + HEAD;
    const length = single
      ? block.fill
      : (bytes[block.at + 1] << 8) | bytes[block.at + 2];
    block.at = at + length;
    if (block.at === block.fill) this.#used(block);
    const { view } = this;
    view.kind = mark & ~MORE;
    view.bytes = bytes;
    view.at = at;
    view.end = at + length;
    view.owned = single;
    view.more = (mark & MORE) !== 0;
  }

  /** The size of the item that `take` begins next, in bytes: 0 for a small one, and for bytes, which nobody parses. */
  get nextSize(): number {
    let i = this.#head;
    if (this.#blocks[i].at === this.#blocks[i].fill) i++;
    const { mark } = this.#blocks[i];
    if (mark < 0 || (mark & ~MORE) === BYTES) return 0;
    let size = 0;
    for (;; i++) {
      const block = this.#blocks[i];
      size += block.fill;
      if ((block.mark & MORE) === 0) return size;
    }
  }

  /** Lets go of the item that is not whole; returns how many bytes that were. */
  abandon(): number {
    const { unfinished } = this;
    this.#parts = [];
    this.#fill = this.unfinished = 0;
    return unfinished;
  }

  /** Lets go of everything. */
  clear(): void {
    this.#blocks = [];
    this.#head = 0;
    this.abandon();
    this.forget();
  }

  /** Lets go of the payload that was taken. */
  forget(): void {
    this.view.bytes = NO_BYTES;
  }

  #room(n: number): ItemBlock {
    const last = this.#blocks.at(-1);
    const open = last !== undefined && last.mark < 0;
    if (open && last.fill + n <= last.bytes.length) return last;
    const wanted = open ? 2 * last.bytes.length : MIN_BLOCK;
    const size = Math.max(n, Math.min(MAX_BLOCK, wanted));
    const block = { bytes: new Uint8Array(size), fill: 0, at: 0, mark: -1 };
    this.#blocks.push(block);
    return block;
  }

  /** A small block that is read up serves again: where each item is read as it comes, none is allocated. */
  #used(block: ItemBlock): void {
    const last = this.#head === this.#blocks.length - 1;
    if (last && block.mark < 0 && block.bytes.length <= OWN_BLOCK) {
      block.fill = block.at = 0;
      return;
    }
    this.#blocks[this.#head++] = EMPTY;
    if (this.#head < 32 && !last) return;
    this.#blocks.splice(0, this.#head);
    this.#head = 0;
  }
}

/** Byte arrays of `size` bytes in all, as one. */
export function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const EMPTY: ItemBlock = { bytes: NO_BYTES, fill: 0, at: 0, mark: -1 };
