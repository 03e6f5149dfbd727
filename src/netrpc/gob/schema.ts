/**
 * Descriptions of Go's types, and the TypeScript types that go with them.
 *
 * A {@linkcode GobType} has two uses: it determines how a value is written, and
 * a received value is checked against it. Where no type is given, a value is
 * written by what it is in JavaScript, and read by the type definition that its
 * sender has sent. The rules of gob are those of Go's package
 * `encoding/gob` (https://pkg.go.dev/encoding/gob).
 *
 * @module
 */

import type { Complex } from "./values.ts";

/** The kinds of {@linkcode GobType}. `optional` and `lazy` stand for another type. */
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

/** Which of Go's interfaces a type implements to write its own bytes: `gob.GobEncoder`, `encoding.BinaryMarshaler` or `encoding.TextMarshaler`. */
export type Marshal = "gob" | "binary" | "text";

/**
 * A Go type, and in `T` the TypeScript type of its values.
 *
 * Create one with the constants and functions of this module, such as
 * {@linkcode int}, {@linkcode slice} and {@linkcode struct}. The properties are
 * for the library.
 */
export interface GobType<T = unknown> {
  /** The kind of type. */
  readonly kind: GobKind;
  /** The name that Go's error messages use; empty if the type has none. */
  readonly name: string;
  /** Whether integers are bigints. */
  readonly big: boolean;
  /** Returns the type of the elements, or the type that this one stands for. */
  readonly elem: (() => GobType) | undefined;
  /** The type of a map's keys. */
  readonly key: GobType | undefined;
  /** The length of an array. */
  readonly length: number;
  /** The names and types of a struct's fields, in Go's order. */
  readonly fields: readonly (readonly [string, GobType])[];
  /** For an opaque type, how Go writes its bytes. */
  readonly marshal: Marshal;
  /** Carries `T` for the compiler; it does not exist at run time. */
  readonly "~value"?: T;
}

/**
 * The TypeScript type of the values of a {@linkcode GobType}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { int, struct, type ValueOf } from "@sluice/rpc/netrpc";
 *
 * const Point = struct({ X: int, Y: int });
 * const point: ValueOf<typeof Point> = { X: 1, Y: 2 };
 * assertEquals(point.X + point.Y, 3);
 * ```
 */
export type ValueOf<G> = G extends GobType<infer T> ? T : never;

/** The fields of a {@linkcode struct}: the type of each by its name, in Go's order. */
export type GobFields = Readonly<Record<string, GobType>>;

/** The TypeScript type of a struct with the given fields; see {@linkcode ValueOf} for an example. */
export type StructOf<F extends GobFields> = {
  -readonly [K in keyof F]: ValueOf<F[K]>;
};

