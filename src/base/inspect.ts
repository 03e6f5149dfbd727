/**
 * What a value is: used to check what users hand over, and to name it in errors.
 *
 * @module
 */

/** By its source: only that tells a class from a function. A method may be called "class". */
export function isClass(fn: unknown): boolean {
  return typeof fn === "function" &&
    /^class(?!\s*\()\b/.test(Function.prototype.toString.call(fn));
}

/** What a value is, for messages. */
export function typeName(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** Whether it is an object that no class made. */
export function isPlain(node: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(node);
  return prototype === Object.prototype || prototype === null;
}

/** What tells calls of one order apart: those of different keys do not wait for each other. */
export type OrderKey = string | number | bigint;

/**
 * A user's key, if it is one. (An object would be another key each time, and
 * nothing would be ordered.)
 *
 * @throws {TypeError} If it is none.
 */
export function checkKey(key: OrderKey): OrderKey {
  const type = typeof key;
  if (type === "string" || type === "number" || type === "bigint") return key;
  throw new TypeError(
    `Cannot order a call by its key: not a string or number, received ${type}`,
  );
}

/**
 * Checks that a value has a `readable` and a `writable` stream that are free to
 * use. It looks at their shape, not at their class: streams of another realm
 * or of a polyfill are streams, too.
 *
 * @throws {TypeError} If one is missing, is no stream, is locked, or if
 *   `writable` has failed.
 */
export function checkStreamPair(value: unknown): void {
  if (typeof value !== "object" || value === null) {
    throw noDuplex(
      `expected { readable, writable }, received ${typeName(value)}`,
    );
  }
  const { readable, writable } = value as Record<string, unknown>;
  checkStream("readable", readable, "getReader");
  checkStream("writable", writable, "getWriter");
  const writer = (writable as WritableStream).getWriter();
  const failed = writer.desiredSize === null;
  writer.releaseLock();
  if (failed) throw noDuplex("writable has failed");
}

function checkStream(side: string, value: unknown, method: string): void {
  const stream = value as Record<string, unknown> | null | undefined;
  if (typeof stream?.[method] !== "function") {
    throw noDuplex(`${side} is not a stream, received ${typeName(value)}`);
  }
  if (stream.locked) throw noDuplex(`${side} is locked`);
}

function noDuplex(why: string): TypeError {
  return new TypeError(`Cannot use as a duplex: ${why}`);
}
