/**
 * The names that Go registers by itself for values in interfaces.
 *
 * @module
 */

import {
  bool,
  bytes,
  complex,
  float,
  type GobType,
  int,
  slice,
  string,
  uint,
} from "./schema.ts";

const SINGLE: readonly (readonly [GobType<unknown>, string])[] = [
  [int, "int int8 int16 int32 int64"],
  [uint, "uint uint8 uint16 uint32 uint64 uintptr"],
  [float, "float32 float64"],
  [complex, "complex64 complex128"],
  [bool, "bool"],
  [string, "string"],
];

/** Go's basic types and slices of them, by those names. */
export const BASICS: ReadonlyMap<string, GobType<unknown>> = allBasics();

function allBasics(): Map<string, GobType<unknown>> {
  const basics = new Map<string, GobType<unknown>>();
  for (const [type, names] of SINGLE) {
    const list = slice(type);
    for (const name of names.split(" ")) {
      basics.set(name, type).set(`[]${name}`, list);
    }
  }
  return basics.set("[]uint8", bytes);
}
