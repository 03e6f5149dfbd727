/**
 * The metadata of one call or answer, as the bytes in which it travels.
 *
 * Invariant owned here: what a peer sends takes the memory of its bytes until
 * somebody looks at it. As a `Map` 10,000 entries of six bytes take 14 times
 * that, for every call that waits.
 *
 * @module
 */

import { copyBytes } from "../base/bytes.ts";
import type { Metadata } from "../types/call.ts";
import { readU16 } from "./frame.ts";
import { readText, utf8 } from "../base/utf8.ts";

/** A metadata block: entries of a u8 length and a name, a u16 length and a value. */
export class MetadataBlock {
  readonly bytes: Uint8Array;
  #map: Metadata | undefined;

  /** @param bytes Well formed, and nobody else's. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** The entries as they travel; names are at most 255 bytes, values 65,535. */
  static of(entries: Metadata): MetadataBlock {
    const texts: Uint8Array[] = [];
    let size = 0;
    for (const [name, value] of entries) {
      const [key, text] = [utf8(name), utf8(value)];
      texts.push(key, text);
      size += 3 + key.length + text.length;
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (let i = 0; i < texts.length; i += 2) {
      const [key, text] = [texts[i], texts[i + 1]];
      bytes[at++] = key.length;
      bytes.set(key, at);
      at += key.length;
      bytes[at++] = text.length >>> 8;
      bytes[at++] = text.length;
      bytes.set(text, at);
      at += text.length;
    }
    return new MetadataBlock(bytes);
  }

  /** Its size in bytes. */
  get size(): number {
    return this.bytes.length;
  }

  /** The entries; made when they are first asked for. */
  get entries(): Metadata {
    return this.#map ??= decode(this.bytes);
  }
}

function decode(bytes: Uint8Array): Metadata {
  const map = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const nameEnd = at + 1 + bytes[at];
    const value = nameEnd + 2;
    const end = value + readU16(bytes, nameEnd);
    map.set(readText(bytes, at + 1, nameEnd), readText(bytes, value, end));
    at = end;
  }
  return map;
}

/** The block in `bytes[start..end)`, whose entries were checked, as a copy of its own. */
export function keepMetadata(
  bytes: Uint8Array,
  start: number,
  end: number,
): MetadataBlock {
  return new MetadataBlock(copyBytes(bytes, start, end));
}
