/**
 * A parsed text with tags, and the bytes beside it, to the value.
 *
 * The peer is not trusted:
 * - Nothing is made but what the tags name, and no prototype is read or changed.
 *   A key `__proto__` becomes a property of its own, as in `JSON.parse`.
 * - What is allocated is bounded by what was received: a range of bytes belongs
 *   to one value, and the ranges together are all bytes.
 * - The time is linear in the size, and the depth is at most `MAX_DEPTH`. (Except
 *   for numbers and bigints that were chosen to collide in a `Map` or a `Set`.)
 *
 * @module
 */

import {
  BIGINT,
  DATE,
  ERROR,
  ERROR_STACK,
  isTagged,
  MAP,
  MAX_DEPTH,
  MAX_DIGITS,
  MAX_SLOW_PARTS,
  MAX_SOURCE,
  type Members,
  NO_DATE,
  REGEXP,
  SET,
  setOwn,
  slowParts,
  UNDEFINED,
  URL_TAG,
} from "./tags.ts";
import { parseInstant } from "./instant.ts";
import { fromBytes, isBytesTag } from "./views.ts";

/** Converts one tree, in place. */
export class RichDecoder {
  readonly #bytes: Uint8Array;
  /** How many of them no value has yet. */
  #left: number;
  /** How many parts of the regular expressions so far are slow to parse. */
  #slowParts = 0;
  #ranges: [start: number, end: number][] | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#left = bytes.length;
  }

  /**
   * Returns the value that a tree stands for.
   *
   * @throws {TypeError} If the tree breaks a rule of the encoding.
   */
  revive(node: unknown, depth: number): unknown {
    if (typeof node === "string") return isTagged(node) ? fromText(node) : node;
    if (typeof node !== "object" || node === null) return node;
    if (depth > MAX_DEPTH) {
      throw new TypeError(`the value is more than ${MAX_DEPTH} levels deep`);
    }
    if (!Array.isArray(node)) return this.#members(node as Members, depth);
    const first: unknown = node[0];
    return typeof first === "string" && isArrayTag(first)
      ? this.#tagged(first, node, depth)
      : this.#items(node, depth);
  }

  /**
   * Checks that each byte belongs to exactly one value.
   *
   * @throws {TypeError} If not.
   */
  finish(): void {
    const ranges = this.#ranges ?? [];
    if (ranges.length > 1) ranges.sort(([a, b], [c, d]) => a - c || b - d);
    let at = 0;
    for (const [start, end] of ranges) {
      if (start !== at) throw new TypeError("ranges of bytes overlap");
      at = end;
    }
    if (at !== this.#bytes.length) throw new TypeError("bytes without a value");
  }

  #items(list: unknown[], depth: number): unknown[] {
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      const made = this.revive(item, depth + 1);
      if (made !== item) list[i] = made;
    }
    return list;
  }

  #members(object: Members, depth: number): Members {
    for (const key of Object.keys(object)) {
      const value = object[key];
      const made = this.revive(value, depth + 1);
      if (made !== value) setOwn(object, key, made);
    }
    return object;
  }

  #tagged(tag: string, tree: readonly unknown[], depth: number): unknown {
    const { length } = tree;
    switch (tag) {
      case MAP:
        if (length % 2 === 1) return this.#map(tree, depth);
        break;
      case SET:
        return this.#set(tree, depth);
      case REGEXP:
        if (length === 3) return this.#regExp(tree[1], tree[2]);
        break;
      case ERROR:
        if (length === 3 || length === 4) return this.#error(tree, depth);
        break;
      default:
        if (length === 3) return this.#take(tree);
    }
    throw new TypeError(`not a value of the tag ${tag}`);
  }

  #map(tree: readonly unknown[], depth: number): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    for (let i = 1; i < tree.length; i += 2) {
      const key = this.revive(tree[i], depth + 1);
      map.set(key, this.revive(tree[i + 1], depth + 1));
    }
    if (2 * map.size + 1 === tree.length) return map;
    throw new TypeError("a Map has a key twice");
  }

  #set(tree: readonly unknown[], depth: number): Set<unknown> {
    const set = new Set<unknown>();
    for (let i = 1; i < tree.length; i++) {
      set.add(this.revive(tree[i], depth + 1));
    }
    if (set.size + 1 === tree.length) return set;
    throw new TypeError("a Set has an item twice");
  }

  #error(tree: readonly unknown[], depth: number): Error {
    const name = textOf(tree[1]);
    const error = makeError(name, textOf(tree[2]));
    if (error.name !== name) hide(error, "name", name);
    if (tree.length === 3) return error;
    const members = tree[3];
    if (
      typeof members !== "object" || members === null || Array.isArray(members)
    ) throw new TypeError("the properties of an Error are no object");
    for (const key of Object.keys(members)) {
      if (key === "name" || key === "message" || ERROR_STACK.includes(key)) {
        throw new TypeError(`an Error has the property ${key}`);
      }
      const value = this.revive((members as Members)[key], depth + 1);
      const hidden = key === "cause" ||
        key === "errors" && name === "AggregateError";
      if (hidden) hide(error, key, value);
      else Object.defineProperty(error, key, property(value, true));
    }
    return error;
  }

  #regExp(source: unknown, flags: unknown): RegExp {
    const text = textOf(source);
    if (text.length > MAX_SOURCE) {
      throw new TypeError("the source of a RegExp is too long");
    }
    this.#slowParts += slowParts(text);
    if (this.#slowParts <= MAX_SLOW_PARTS) {
      return new RegExp(text, textOf(flags));
    }
    throw new TypeError("too many parts of a RegExp are slow to parse");
  }

  /** Takes a range of the bytes. Memory is allocated only for bytes that no value has yet. */
  #take(tree: readonly unknown[]): ArrayBufferView | ArrayBuffer {
    const [tag, start, length] = tree as [string, unknown, unknown];
    if (!isCount(start) || !isCount(length)) {
      throw new TypeError("a range of bytes has no place");
    }
    const end = start + length;
    if (end > this.#bytes.length) {
      throw new TypeError("a range of bytes is not in the payload");
    }
    this.#left -= length;
    if (this.#left < 0) throw new TypeError("more bytes are used than came");
    (this.#ranges ??= []).push([start, end]);
    return fromBytes(tag, this.#bytes, start, end);
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new TypeError("a tag has a value that is no text");
}

/** Whether a string is the first item of an array that is none. */
function isArrayTag(text: string): boolean {
  if (!isTagged(text)) return false;
  return text === MAP || text === SET || text === ERROR || text === REGEXP ||
    isBytesTag(text);
}

/** The value of a string that begins with `$`. */
function fromText(text: string): unknown {
  switch (text) {
    case UNDEFINED:
      return undefined;
    case "$NaN":
      return NaN;
    case "$Infinity":
      return Infinity;
    case "$-Infinity":
      return -Infinity;
    case "$-0":
      return -0;
    case NO_DATE:
      return new Date(NaN);
  }
  if (text.startsWith("$$")) return text.slice(1);
  if (text.startsWith(DATE)) return toDate(text.slice(DATE.length));
  if (text.startsWith(BIGINT)) return toBigint(text.slice(BIGINT.length));
  if (text.startsWith(URL_TAG)) return new URL(text.slice(URL_TAG.length));
  throw new TypeError("a string begins with $, but with no tag");
}

const DECIMAL = /* @__PURE__ */ new RegExp(`^-?\\d{1,${MAX_DIGITS}}$`);
const HEX = /^-?0x[\da-f]+$/;

function toBigint(text: string): bigint {
  if (DECIMAL.test(text)) return BigInt(text);
  if (!HEX.test(text)) throw new TypeError("not a bigint");
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
}

function toDate(text: string): Date {
  const time = parseInstant(text);
  if (Number.isNaN(time)) throw new TypeError("not a date");
  return new Date(time);
}

function makeError(name: string, message: string): Error {
  switch (name) {
    case "TypeError":
      return new TypeError(message);
    case "RangeError":
      return new RangeError(message);
    case "SyntaxError":
      return new SyntaxError(message);
    case "ReferenceError":
      return new ReferenceError(message);
    case "EvalError":
      return new EvalError(message);
    case "URIError":
      return new URIError(message);
    case "AggregateError":
      return new AggregateError([], message);
    default:
      return new Error(message);
  }
}

/** Sets a property that does not show, as the constructors of errors do. */
function hide(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, property(value, false));
}

function property(value: unknown, enumerable: boolean): PropertyDescriptor {
  return { value, writable: true, enumerable, configurable: true };
}
