/**
 * The references of a REQUEST: which results of earlier calls belong into its
 * params, and where. `docs/protocol.md` section 6 is normative.
 *
 * - A block is a u16 length and entries: a u32 id, a u16 length, and a JSON text
 *   `[place, path]` of that length. So its size does not depend on the ids.
 * - A path leads through own properties and items alone, never through a
 *   prototype.
 *
 * @module
 */

import { copyBytes } from "../base/bytes.ts";
import { protocolError } from "../base/errors.ts";
import { isPlain } from "../base/inspect.ts";
import { readText, utf8 } from "../base/utf8.ts";
import type { CodecSettings, RequestLinks, WireReference } from "./codec.ts";
import type { FieldReader } from "./fields.ts";
import { FLAG_KEEP, FLAG_REFS, readU16, writeU16, writeU32 } from "./frame.ts";

/** The most references of a call. */
export const MAX_REFERENCES = 64;

/** The most steps of a place or a path. */
export const MAX_STEPS = 32;

/** The largest block, in bytes, without its length. */
export const MAX_BLOCK = 8192;

/**
 * Encodes a block with ids of 0, which {@linkcode setIds} replaces. Undefined if
 * it would exceed a limit.
 */
export function encodeReferences(
  list: readonly Pick<WireReference, "place" | "path">[],
): Uint8Array | undefined {
  if (list.length > MAX_REFERENCES) return undefined;
  const texts: Uint8Array[] = [];
  let size = 0;
  for (const { place, path } of list) {
    if (Math.max(place.length, path.length) > MAX_STEPS) return undefined;
    const text = utf8(JSON.stringify([place, path]));
    texts.push(text);
    size += 6 + text.length;
  }
  if (size > MAX_BLOCK) return undefined;
  const block = new Uint8Array(2 + size);
  let at = writeU16(block, 0, size);
  for (const text of texts) {
    at = writeU16(block, at + 4, text.length);
    block.set(text, at);
    at += text.length;
  }
  return block;
}

/** Writes the ids into a block, in the order of its entries. */
export function setIds(block: Uint8Array, ids: readonly number[]): void {
  let at = 2;
  for (const id of ids) {
    at = writeU32(block, at, id);
    at += 2 + readU16(block, at);
  }
}

/**
 * Reads what the flags KEEP and REFS of a REQUEST say.
 *
 * @throws {ConnectionError} `protocol_error`, if the block is malformed.
 */
export function readLinks(
  body: FieldReader,
  flags: number,
  { serializer }: Pick<CodecSettings, "serializer">,
): RequestLinks {
  const keep = (flags & FLAG_KEEP) !== 0;
  const list = (flags & FLAG_REFS) === 0 ? [] : readBlock(body);
  return { keep, references: list, nestsBytes: serializer !== undefined };
}

function readBlock(body: FieldReader): WireReference[] {
  const length = body.u16();
  if (length > MAX_BLOCK) malformed(`of ${length} bytes`);
  const end = body.at + length;
  const list: WireReference[] = [];
  while (body.at < end) {
    const id = body.u32();
    const size = body.u16();
    const start = body.skip(size);
    const [place, path] = parse(copyBytes(body.bytes, start, body.at));
    list.push({ id, place, path });
  }
  const { length: count } = list;
  if (body.at !== end) malformed("with an entry beyond its end");
  if (count === 0 || count > MAX_REFERENCES) malformed(`of ${count} entries`);
  return list;
}

function parse(text: Uint8Array): [string[], string[]] {
  let entry: unknown;
  try {
    entry = JSON.parse(readText(text, 0, text.length));
  } catch {
    malformed("with an entry that does not parse");
  }
  const legal = Array.isArray(entry) && entry.length === 2 &&
    entry.every((path) =>
      Array.isArray(path) && path.length <= MAX_STEPS &&
      path.every((step) => typeof step === "string")
    );
  if (!legal) malformed("with an entry that is not two lists of texts");
  return entry as [string[], string[]];
}

function malformed(what: string): never {
  protocolError(`a block of references ${what}`);
}

/** Whether `node` has an own member of this name that a path may lead through. */
function hasStep(node: unknown, step: string): node is Record<string, unknown> {
  if (typeof node !== "object" || node === null) return false;
  if (Array.isArray(node)) {
    return `${Number(step) >>> 0}` === step && Number(step) < node.length;
  }
  return step !== "__proto__" && isPlain(node) && Object.hasOwn(node, step);
}

/** The value at a path; undefined if there is none. */
export function valueAt(
  root: unknown,
  path: readonly string[],
): { readonly value: unknown } | undefined {
  let value = root;
  for (const step of path) {
    if (!hasStep(value, step)) return undefined;
    value = value[step];
  }
  return { value };
}

/** Puts a value in the place of a `null`, and returns the params; undefined if there is no `null` in that place. An `undefined` leaves out the member of an object. */
export function putAt(
  root: unknown,
  place: readonly string[],
  value: unknown,
): { readonly value: unknown } | undefined {
  const found = valueAt(root, place);
  if (found === undefined || found.value !== null) return undefined;
  const last = place.at(-1);
  if (last === undefined) return { value };
  const parent = valueAt(root, place.slice(0, -1))?.value as object;
  if (value !== undefined) Object.assign(parent, { [last]: value });
  else if (!Array.isArray(parent)) Reflect.deleteProperty(parent, last);
  return { value: root };
}

/** A place or a path, for error messages. */
export function pathText(path: readonly string[]): string {
  return JSON.stringify(path.join("."));
}
