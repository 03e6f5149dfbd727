/**
 * The tags of the rich encoding, and what both of its directions must agree on.
 * `docs/rich_serializer.md` has the specification.
 *
 * @module
 */

/** The name in HELLO. It changes with the encoding. */
export const RICH_NAME = "sluice.rich.1";

/** The first byte of a text with tags, and the first character of every string that is none. */
export const DOLLAR = 0x24;

// A string: the tag, and what follows it.
export const UNDEFINED = "$undefined";
export const BIGINT = "$bigint:";
export const DATE = "$Date:";
export const NO_DATE = "$Date:invalid";
export const URL_TAG = "$URL:";

// An array: the tag is its first item.
export const REGEXP = "$RegExp";
export const MAP = "$Map";
export const SET = "$Set";
export const ERROR = "$Error";

/** How deep a value with tags may be. JSON's own parser has a bound of its own. */
export const MAX_DEPTH = 1000;

/** The longest source of a regular expression, in UTF-16 units: its parser is not linear in every runtime. */
export const MAX_SOURCE = 65_536;

/** The most parts of the regular expressions of one payload that are slow to parse: see {@linkcode slowParts}. */
export const MAX_SLOW_PARTS = 500;

/** The most decimal digits of a bigint: to parse them is not linear. One with more is hexadecimal. */
export const MAX_DIGITS = 100;

/** What the runtimes keep in an error of where it was made. */
export const ERROR_STACK: readonly string[] = [
  ...["stack", "line", "column", "sourceURL", "originalLine", "originalColumn"],
];

/** The properties of an object. */
export type Members = Record<string, unknown>;

/** Whether JSON carries a number unchanged: not NaN, an infinity or -0. */
export function isPlainNumber(n: number): boolean {
  return n !== 0 ? n - n === 0 : 1 / n > 0;
}

/** Hexadecimal digits whose number surely fits `MAX_DIGITS` decimal ones. */
const MAX_HEX = 82;

/** A bigint as text: decimal if short, else hexadecimal, which takes linear time. */
export function bigintText(n: bigint): string {
  if (BigInt.asIntN(64, n) === n) return n.toString();
  const hex = n.toString(16);
  if (hex.length <= MAX_HEX) return n.toString();
  return n < 0n ? `-0x${hex.slice(1)}` : `0x${hex}`;
}

/**
 * How many parts of the source of a regular expression are slow to parse:
 * properties of characters on Node and Deno (`\p{RGI_Emoji}` takes 2 ms), and
 * groups with a name on Bun (1,000 in one expression take 800 ms). Counted in
 * the text, so also where they are none.
 */
export function slowParts(source: string): number {
  return source.match(/\\p|\(\?</gi)?.length ?? 0;
}

/** Whether a string in a text with tags is not itself. */
export function isTagged(text: string): boolean {
  return text.charCodeAt(0) === DOLLAR;
}

/** Sets an own property, also one called `__proto__`. */
export function setOwn(
  object: Members,
  key: string,
  value: unknown,
): void {
  if (key !== "__proto__") object[key] = value;
  else {
    Object.defineProperty(object, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}
