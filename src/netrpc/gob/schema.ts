/**
 * Go's types, as far as gob knows them, and what they are in TypeScript.
 *
 * A type says how a value is written, and holds what is read to it: what does
 * not fit is a {@linkcode GobError}. Without one, values are written by what
 * they are and read by what the sender says of them.
 *
 * @module
 */

import type { Complex } from "./values.ts";

/** What gob makes of a value. */
export type GobKind =
  | "bool"
  | "int"
  | "uint"
  | "float"
  | "complex"
  | "string"
  | "bytes"
  | "any"
  | "time"
  | "opaque"
  | "slice"
  | "array"
  | "map"
  | "struct"
  | "optional"
  | "lazy";

/** How an opaque value was turned into bytes. */
export type Marshal = "gob" | "binary" | "text";

/** One of Go's types, and in `T` what it is here. Made by the functions of this module. */
export interface GobType<T> {
  /** What it is. */
  readonly kind: GobKind;
  /** Go's name for it, where it has one. */
  readonly name: string;
  /** Whether its integers are bigints. */
  readonly big: boolean;
  /** Its elements, or what it stands for. */
  readonly elem: (() => GobType<unknown>) | undefined;
  /** A map's keys. */
  readonly key: GobType<unknown> | undefined;
  /** An array's length. */
  readonly length: number;
  /** A struct's fields, in Go's order. */
  readonly fields: readonly (readonly [string, GobType<unknown>])[];
  /** How an opaque value was turned into bytes. */
  readonly marshal: Marshal;
  /** Types only; nothing at run time. */
  readonly "~value"?: T;
}

/** What a type is in TypeScript: `ValueOf<typeof Args>`. */
export type ValueOf<G> = G extends GobType<infer T> ? T : never;

/** A struct's fields by name, in Go's order. */
export type GobFields = Readonly<Record<string, GobType<unknown>>>;

/** What a struct of such fields is in TypeScript. */
export type StructOf<F extends GobFields> = {
  -readonly [K in keyof F]: ValueOf<F[K]>;
};

function make<T>(
  kind: GobKind,
  rest: Partial<GobType<unknown>> = {},
): GobType<T> {
  return {
    kind,
    name: "",
    big: false,
    elem: undefined,
    key: undefined,
    length: 0,
    fields: [],
    marshal: "gob",
    ...rest,
  } as GobType<T>;
}

/** Go's `bool`. */
export const bool: GobType<boolean> = make("bool");
/** Go's integers of any width, as a number; one past 2^53 does not fit. */
export const int: GobType<number> = make("int");
/** The same as a bigint. */
export const int64: GobType<bigint> = make("int", { big: true });
/** Go's unsigned integers of any width, as a number; one past 2^53 does not fit. */
export const uint: GobType<number> = make("uint");
/** The same as a bigint. */
export const uint64: GobType<bigint> = make("uint", { big: true });
/** `float32` and `float64`. */
export const float: GobType<number> = make("float");
/** `complex64` and `complex128`. */
export const complex: GobType<Complex> = make("complex");
/** Go's `string`; it must be UTF-8. */
export const string: GobType<string> = make("string");
/** `[]byte`. */
export const bytes: GobType<Uint8Array<ArrayBuffer>> = make("bytes");
/** `time.Time`, to the millisecond, its zone lost. */
export const time: GobType<Date> = make("time", { name: "Time" });
/**
 * An interface. What is not one of Go's basic types, or a slice of one, is a
 * {@linkcode Registered} value; `nil` is `null`.
 */
export const any: GobType<unknown> = make("any");

/** `[]T`; for `[]byte` see {@linkcode bytes}. */
export function slice<T>(elem: GobType<T>): GobType<T[]> {
  return make("slice", { elem: () => elem });
}

/** `[length]T`. */
export function array<T>(elem: GobType<T>, length: number): GobType<T[]> {
  return make("array", { elem: () => elem, length });
}

