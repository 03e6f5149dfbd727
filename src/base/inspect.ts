/**
 * The type of a value: to check what users pass, and to name it in errors.
 *
 * @module
 */

/** Whether it is a class: only its source tells that from a function. (A method may be named "class".) */
export function isClass(fn: unknown): boolean {
  return typeof fn === "function" &&
    /^class(?!\s*\()\b/.test(Function.prototype.toString.call(fn));
}

/** The type of a value, for messages. */
export function typeName(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** Whether it is an object of no class. */
export function isPlain(node: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(node);
  return prototype === Object.prototype || prototype === null;
}

/** The key of a call order: calls with different keys do not wait for each other. */
export type OrderKey = string | number | bigint;

/**
 * Checks a user's key. (An object would be another key each time, and nothing
 * would be ordered.)
 *
 * @throws {TypeError} If it is not a string, a number or a bigint.
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
  if (readable === undefined && isPromise(value)) {
    throw noDuplex("received a promise; await it first");
  }
  checkStream("readable", readable, "getReader");
  checkStream("writable", writable, "getWriter");
  const writer = (writable as WritableStream).getWriter();
  const failed = writer.desiredSize === null;
  writer.releaseLock();
  if (failed) throw noDuplex("writable has failed");
}

/** Whether it is a promise: a user has forgotten an `await`. */
export function isPromise(value: unknown): boolean {
  return typeof (value as PromiseLike<unknown> | null)?.then === "function";
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
