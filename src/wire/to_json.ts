/**
 * Values to JSON text, for every wire that carries JSON.
 *
 * Invariant owned here: JSON says of a value all that it is made of, or the
 * value is refused with the place of what would be lost. `JSON.stringify` turns
 * a `Map`, an `Error` or a stream into `{}`, bytes into numbered properties,
 * and leaves functions out.
 *
 * @module
 */

import { RpcError } from "../base/errors.ts";
import { Snapshot } from "./snapshot.ts";
import { isStream } from "../base/pull_source.ts";
import { isA } from "../base/user_code.ts";

/** What a payload is, for messages: the first word of a path such as `params.user.tags`. */
export type PayloadRole = "params" | "result" | "item" | "data";

/** How deep it looks for what would be lost. What lies deeper is sent as `JSON.stringify` has it. */
const MAX_DEPTH = 100;

/** The error of what has no form on the wire. */
export function unserializable(
  what: string,
  cause?: unknown,
  { advice = "" } = {},
): RpcError {
  const text = `${what} cannot be serialized${advice && `: ${advice}`}`;
  const outcome = "not_sent";
  return new RpcError("invalid_argument", text, { outcome, cause });
}

/**
 * A value's JSON text.
 *
 * @throws {RpcError} `invalid_argument`, if there is none, or if something in
 *   the value would be lost: the message names what and where.
 */
export function toJson(value: unknown, role: PayloadRole = "params"): string {
  if (isA(value, Snapshot)) {
    if (value.text !== undefined) return value.text;
    throw unserializable(`${role}: a Uint8Array`);
  }
  let text: string | undefined;
  let lost: LostValue | undefined;
  try {
    text = JSON.stringify(value);
    // Once it is known to end: what follows runs over the same value.
    if (typeof value === "object") lost = lostIn(value, 0);
  } catch (cause) {
    throw unserializable(`the ${role}`, cause);
  }
  if (lost !== undefined) {
    throw unserializable(`${role}${lost.path}: ${lost.what}`, undefined, lost);
  }
  if (text === undefined) throw unserializable(`${role}: a ${typeof value}`);
  return text;
}

/** What would be lost, and where. */
interface LostValue {
  readonly what: string;
  readonly advice?: string;
  path: string;
}

function lostIn(value: unknown, depth: number): LostValue | undefined {
  switch (typeof value) {
    case "object":
      if (value === null || depth > MAX_DEPTH) return undefined;
      return Array.isArray(value)
        ? lostInArray(value, depth)
        : lostInObject(value, depth);
    case "function":
    case "symbol":
      return { what: `a ${typeof value}`, path: "" };
    default:
      return undefined;
  }
}

function lostInArray(
  list: readonly unknown[],
  depth: number,
): LostValue | undefined {
  for (let i = 0; i < list.length; i++) {
    const lost = lostIn(list[i], depth + 1);
    if (lost !== undefined) return under(list, `[${i}]`, lost);
  }
}

function lostInObject(object: object, depth: number): LostValue | undefined {
  const prototype: unknown = Object.getPrototypeOf(object);
  const plain = prototype === Object.prototype || prototype === null;
  if (!plain && isOpaque(object)) return opaque(object);
  let empty = true;
  for (const key in object) {
    const value = (object as Record<string, unknown>)[key];
    empty = false;
    const type = typeof value;
    if (type === "string" || type === "number") continue;
    const lost = lostIn(value, depth + 1);
    // What is inherited does not travel, and so is not lost.
    if (lost === undefined || !Object.hasOwn(object, key)) continue;
    return under(object, `.${key}`, lost);
  }
  if (!empty && plain) return undefined;
  if (isStream(object) && !saysItself(object)) {
    return { what: "a stream", path: "" };
  }
}

function opaque(object: object): LostValue | undefined {
  let tag = tagOf(object);
  if (tag === "Object") tag = "Proxy";
  const what = /^[AEIOU](?!int)/.test(tag) ? `an ${tag}` : `a ${tag}`;
  // Node's Buffer says something of itself that nobody reads back.
  if (isView(object) || tag.endsWith("ArrayBuffer")) {
    return { what, advice: BYTES_ADVICE, path: "" };
  }
  if (saysItself(object)) return undefined;
  const advice = tag === "Promise" ? "await it first" : ADVICE;
  return { what, advice, path: "" };
}

const BYTES_ADVICE =
  "JSON carries no bytes; encode them as text, or send a Uint8Array by itself";
const ADVICE = "make a plain object or an array of it";

/** Something lost in `object`, unless that says by itself what of it travels. */
function under(
  object: object,
  step: string,
  lost: LostValue,
): LostValue | undefined {
  if (saysItself(object)) return undefined;
  lost.path = step + lost.path;
  return lost;
}

function saysItself(object: object): boolean {
  return typeof (object as { toJSON?: unknown }).toJSON === "function";
}

/** By what `Object.prototype.toString` says, which is right of other realms' too. */
function tagOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** What JSON writes in full though it is more than an object. */
const BOXES = new Set(["Object", "String", "Number", "Boolean"]);
/** What holds more than its properties, though it may have some. */
const HOLDERS = new Set(["Error", "Map", "Set", "Arguments"]);

const TypedArray = Object.getPrototypeOf(Uint8Array) as typeof Uint8Array;

/** Whether its properties are not what it holds. One of a user's own class has the tag `Object`, or properties; but so has a Proxy. */
function isOpaque(object: object): boolean {
  if (isA(object, Error) || isView(object)) return true;
  const tag = tagOf(object);
  if (BOXES.has(tag)) return false;
  return HOLDERS.has(tag) || Object.keys(object).length === 0;
}

function isView(object: object): boolean {
  return ArrayBuffer.isView(object) || isA(object, TypedArray);
}