function make<T>(
  kind: GobKind,
  rest: Partial<GobType> = {},
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

/**
 * Go's `bool`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bool, decodeGob, encodeGob } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob(true, bool), bool), true);
 * ```
 */
export const bool: GobType<boolean> = /* @__PURE__ */ make("bool");

/**
 * Go's signed integers of any width (`int`, `int8` to `int64`) as a `number`.
 *
 * Reading fails with a {@linkcode GobError} if the integer is not within
 * ±(2^53 - 1); {@linkcode int64} reads all 64 bits. Gob itself knows no widths,
 * so a value that does not fit Go's own type fails there.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { decodeGob, encodeGob, int } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob(-5, int), int), -5);
 * assertThrows(() => decodeGob(encodeGob(2n ** 60n), int), Error, "int64");
 * ```
 */
export const int: GobType<number> = /* @__PURE__ */ make("int");

/**
 * Go's signed integers of any width as a `bigint`, from -2^63 to 2^63 - 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, int64 } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob(2n ** 60n, int64), int64), 2n ** 60n);
 * ```
 */
export const int64: GobType<bigint> = /* @__PURE__ */ make("int", {
  big: true,
});

/**
 * Go's unsigned integers of any width (`uint`, `uint8` to `uint64`) as a
 * `number`.
 *
 * Reading fails with a {@linkcode GobError} if the integer is above 2^53 - 1;
 * {@linkcode uint64} reads all 64 bits.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, uint } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob(5, uint), uint), 5);
 * ```
 */
export const uint: GobType<number> = /* @__PURE__ */ make("uint");

/**
 * Go's unsigned integers of any width as a `bigint`, from 0 to 2^64 - 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, uint64 } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob(2n ** 63n, uint64), uint64), 2n ** 63n);
 * ```
 */
export const uint64: GobType<bigint> = /* @__PURE__ */ make("uint", {
  big: true,
});

/**
 * Go's `float32` and `float64`. Gob sends both with 64 bits.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, float } from "@sluice/rpc/netrpc";
 *
 * // Without the type, 2 would be sent as an int.
 * assertEquals(decodeGob(encodeGob(2, float), float), 2);
 * ```
 */
export const float: GobType<number> = /* @__PURE__ */ make("float");

/**
 * Go's `complex64` and `complex128`, as a {@linkcode Complex}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Complex, complex, decodeGob, encodeGob } from "@sluice/rpc/netrpc";
 *
 * const value = new Complex(1, 2);
 * assertEquals(decodeGob(encodeGob(value, complex), complex), value);
 * ```
 */
export const complex: GobType<Complex> = /* @__PURE__ */ make("complex");

/**
 * Go's `string`. Go allows any bytes in a string; here a string that is not
 * valid UTF-8 fails with a {@linkcode GobError}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, string } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob("café", string), string), "café");
 * ```
 */
export const string: GobType<string> = /* @__PURE__ */ make("string");

/**
 * Go's `[]byte`. The bytes that are read are a copy.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bytes, decodeGob, encodeGob } from "@sluice/rpc/netrpc";
 *
 * const value = Uint8Array.of(1, 2);
 * assertEquals(decodeGob(encodeGob(value, bytes), bytes), value);
 * ```
 */
export const bytes: GobType<Uint8Array<ArrayBuffer>> = /* @__PURE__ */ make(
  "bytes",
);

/**
 * Go's `time.Time`, as a `Date`. The time is cut to milliseconds, and its time
 * zone is lost.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, time } from "@sluice/rpc/netrpc";
 *
 * const value = new Date("2024-02-29T12:30:15.250Z");
 * assertEquals(decodeGob(encodeGob(value, time), time), value);
 * ```
 */
export const time: GobType<Date> = /* @__PURE__ */ make("time", {
  name: "Time",
});

/**
 * A Go interface, such as `interface{}`. Values of Go's basic types, and slices
 * of those, are plain values; all others are {@linkcode Registered} values;
 * `nil` is `null`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { any, decodeGob, encodeGob, slice } from "@sluice/rpc/netrpc";
 *
 * const values = [1, "a", null, [true]];
 * assertEquals(decodeGob(encodeGob(values, slice(any))), values);
 * ```
 */
export const any: GobType = /* @__PURE__ */ make("any");

/**
 * Go's `[]T`, as an array. For `[]byte` see {@linkcode bytes}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, float, slice } from "@sluice/rpc/netrpc";
 *
 * const Floats = slice(float);
 * // Without the type, an empty array could not be sent.
 * assertEquals(decodeGob(encodeGob([], Floats), Floats), []);
 * ```
 */
export function slice<T>(elem: GobType<T>): GobType<T[]> {
  return make("slice", { elem: () => elem });
}

/**
 * Go's `[length]T`, as an array of that length. Writing or reading an array of
 * another length fails with a {@linkcode GobError}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { array, decodeGob, encodeGob, int } from "@sluice/rpc/netrpc";
 *
 * const Pair = array(int, 2);
 * assertEquals(decodeGob(encodeGob([1, 2], Pair), Pair), [1, 2]);
 * ```
 */
export function array<T>(elem: GobType<T>, length: number): GobType<T[]> {
  return make("array", { elem: () => elem, length });
}

/**
 * Go's `map[K]V`, as a `Map`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, int, map, string } from "@sluice/rpc/netrpc";
 *
 * const Ages = map(string, int);
 * const ages = new Map([["Ann", 41]]);
 * assertEquals(decodeGob(encodeGob(ages, Ages), Ages), ages);
 * ```
 */
export function map<K, V>(
  key: GobType<K>,
  value: GobType<V>,
): GobType<Map<K, V>> {
  return make("map", { key, elem: () => value });
}

/**
 * A Go struct, as an object.
 *
 * Gob matches the fields of sender and receiver by name: a field that only the
 * sender has is ignored, and one that only the receiver has is zero. Only
 * exported fields count. The name of the struct appears in error messages only.
 *
 * @throws {TypeError} If a field's name is not one of an exported Go field.
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
        `Cannot create a struct type: the field ${
          JSON.stringify(field)
        } is not exported in Go; begin its name with an upper-case letter`,
      );
    }
  }
  return make("struct", { name, fields: Object.entries(fields) });
}

/** A struct without a name, of fields that have been checked. */
export function structOf(
  fields: readonly (readonly [string, GobType])[],
): GobType {
  return make("struct", { fields });
}

/** The name of a field that takes up a field number and nothing else: Go neither reads nor writes a field of this name. */
export const NO_FIELD = "_";

/** Whether a Go field of this name is exported: an identifier that begins with an upper-case letter. */
export function isExported(field: string): boolean {
  return /^\p{Lu}[\p{L}\p{Nd}_]*$/u.test(field);
}

/**
 * Go's `*T`, or a field that may be missing: `null` stands for `nil`.
 *
 * Gob sends what a pointer points to and leaves out `nil`, so only a field of a
 * struct can be `null`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, int, optional, struct } from "@sluice/rpc/netrpc";
 *
 * const Page = struct({ Number: int, Next: optional(int) });
 * const last = { Number: 9, Next: null };
 * assertEquals(decodeGob(encodeGob(last, Page), Page), last);
 * ```
 */
export function optional<T>(type: GobType<T>): GobType<T | null> {
  return make("optional", { elem: () => type });
}

/**
 * A type that is looked up when it is first used: for a type that contains
 * itself.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, type GobType, int, lazy, optional, struct } from "@sluice/rpc/netrpc";
 *
 * interface List {
 *   Value: number;
 *   Next: List | null;
 * }
 * const List: GobType<List> = struct({
 *   Value: int,
 *   Next: optional(lazy((): GobType<List> => List)),
 * });
 * const list = { Value: 1, Next: { Value: 2, Next: null } };
 * assertEquals(decodeGob(encodeGob(list, List), List), list);
 * ```
 */
export function lazy<T>(type: () => GobType<T>): GobType<T> {
  return make("lazy", { elem: type });
}

/**
 * A Go type that writes its own bytes, as a `Uint8Array` of these bytes: a
 * `gob.GobEncoder`, an `encoding.BinaryMarshaler` or an
 * `encoding.TextMarshaler`.
 *
 * @param name The name that Go's error messages use.
 * @param marshal Which of the three interfaces the Go type implements.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, opaque } from "@sluice/rpc/netrpc";
 *
 * const Address = opaque("Addr", "binary"); // Go's netip.Addr
 * const localhost = Uint8Array.of(127, 0, 0, 1);
 * assertEquals(decodeGob(encodeGob(localhost, Address), Address), localhost);
 * ```
 */
export function opaque(
  name = "",
  marshal: Marshal = "gob",
): GobType<Uint8Array<ArrayBuffer>> {
  return make("opaque", { name, marshal });
}

/** Returns the type that a `lazy` or `optional` type stands for. */
export function resolve(type: GobType): GobType {
  let at = type;
  for (let i = 0; at.kind === "lazy" || at.kind === "optional"; i++) {
    if (i > 100) {
      throw new TypeError(
        "Cannot use a type: it is a lazy or optional type that only refers to itself",
      );
    }
    at = at.elem!();
  }
  return at;
}

/** Whether a field of this type may be `null`, for Go's `nil`. */
export function isOptional(type: GobType): boolean {
  let at = type;
  while (at.kind === "lazy") at = at.elem!();
  return at.kind === "optional";
}

/** Go's names of the kinds that have one name; of numbers the widest. */
const NAMES: Partial<Record<GobKind, string>> = {
  float: "float64",
  complex: "complex128",
  bytes: "[]uint8",
  any: "interface {}",
  time: "time.Time",
};

/** How many levels of a type its name shows, as a type may contain itself. */
export const NAMED_LEVELS = 8;

/** The name of a type in error messages, as Go would print it. */
export function typeName(
  type: GobType,
  levels: number = NAMED_LEVELS,
): string {
  const at = resolve(type);
  const inner = (type: GobType) =>
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
