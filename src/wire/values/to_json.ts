/**
 * Values to JSON text, for every protocol that carries JSON.
 *
 * Invariant owned here: JSON carries all of a value, or the value is refused
 * and the error names the part that would be lost. `JSON.stringify` turns a
 * `Map`, an `Error` or a stream into `{}` and bytes into numbered properties,
 * and leaves functions out.
 *
 * @module
 */

import { RpcError } from "../../base/errors.ts";
import { isStream } from "../../base/pull_source.ts";
import { references } from "../../base/references.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import { Snapshot } from "./snapshot.ts";

/** What a payload is; error messages begin with it: `params.user.tags`. */
export type PayloadRole = "params" | "result" | "item" | "data";

/** How deep a value is searched for what would be lost. What is deeper is sent as `JSON.stringify` encodes it. */
const MAX_DEPTH = 100;

/** The error for a value that cannot be serialized. */
export function unserializable(
  what: string,
  cause?: unknown,
  advice?: string,
): RpcError {
  const text = `${what} cannot be serialized`;
  return new RpcError(
    "invalid_argument",
    advice === undefined ? text : `${text}: ${advice}`,
    { outcome: "not_sent", cause },
  );
}

/**
 * Returns a value's JSON text.
 *
 * @throws {RpcError} `invalid_argument` if it has none, or if a part of the
 *   value would be lost: the message says what and where.
 */
export function toJson(value: unknown, role: PayloadRole = "params"): string {
  if (isInstanceOf(value, Snapshot)) {
    if (value.references !== undefined) references.met++;
    if (value.text !== undefined) return value.text;
    throw unserializable(`${role}: a Uint8Array`);
  }
  let text: string | undefined;
  let lost: LostPart | undefined;
  try {
    text = JSON.stringify(value);
    // Only now is it certain that the value has no cycle.
    if (typeof value === "object") lost = lostIn(value, 0);
  } catch (cause) {
    throw unserializable(`the ${role}`, cause);
  }
  if (lost !== undefined) {
    const { what, advice, path } = lost;
    throw unserializable(`${role}${path}: ${what}`, undefined, advice);
  }
  if (text === undefined) throw unserializable(`${role}: a ${typeof value}`);
  return text;
}

/** A serializer of the library refuses a part of a value. The error of the call says which, and where it is. */
export class LostPartError extends TypeError {
  readonly what: string;
  readonly advice: string | undefined;
  /** The way to the part: `.user.tags[0]`. */
  path = "";

  constructor(what: string, advice?: string) {
    super(`${what} cannot be serialized`);
    this.what = what;
    this.advice = advice;
  }

  /** Says that the part is in a larger one. */
  prependStep(step: string): void {
    this.path = step + this.path;
    this.message = `value${this.path}: ${this.what} cannot be serialized`;
  }
}

/** A part of a value that would be lost. */
interface LostPart {
  readonly what: string;
  readonly advice: string | undefined;
  path: string;
}

function lostPart(what: string, advice?: string): LostPart {
  return { what, advice, path: "" };
}

function lostIn(value: unknown, depth: number): LostPart | undefined {
  const type = typeof value;
  if (type === "function" || type === "symbol") return lostPart(`a ${type}`);
  if (type !== "object" || value === null || depth > MAX_DEPTH) return;
  return Array.isArray(value)
    ? lostInArray(value, depth)
    : lostInObject(value as object, depth);
}

function lostInArray(
  list: readonly unknown[],
  depth: number,
): LostPart | undefined {
  for (let i = 0; i < list.length; i++) {
    const lost = lostIn(list[i], depth + 1);
    if (lost !== undefined) return under(list, `[${i}]`, lost);
  }
}

function lostInObject(object: object, depth: number): LostPart | undefined {
  const prototype: unknown = Object.getPrototypeOf(object);
  const plain = prototype === Object.prototype || prototype === null;
  if (!plain && isOpaque(object)) return lostObject(object);
  let empty = true;
  for (const key in object) {
    const value = (object as Record<string, unknown>)[key];
    empty = false;
    const type = typeof value;
    if (type === "string" || type === "number") continue;
    const lost = lostIn(value, depth + 1);
    // Inherited properties are not sent, so they cannot be lost.
    if (lost === undefined || !Object.hasOwn(object, key)) continue;
    return under(object, `.${key}`, lost);
  }
  if (!empty && plain) return undefined;
  if (isStream(object) && !hasToJson(object)) return lostPart("a stream");
}

/** What is lost of an object that does not hold its content as properties. */
function lostObject(object: object): LostPart | undefined {
  let tag = tagOf(object);
  if (tag === "Object") tag = "Proxy";
  const what = /^[AEIOU](?!int)/.test(tag) ? `an ${tag}` : `a ${tag}`;
  // Before toJSON: Node's Buffer has one, but nobody reads its result back.
  if (isView(object) || tag.endsWith("ArrayBuffer")) {
    return lostPart(
      what,
      "JSON carries no bytes; encode them as text, or send a Uint8Array by itself",
    );
  }
  if (hasToJson(object)) return undefined;
  return lostPart(
    what,
    tag === "Promise"
      ? "await it first"
      : "make a plain object or an array of it",
  );
}

/** Adds a step to the path of what is lost in `object`, unless its `toJSON` decides what is sent. */
function under(
  object: object,
  step: string,
  lost: LostPart,
): LostPart | undefined {
  if (hasToJson(object)) return undefined;
  lost.path = step + lost.path;
  return lost;
}

function hasToJson(object: object): boolean {
  return typeof (object as { toJSON?: unknown }).toJSON === "function";
}

/** The class of a built-in object, of any realm. */
function tagOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** Whether its content is not in its properties. A user's own class has the tag `Object`, and properties; a Proxy has the tag, too. */
function isOpaque(object: object): boolean {
  if (isInstanceOf(object, Error) || isView(object)) return true;
  const tag = tagOf(object);
  // JSON encodes these in full.
  if (/^(Object|String|Number|Boolean)$/.test(tag)) return false;
  // These hold more than their properties, though they may have some.
  return /^(Error|Map|Set|Arguments)$/.test(tag) ||
    Object.keys(object).length === 0;
}

function isView(object: object): boolean {
  return ArrayBuffer.isView(object) ||
    isInstanceOf(object, Object.getPrototypeOf(Uint8Array));
}
