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
