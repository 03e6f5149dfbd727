/**
 * Items that wait to be read, as bytes.
 *
 * Invariant owned here: what waits takes about as much memory as it was
 * charged for. Small payloads share a block, behind a header of four bytes
 * each: a typed array for every byte of a hostile peer's would take ten times
 * what its credit says.
 *
 * @module
 */

import { copyBytes, NO_BYTES } from "../bytes.ts";
import type { PayloadView } from "./terms.ts";

/** Payloads of at least this many bytes are kept by themselves. */
const OWN_BLOCK = 1024;
const MIN_BLOCK = 256;
const MAX_BLOCK = 8 * 1024;
const HEAD = 4;

interface Block {
  readonly bytes: Uint8Array;
  /** How far it is filled, and read. */
  fill: number;
  at: number;
  /** The payload kind and whether there is more, of a block that is one payload; -1 for one of many. */
  readonly mark: number;
}

const MORE = 0x80;

/** The payload that was taken last. */
class View implements PayloadView {
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
export class Store {
  /** The payload that `take` took. */
  readonly view = new View();
  #blocks: Block[] = [];
  #head = 0;

  /** Adds a payload; `owned` says that its bytes may be kept. */
  push(
    { kind, bytes, at, end }: PayloadView,
    more: boolean,
    owned: boolean,
  ): void {
    const mark = kind | (more ? MORE : 0);
    const length = end - at;
    if (length >= OWN_BLOCK) {
      const own = owned ? bytes.subarray(at, end) : copyBytes(bytes, at, end);
      this.#blocks.push({ bytes: own, fill: length, at: 0, mark });
      return;
    }
    const block = this.#room(HEAD + length);
    const to = block.fill;
    block.bytes[to] = mark;
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

  /** Lets go of everything. */
  clear(): void {
    this.#blocks = [];
    this.#head = 0;
    this.forget();
  }

  /** Lets go of the payload that was taken. */
  forget(): void {
    this.view.bytes = NO_BYTES;
  }

  #room(n: number): Block {
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
  #used(block: Block): void {
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

const EMPTY: Block = { bytes: NO_BYTES, fill: 0, at: 0, mark: -1 };
