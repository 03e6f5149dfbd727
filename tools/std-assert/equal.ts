/**
 * Deep equality as `@std/assert` understands it.
 *
 * Differs from `node:util`'s `isDeepStrictEqual` where the original does: `0`
 * equals `-0`, and an object without a prototype equals a plain one. It is
 * stricter than the original in one respect: errors must agree in name,
 * message and cause, so what passes here passes there.
 *
 * @module
 */

/** Whether `a` and `b` are deeply equal. */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

type Seen = Map<object, object>;

function compare(a: unknown, b: unknown, seen: Seen): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b) || !sameKind(a, b)) return false;
  if (seen.get(a) === b) return true; // a cycle: already being compared
  seen.set(a, b);
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  if (a instanceof RegExp || a instanceof URL) return String(a) === String(b);
  if (a instanceof ArrayBuffer) {
    return compare(new Uint8Array(a), new Uint8Array(b as ArrayBuffer), seen);
  }
  if (ArrayBuffer.isView(a) && !(a instanceof DataView)) {
    return sameItems(a as Uint8Array, b as Uint8Array);
  }
  if (a instanceof Map) return sameEntries(a, b as Map<unknown, unknown>, seen);
  if (a instanceof Set) return sameMembers(a, b as Set<unknown>, seen);
  if (a instanceof Error && !sameError(a, b as Error, seen)) return false;
  return sameProperties(a, b, seen);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function sameKind(a: object, b: object): boolean {
  const [x, y] = [a.constructor ?? Object, b.constructor ?? Object];
  return x === y && Array.isArray(a) === Array.isArray(b);
}

function sameItems(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length &&
    a.every((item, i) => item === b[i] || Object.is(item, b[i]));
}

function sameEntries(
  a: Map<unknown, unknown>,
  b: Map<unknown, unknown>,
  seen: Seen,
): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([key, value]) =>
    b.has(key) ? compare(value, b.get(key), seen) : isObject(key) &&
      [...b].some((entry) => compare([key, value], entry, new Map(seen)))
  );
}

function sameMembers(
  a: Set<unknown>,
  b: Set<unknown>,
  seen: Seen,
): boolean {
  if (a.size !== b.size) return false;
  return [...a].every((member) =>
    b.has(member) || isObject(member) &&
      [...b].some((other) => compare(member, other, new Map(seen)))
  );
}

function sameError(a: Error, b: Error, seen: Seen): boolean {
  return a.name === b.name && a.message === b.message &&
    compare(a.cause, b.cause, seen);
}

function sameProperties(a: object, b: object, seen: Seen): boolean {
  const [keys, others] = [enumerable(a), enumerable(b)];
  if (keys.length !== others.length) return false;
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false;
  return keys.every((key) =>
    Object.hasOwn(b, key) &&
    compare(Reflect.get(a, key), Reflect.get(b, key), seen)
  );
}

function enumerable(object: object): PropertyKey[] {
  return Reflect.ownKeys(object).filter((key) =>
    Object.prototype.propertyIsEnumerable.call(object, key)
  );
}
