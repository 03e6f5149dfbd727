/**
 * The metadata of a call or a reply, as the bytes that travel.
 *
 * Received metadata takes no more memory than its bytes until somebody reads
 * it. As a `Map`, 10,000 entries of six bytes would take 14 times as much, for
 * each call that waits.
 *
 * @module
 */

import { isInstanceOf } from "../base/user_code.ts";
import { readText, utf8 } from "../base/utf8.ts";
import type { Metadata, MetadataInit } from "../types/call.ts";
import { readU16, writeU16 } from "./frame.ts";
import { MAX_METADATA } from "./protocol.ts";

/** A metadata block: entries of a u8 length and a name, a u16 length and a value. */
export class MetadataBlock {
  readonly bytes: Uint8Array;
  #entries: Metadata | undefined;

  /** @param bytes Well-formed entries; nobody else writes to them. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** The size in bytes. */
  get size(): number {
    return this.bytes.length;
  }

  /** The entries; decoded when they are first read. */
  get entries(): Metadata {
    return this.#entries ??= decode(this.bytes);
  }
}

function decode(bytes: Uint8Array): Metadata {
  const entries = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const nameEnd = at + 1 + bytes[at];
    const value = nameEnd + 2;
    const end = value + readU16(bytes, nameEnd);
    entries.set(readText(bytes, at + 1, nameEnd), readText(bytes, value, end));
    at = end;
  }
  return entries;
}

/** The bytes that a block adds to the body of a frame. */
export function metadataSize(block: MetadataBlock | undefined): number {
  return block === undefined ? 0 : 2 + block.size;
}

/** Writes a block, if there is one, behind its u16 length; returns where it ends. */
export function writeMetadata(
  bytes: Uint8Array,
  at: number,
  block: MetadataBlock | undefined,
): number {
  if (block === undefined) return at;
  at = writeU16(bytes, at, block.size);
  bytes.set(block.bytes, at);
  return at + block.size;
}

/**
 * Returns metadata as an object of its own.
 *
 * @throws {TypeError} If it is neither a plain object nor a `Map`.
 */
export function toRecord(metadata: MetadataInit): Record<string, string> {
  if (isInstanceOf(metadata, Map)) return Object.fromEntries(metadata);
  // The prototype's prototype: an object of another realm is plain, too.
  const prototype: unknown = Object.getPrototypeOf(metadata);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) {
    return { ...metadata as Readonly<Record<string, string>> };
  }
  throw new TypeError(
    `Cannot send metadata: expected a plain object or a Map, received ${
      Object.prototype.toString.call(metadata)
    }`,
  );
}

/**
 * Encodes metadata.
 *
 * @throws {TypeError} If it is neither a plain object nor a `Map`, or a value
 *   is not a string.
 * @throws {RangeError} If a name has more than 255 bytes, or all of it more
 *   than 65,535.
 */
export function toMetadata(metadata: MetadataInit): MetadataBlock {
  const fields: ArrayLike<number>[] = [];
  let size = 0;
  for (const [name, value] of Object.entries(toRecord(metadata))) {
    if (typeof value !== "string") {
      throw new TypeError(
        `Cannot send metadata: "${name}" is not a string, received ${typeof value}`,
      );
    }
    const [key, text] = [utf8(name), utf8(value)];
    if (key.length > 255) {
      throw new RangeError(
        `Cannot send metadata: a name has ${key.length} bytes, at most 255 fit`,
      );
    }
    fields.push([key.length], key, [text.length >> 8, text.length], text);
    size += 3 + key.length + text.length;
  }
  if (size > MAX_METADATA) {
    throw new RangeError(
      `Cannot send metadata: ${size} bytes, at most ${MAX_METADATA} fit`,
    );
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const field of fields) {
    bytes.set(field, at);
    at += field.length;
  }
  return new MetadataBlock(bytes);
}
