/**
 * Describes any value in full, to compare values of which `assertEquals` would
 * not see every difference: `-0`, classes, the order of keys, prototypes.
 *
 * @module
 */

/** Text that is equal for two values only if they are the same in every respect that a serializer could lose. */
export function describe(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return JSON.stringify(value);
  if (Object.is(value, -0)) return "-0";
  if (typeof value !== "object" || value === null) return String(value);
  const prototype: unknown = Object.getPrototypeOf(value);
  const name = (prototype as { constructor?: { name: string } } | null)
    ?.constructor?.name;
  return `${name}${contentOf(value)}`;
}

function contentOf(value: object): string {
  const list = (items: Iterable<unknown>) =>
    `[${[...items].map(describe).join()}]`;
  if (Array.isArray(value)) return list(value);
  if (value instanceof Date) return `(${value.getTime()})`;
  if (value instanceof Map || value instanceof Set) return list(value);
  if (value instanceof RegExp || value instanceof URL) return `(${value})`;
  if (value instanceof ArrayBuffer) return list(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return list(new Uint8Array(buffer, byteOffset, byteLength));
  }
  const error = value instanceof Error
    ? [["name", value.name], ["message", value.message]]
    : [];
  const keys = Object.getOwnPropertyNames(value).filter((key) =>
    error.length === 0 || !RUNTIME_KEYS.has(key)
  );
  const members = keys.map((key) => [key, Reflect.get(value, key)]);
  return `{${
    [...error, ...members].map(([key, item]) =>
      `${JSON.stringify(key)}:${describe(item)}`
    ).join()
  }}`;
}

/** What the description of an error has by itself, or the runtime adds. */
const RUNTIME_KEYS = new Set([
  ...["name", "message", "stack", "line", "column", "sourceURL"],
  ...["originalLine", "originalColumn"],
]);
