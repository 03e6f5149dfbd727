/**
 * Values to a tree that JSON carries, and the bytes beside it.
 *
 * - What JSON carries unchanged is returned as it is. A value of that alone costs
 *   a look at each member; `isPlain` does it without a copy or an allocation.
 * - All of a value is carried, or the value is refused, and the error says
 *   which part of it is to blame, and where it is.
 * - Content is read with the platform's own getters and methods: what an object
 *   says of itself is not believed. Only getters of properties can run code of
 *   the user.
 *
 * @module
 */

import { isStream } from "../../base/pull_source.ts";
import { references, targetOf } from "../../base/references.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import { getter } from "../../base/bytes.ts";
import { LostPartError } from "../values/to_json.ts";
import {
  BIGINT,
  bigintText,
  DATE,
  ERROR,
  ERROR_STACK,
  isPlainNumber,
  isTagged,
  MAP,
  MAX_DEPTH,
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
import { formatInstant } from "./instant.ts";
import { bytesOfBuffer, bytesOfView, type TaggedBytes } from "./views.ts";
import { elementSize, toLittleEndian } from "./views.ts";

/** From this depth on a value is compared with those around it: few values are as deep, and every cycle comes there. */
const TRACKED = 8;

/** What is refused of a value in a cycle. */
const CYCLE = "a value that contains itself";

/** Bytes beside the text. */
interface Attachment {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly elementSize: number;
}

const mapSize = /* @__PURE__ */ getter<number>(Map, "size");
const setSize = /* @__PURE__ */ getter<number>(Set, "size");
const urlText = /* @__PURE__ */ getter<string>(URL, "href");
const regExpSource = /* @__PURE__ */ getter<string>(RegExp, "source");
const regExpFlags = /* @__PURE__ */ getter<string>(RegExp, "flags");
const bufferLength = /* @__PURE__ */ getter<number>(ArrayBuffer, "byteLength");

/** How deep {@linkcode isPlain} looks: what is deeper, such as a cycle, is left to {@linkcode RichEncoder}. */
const MAX_GLANCE = 16;

/** Whether JSON carries all of a value unchanged; false also if that is not certain. (`for in` is the fastest loop on all runtimes. What it finds in a prototype can only make this false.) */
export function isPlain(value: unknown, depth = 0): boolean {
  if (typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return isPlainNumber(value);
  if (typeof value !== "object") return false;
  if (value === null) return true;
  if (depth === MAX_GLANCE) return false;
  // JSON.stringify would call it.
  if (typeof (value as Members).toJSON === "function") return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      if (typeof item === "string") continue;
      if (typeof item === "number" && isPlainNumber(item)) continue;
      if (!isPlain(item, depth + 1)) return false;
    }
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  let empty = true;
  for (const key in value) {
    const member = (value as Members)[key];
    empty = false;
    if (typeof member === "string" || typeof member === "boolean") continue;
    if (typeof member === "number" && isPlainNumber(member)) continue;
    if (!isPlain(member, depth + 1)) return false;
  }
  return !empty || !isStream(value);
}

/**
 * Converts one value: {@linkcode RichEncoder.convert} for the whole of it.
 *
 * @throws {LostPartError} If a part of it cannot be carried.
 */
export function toTree(encoder: RichEncoder, value: unknown): unknown {
  try {
    return encoder.convert(value, 0);
  } catch (error) {
    if (isInstanceOf(error, LostPartError) && error.what === CYCLE) {
      // Fails earlier: where the cycle closes for the first time.
      new RichEncoder(0).convert(value, 0);
    }
    throw error;
  }
}

/** Converts one value. */
export class RichEncoder {
  /** How many bytes there are beside the text. */
  size = 0;
  #attachments: Attachment[] | undefined;
  /** How many parts of the regular expressions so far are slow to parse. */
  #slowParts = 0;
  /** The objects around the one that is converted, from the depth `#tracked` on. */
  #around: object[] | undefined;
  readonly #tracked: number;

  constructor(tracked: number = TRACKED) {
    this.#tracked = tracked;
  }

  /**
   * Returns the value itself if JSON carries it unchanged, else a tree that
   * stands for it.
   *
   * @throws {LostPartError} If a part of it cannot be carried.
   */
  convert(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case "string":
        return isTagged(value) ? `$${value}` : value;
      case "boolean":
        return value;
      case "number":
        return isPlainNumber(value) ? value : value === 0 ? "$-0" : `$${value}`;
      case "undefined":
        return UNDEFINED;
      case "bigint":
        return `${BIGINT}${bigintText(value)}`;
      case "object":
        return value === null ? value : this.#object(value, depth);
      default:
        throw new LostPartError(`a ${typeof value}`);
    }
  }

  /** Writes the bytes beside the text from `at` on. */
  writeBytes(target: Uint8Array, at: number): void {
    for (const { bytes, length, elementSize } of this.#attachments ?? []) {
      // A getter of the value can have taken the memory away since.
      if (bytes.length !== length) throw new LostPartError(GONE);
      target.set(bytes, at);
      toLittleEndian(target.subarray(at, at + length), elementSize);
      at += length;
    }
  }

  #object(object: object, depth: number): unknown {
    if (depth >= this.#tracked) this.#track(object, depth);
    if (Array.isArray(object)) return this.#array(object, depth);
    const prototype: unknown = Object.getPrototypeOf(object);
    if (prototype === null && targetOf(object) !== undefined) {
      references.met++;
      return null;
    }
    return prototype === Object.prototype || prototype === null
      ? this.#members(object as Members, depth)
      : this.#instance(object, depth);
  }

  /** @throws {LostPartError} If the object is within itself, or too deep. */
  #track(object: object, depth: number): void {
    const around = this.#around ??= [];
    around.length = depth - this.#tracked;
    if (around.includes(object)) throw new LostPartError(CYCLE);
    if (depth > MAX_DEPTH) {
      throw new LostPartError(`a value more than ${MAX_DEPTH} levels deep`);
    }
    around.push(object);
  }

  #array(list: readonly unknown[], depth: number): unknown[] {
    let copy = hasToJson(list) ? copyOf(list) : undefined;
    let i = 0;
    try {
      for (; i < list.length; i++) {
        const item = list[i];
        if (typeof item === "string" && !isTagged(item)) continue;
        const made = this.convert(item, depth + 1);
        if (made !== item) (copy ??= copyOf(list))[i] = made;
      }
    } catch (error) {
      throw under(`[${i}]`, error);
    }
    return copy ?? list as unknown[];
  }

  #members(object: Members, depth: number): Members {
    let copy = hasToJson(object) ? { ...object } : undefined;
    const keys = Object.keys(object);
    let i = 0;
    try {
      for (; i < keys.length; i++) {
        const value = object[keys[i]];
        if (typeof value === "string" && !isTagged(value)) continue;
        const made = this.convert(value, depth + 1);
        if (made !== value) setOwn(copy ??= { ...object }, keys[i], made);
      }
    } catch (error) {
      throw under(`.${keys[i]}`, error);
    }
    if (i === 0 && isStream(object)) throw new LostPartError(...STREAM);
    return copy ?? object;
  }

  /** What stands for an object of a class. */
  #instance(object: object, depth: number): unknown {
    if (ArrayBuffer.isView(object)) return this.#bytes(object, bytesOfView);
    switch (classOf(object)) {
      case "Date":
        return dateText(object as Date);
      case "Map":
        return this.#map(object as Map<unknown, unknown>, depth);
      case "Set":
        return this.#set(object as Set<unknown>, depth);
      case "Error":
        return this.#error(object as Error, depth);
      case "URL":
        return `${URL_TAG}${urlText.call(object)}`;
      case "RegExp":
        return this.#regExp(object as RegExp);
      case "ArrayBuffer":
        return this.#bytes(object as ArrayBuffer, bytesOfBuffer);
      case "Object":
        return this.#members(object as Members, depth);
      default:
        throw lostInstance(object);
    }
  }

  #map(map: Map<unknown, unknown>, depth: number): unknown[] {
    const tree: unknown[] = [MAP];
    let step = "";
    try {
      Map.prototype.forEach.call(map, (value, key) => {
        step = "[key]";
        tree.push(this.convert(key, depth + 1));
        step = typeof key === "string" ? `.get(${JSON.stringify(key)})` : "";
        tree.push(this.convert(value, depth + 1));
      });
    } catch (error) {
      throw under(step === "" ? `[entry ${tree.length >> 1}]` : step, error);
    }
    return tree;
  }

  #set(set: Set<unknown>, depth: number): unknown[] {
    const tree: unknown[] = [SET];
    try {
      Set.prototype.forEach.call(set, (item) => {
        tree.push(this.convert(item, depth + 1));
      });
    } catch (error) {
      throw under(`[item ${tree.length - 1}]`, error);
    }
    return tree;
  }

  /** An error's name and message, and its other properties. Its stack stays here: it names files of this machine. */
  #error(error: Error, depth: number): unknown[] {
    const { name, message } = error;
    const tree: unknown[] = [ERROR, String(name), String(message)];
    const keys = new Set(["cause", "errors", ...Object.keys(error)]);
    for (const key of ["name", "message", ...ERROR_STACK]) keys.delete(key);
    let members: Members | undefined;
    for (const key of keys) {
      if (!Object.hasOwn(error, key)) continue;
      const value = (error as unknown as Members)[key];
      try {
        setOwn(members ??= {}, key, this.convert(value, depth + 1));
      } catch (error) {
        throw under(`.${key}`, error);
      }
    }
    if (members !== undefined) tree.push(members);
    return tree;
  }

  #regExp(regExp: RegExp): unknown[] {
    const source = regExpSource.call(regExp);
    if (source.length > MAX_SOURCE) {
      throw new LostPartError(`a RegExp of more than ${MAX_SOURCE} characters`);
    }
    this.#slowParts += slowParts(source);
    if (this.#slowParts <= MAX_SLOW_PARTS) {
      return [REGEXP, source, regExpFlags.call(regExp)];
    }
    throw new LostPartError(
      "a RegExp",
      `all of a value have at most ${MAX_SLOW_PARTS} named groups and \\p`,
    );
  }

  #bytes<T>(value: T, bytesOf: (value: T) => TaggedBytes): unknown[] {
    let found: TaggedBytes;
    try {
      found = bytesOf(value);
    } catch {
      throw new LostPartError(GONE);
    }
    const { tag, bytes } = found;
    const { length } = bytes;
    const at = this.size;
    this.#attachments ??= [];
    this.#attachments.push({ bytes, length, elementSize: elementSize(tag) });
    this.size += length;
    return [tag, at, length];
  }
}