/** `map[K]V`, as a `Map`. */
export function map<K, V>(
  key: GobType<K>,
  value: GobType<V>,
): GobType<Map<K, V>> {
  return make("map", { key, elem: () => value });
}

/**
 * A struct. Only its exported fields matter, and only by their names; its own
 * name shows in Go's messages and nowhere else.
 *
 * @throws {TypeError} If a field has a name that no exported field can have.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, int, struct, type ValueOf } from "@sluice/rpc/netrpc";
 *
 * const Args = struct({ A: int, B: int }, "Args");
 * const args: ValueOf<typeof Args> = { A: 7, B: 0 };
 * assertEquals(decodeGob(encodeGob(args, Args), Args), args);
 * ```
 */
export function struct<F extends GobFields>(
  fields: F,
  name = "",
): GobType<StructOf<F>> {
  for (const field of Object.keys(fields)) {
    if (!isExported(field)) {
      throw new TypeError(
        `Cannot make a struct: ${
          JSON.stringify(field)
        } is not exported; Go wants an upper-case letter first`,
      );
    }
  }
  return make("struct", { name, fields: Object.entries(fields) });
}

/** A struct of plain values. */
export function structOf(
  fields: readonly (readonly [string, GobType<unknown>])[],
): GobType<unknown> {
  return make("struct", { fields });
}

/** A field that only takes up a number: Go reads into no field of this name, and writes none. */
export const NO_FIELD = "_";

/** Whether Go lets a field of this name be sent: it is an identifier that begins with an upper-case letter. */
export function isExported(field: string): boolean {
  return /^\p{Lu}[\p{L}\p{Nd}_]*$/u.test(field);
}

/** `*T`, or a field that may be missing: `null` where Go has `nil`. Gob itself has no pointers, so only a struct's field can be `nil`. */
export function optional<T>(type: GobType<T>): GobType<T | null> {
  return make("optional", { elem: () => type });
}

/** A type that is not there yet, for one that contains itself. */
export function lazy<T>(type: () => GobType<T>): GobType<T> {
  return make("lazy", { elem: type });
}

/** A type that makes its own bytes: a `GobEncoder`, or one of `encoding`'s marshalers. */
export function opaque(
  name = "",
  marshal: Marshal = "gob",
): GobType<Uint8Array<ArrayBuffer>> {
  return make("opaque", { name, marshal });
}

/** What a type is behind `lazy` and `optional`. */
export function resolve(type: GobType<unknown>): GobType<unknown> {
  let at = type;
  for (let i = 0; at.kind === "lazy" || at.kind === "optional"; i++) {
    if (i > 100) throw new TypeError("Cannot use a type: it is only itself");
    at = at.elem!();
  }
  return at;
}

/** Whether a type's value may be `null` for `nil`. */
export function isOptional(type: GobType<unknown>): boolean {
  let at = type;
  while (at.kind === "lazy") at = at.elem!();
  return at.kind === "optional";
}

/** What Go calls the kinds that have one name; of numbers the widest. */
const NAMES: Partial<Record<GobKind, string>> = {
  float: "float64",
  complex: "complex128",
  bytes: "[]uint8",
  any: "interface {}",
  time: "time.Time",
};

/** How many levels of a type its name shows: it may contain itself. */
export const NAMED_LEVELS = 8;

/** What a type is called in messages, as Go would. */
export function typeName(
  type: GobType<unknown>,
  levels: number = NAMED_LEVELS,
): string {
  const at = resolve(type);
  const inner = (type: GobType<unknown>) =>
    levels === 0 ? "..." : typeName(type, levels - 1);
  switch (at.kind) {
    case "slice":
      return `[]${inner(at.elem!())}`;
    case "array":
      return `[${at.length}]${inner(at.elem!())}`;
    case "map":
      return `map[${inner(at.key!)}]${inner(at.elem!())}`;
    default:
      return NAMES[at.kind] ?? (at.name || at.kind);
  }
}
