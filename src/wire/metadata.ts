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
import type { Metadata, MetadataInit } from "../types/call.ts";
import { readU16 } from "./frame.ts";
import { readText, utf8 } from "../base/utf8.ts";
import { MAX_METADATA } from "./protocol.ts";
import { isA } from "../base/user_code.ts";

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

/**
 * Metadata as an object.
 *
 * @throws {TypeError} If it is neither a plain object nor a `Map`.
 */
export function toRecord(given: MetadataInit): Record<string, string> {
  if (isA(given, Map)) return Object.fromEntries(given);
  // By its prototype's prototype: an object of another realm is plain, too.
  const prototype: unknown = Object.getPrototypeOf(given);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) {
    return { ...given as Readonly<Record<string, string>> };
  }
  throw new TypeError(
    `Cannot send metadata: give a plain object or a Map, received ${
      typeName(given)
    }`,
  );
}

/**
 * Metadata as it travels.
 *
 * @throws {TypeError} If it is no metadata, or a name or value is not a string.
 * @throws {RangeError} If it is too large.
 */
export function toMetadata(given: MetadataInit): MetadataBlock {
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(toRecord(given))) {
    if (typeof value !== "string") {
      throw new TypeError(
        `Cannot send metadata: "${name}" is not a string, received ${typeof value}`,
      );
    }
    if (utf8(name).length > 255) {
      throw new RangeError("Cannot send metadata: a name is over 255 bytes");
    }
    metadata.set(name, value);
  }
  const block = MetadataBlock.of(metadata);
  const { size } = block;
  if (size > MAX_METADATA) {
    throw new RangeError(
      `Cannot send metadata: ${size} bytes, at most ${MAX_METADATA} fit`,
    );
  }
  return block;
}

/** What an object is, for messages: its class, if it tells. */
function typeName(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
