/**
 * The serializers that are compared, each from a value to bytes and back. All
 * that make text use the same UTF-8, which refuses malformed bytes.
 *
 * @module
 */

import * as devalue from "devalue";
import superjson from "superjson";
import { deserialize, serialize } from "node:v8";
import { rich } from "../../mod.ts";

/** One way to encode values. */
export interface Codec {
  readonly name: string;
  readonly encode: (value: unknown) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textual(
  name: string,
  stringify: (value: unknown) => string,
  parse: (text: string) => unknown,
): Codec {
  return {
    name,
    encode: (value) => encoder.encode(stringify(value)),
    decode: (bytes) => parse(decoder.decode(bytes)),
  };
}

/** What devalue does with errors, which it leaves to its user. */
const reducers = {
  Error: (value: unknown) =>
    value instanceof Error && [value.name, value.message, value.cause],
};

const CLASSES: Record<string, ErrorConstructor> = { Error, TypeError };

const revivers = {
  Error: ([name, message, cause]: [string, string, unknown]) =>
    new CLASSES[name](message, cause === undefined ? {} : { cause }),
};

/** All of them; the first is the library's. */
export const CODECS: readonly Codec[] = [
  rich(),
  textual("JSON", JSON.stringify, JSON.parse),
  textual("superjson", superjson.stringify, superjson.parse),
  textual(
    "devalue",
    (value) => devalue.stringify(value, reducers),
    (text) => devalue.parse(text, revivers),
  ),
  { name: "v8", encode: serialize, decode: deserialize },
];
