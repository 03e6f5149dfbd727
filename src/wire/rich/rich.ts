/**
 * The rich serializer: JSON text for what JSON carries, and tags for what it
 * does not, with bytes unencoded behind the text.
 *
 * The first byte says which. A value that JSON carries unchanged is its JSON
 * text alone, and is decoded by one `JSON.parse`. A value with tags begins with
 * `$`; its text ends at the first NUL, and the bytes follow. `docs/rich_serializer.md`
 * has the specification.
 *
 * @module
 */

import { blank, NO_BYTES } from "../../base/bytes.ts";
import { readText, utf8 } from "../../base/utf8.ts";
import type { Serializer } from "../../types/connection.ts";
import { RichDecoder } from "./decoder.ts";
import { isPlain, RichEncoder, toTree } from "./encoder.ts";
import { DOLLAR, RICH_NAME } from "./tags.ts";

/**
 * Returns a serializer that carries what JSON does not: `Date`, `Map`, `Set`,
 * `bigint`, `undefined`, `NaN`, the infinities, `-0`, `RegExp`, `URL`, `Error`
 * with its `cause`, typed arrays, `DataView` and `ArrayBuffer`, anywhere in a
 * value. Pass it on both sides, as the option `serializer`; `Client<S, "rich">`
 * has the types.
 *
 * A value without these is its own JSON text. Functions, symbols, instances of
 * other classes and values that contain themselves are refused: the call fails
 * with `invalid_argument`, and the message names the place. A value that is in
 * two places is sent twice.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, rich, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Log: { after: (at: Date) => new Map([[1n, { at, raw: new Uint8Array([1, 2]) }]]) },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { serializer: rich() });
 * server.accept(far);
 *
 * const client = new Client<typeof services, "rich">(near, { serializer: rich() });
 * const lines = await client.call("Log.after", new Date(0));
 * assertEquals(lines.get(1n), { at: new Date(0), raw: new Uint8Array([1, 2]) });
 * await client.close();
 * await server.close();
 * ```
 */
export function rich(): Serializer & { readonly wire: "rich" } {
  const knows = { references: true };
  return { name: RICH_NAME, wire: "rich", encode, decode, ...knows };
}

function encode(value: unknown): Uint8Array {
  if (isPlain(value)) return utf8(JSON.stringify(value));
  const encoder = new RichEncoder();
  const tree = toTree(encoder, value);
  // Nothing was replaced: it is plain, and deep.
  if (tree === value) return utf8(JSON.stringify(tree));
  const text = utf8(`$${JSON.stringify(tree)}`);
  if (encoder.size === 0) return text;
  const payload = blank(text.length + 1 + encoder.size);
  payload.set(text);
  payload[text.length] = 0;
  encoder.writeBytes(payload, text.length + 1);
  return payload;
}

function decode(bytes: Uint8Array): unknown {
  const { length } = bytes;
  if (bytes[0] !== DOLLAR) return JSON.parse(readText(bytes, 0, length));
  // No text has a NUL: JSON escapes it.
  const nul = bytes.indexOf(0);
  const end = nul < 0 ? length : nul;
  const tree: unknown = JSON.parse(readText(bytes, 1, end));
  const behind = end + 1 < length ? bytes.subarray(end + 1) : NO_BYTES;
  const decoder = new RichDecoder(behind);
  const value = decoder.revive(tree, 0);
  decoder.finish();
  return value;
}