const GONE =
  "bytes whose memory is gone (its buffer was transferred or shrunk)";
const STREAM = [
  "a stream",
  "a stream is carried only as the whole of the params or the result",
] as const;

function dateText(date: Date): string {
  const time = Date.prototype.getTime.call(date);
  return Number.isNaN(time) ? NO_DATE : DATE + formatInstant(time);
}

/** Whether `JSON.stringify` would send something else in place of an object. A copy of its own enumerable properties has no such function: one that is enumerable is refused. */
function hasToJson(object: object): boolean {
  return typeof (object as Members).toJSON === "function";
}

/** A plain array of the same items, also of a subclass that has its own iterator. */
function copyOf(list: readonly unknown[]): unknown[] {
  const copy: unknown[] = [];
  for (let i = 0; i < list.length; i++) copy.push(list[i]);
  return copy;
}

/** What an object says that it is. */
function tagOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** The platform's class of an object, of any realm; `undefined` if it is none of those that travel, whatever the object says. */
function classOf(object: object): string | undefined {
  if (isInstanceOf(object, Error)) return "Error";
  const name = tagOf(object);
  try {
    switch (name) {
      case "Date":
        Date.prototype.getTime.call(object);
        return name;
      case "Map":
        mapSize.call(object);
        return name;
      case "Set":
        setSize.call(object);
        return name;
      case "URL":
        urlText.call(object);
        return name;
      case "RegExp":
        regExpSource.call(object);
        return name;
      case "ArrayBuffer":
        bufferLength.call(object);
        return name;
      case "Error":
        // An error of another realm has no such member.
        return Symbol.toStringTag in object ? undefined : name;
      case "Object":
        return isForeignPlain(object) ? name : undefined;
    }
  } catch {
    return undefined;
  }
}

/** Whether it is an object of no class, of another realm. */
function isForeignPlain(object: object): boolean {
  const prototype: object = Object.getPrototypeOf(object);
  return Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, "isPrototypeOf");
}

function lostInstance(object: object): LostPartError {
  if (isStream(object)) return new LostPartError(...STREAM);
  const tag = tagOf(object);
  if (tag === "Promise") {
    return new LostPartError("a Promise", "await it first");
  }
  let what = /^[AEIOU](?!int)/.test(tag) ? `an ${tag}` : `a ${tag}`;
  if (tag === "Object") {
    const name: unknown = object.constructor?.name;
    what = `an instance of ${typeof name === "string" ? name : "a class"}`;
  }
  return new LostPartError(what, "make a plain object or an array of it");
}

/** The same error, with one more step in its path. */
function under(step: string, error: unknown): unknown {
  if (isInstanceOf(error, LostPartError)) error.prependStep(step);
  return error;
}
