/**
 * Infers the Go type of a plain value, and knows the names of Go's basic types.
 *
 * A whole number is an `int`, any other number a `float`; an object is a struct
 * of its members, a `Map` a map, an array a slice of the common type of its
 * elements. `null`, `undefined` and empty arrays and maps have no type of their
 * own: a member of a struct with such a value is left out.
 *
 * @module
 */

import { quote } from "../../base/errors.ts";
import {
  any,
  bool,
  bytes,
  complex,
  float,
  type GobType,
  int,
  isExported,
  map,
  resolve,
  slice,
  string,
  structOf,
  time,
  uint,
} from "./schema.ts";
import { Complex, GobError, Registered } from "./values.ts";

const MAX_INT64 = 0x7fffffffffffffffn;

/**
 * Returns the type of a value; `undefined` if the value does not determine one.
 *
 * @throws {GobError} If gob cannot represent the value, or it is nested deeper
 * than `maxDepth` levels.
 */
export function inferType(
  value: unknown,
  maxDepth: number,
): GobType | undefined {
  if (maxDepth < 0) {
    throw new GobError(
      "the value is nested too deeply, or it contains itself",
    );
  }
  switch (typeof value) {
    case "string":
      return string;
    case "number":
      return Number.isSafeInteger(value) ? int : float;
    case "boolean":
      return bool;
    case "bigint":
      return value > MAX_INT64 ? uint : int;
    case "undefined":
      return undefined;
    case "object":
      return value === null ? undefined : inferObject(value, maxDepth - 1);
    default:
      throw new GobError(`gob cannot represent a ${typeof value}`);
  }
}

function inferObject(value: object, maxDepth: number): GobType | undefined {
  if (value instanceof Uint8Array) return bytes;
  if (value instanceof Date) return time;
  if (value instanceof Complex) return complex;
  if (value instanceof Registered) return any;
  if (Array.isArray(value)) {
    const elem = elementType(value, maxDepth);
    return elem && slice(elem);
  }
  if (value instanceof Map) {
    const key = elementType(value.keys(), maxDepth);
    const elem = elementType(value.values(), maxDepth);
    return key && elem && map(key, elem);
  }
  if (ArrayBuffer.isView(value) || value instanceof Set) {
    throw new GobError(`gob cannot represent a ${value.constructor.name}`);
  }
  const fields: [string, GobType][] = [];
  for (const [name, member] of Object.entries(value)) {
    const type = inferType(member, maxDepth);
    if (type === undefined) continue;
    if (!isExported(name)) {
      throw new GobError(
        `the member ${
          quote(name)
        } is not exported in Go; begin its name with an upper-case letter`,
      );
    }
    fields.push([name, type]);
  }
  return structOf(fields);
}

/** The common type of all values. */
function elementType(
  values: Iterable<unknown>,
  maxDepth: number,
): GobType | undefined {
  let type: GobType | undefined;
  for (const value of values) {
    const next = inferType(value, maxDepth);
    // An element without a type, such as null, can only be a nil interface.
    if (next === undefined) return any;
    type = type === undefined ? next : commonType(type, next, any);
  }
  return type;
}

/** Returns a type that the values of both types have; `otherwise` if there is none. */
export function commonType<O extends GobType | undefined>(
  a: GobType,
  b: GobType,
  otherwise: O,
): GobType | O {
  if (a === b) return a;
  if (a.kind === "int" && b.kind === "float") return b;
  if (a.kind === "float" && b.kind === "int") return a;
  if (a.kind === "any" && basicName(b) !== undefined) return a;
  if (b.kind === "any" && basicName(a) !== undefined) return b;
  if (a.kind !== b.kind) return otherwise;
  switch (a.kind) {
    case "slice": {
      const elem = commonType(a.elem!(), b.elem!(), otherwise);
      return elem === undefined ? otherwise : slice(elem);
    }
    case "map": {
      const key = commonType(a.key!, b.key!, otherwise);
      const elem = commonType(a.elem!(), b.elem!(), otherwise);
      const whole = key !== undefined && elem !== undefined;
      return whole ? map(key, elem) : otherwise;
    }
    case "struct": {
      const fields = new Map(a.fields);
      for (const [name, type] of b.fields) {
        const other = fields.get(name);
        const both = other === undefined
          ? type
          : commonType(other, type, otherwise);
        if (both === undefined) return otherwise;
        fields.set(name, both);
      }
      return structOf([...fields]);
    }
    default:
      return otherwise;
  }
}

/** Returns a text that two inferred types share only if they are equal. An inferred type never contains itself. */
export function signature(type: GobType): string {
  const at = resolve(type);
  switch (at.kind) {
    case "slice":
      return `[]${signature(at.elem!())}`;
    case "map":
      return `map[${signature(at.key!)}]${signature(at.elem!())}`;
    case "struct":
      return `{${
        at.fields.map(([name, field]) => `${name} ${signature(field)}`)
          .join(";")
      }}`;
    default:
      return at.kind;
  }
}

// Package gob registers the basic types and slices of them by itself, so that
// they can stand in interfaces.

/** The name that gob has registered for a type by itself; `undefined` if there is none. */
export function basicName(type: GobType): string | undefined {
  switch (type.kind) {
    case "int":
      return "int";
    case "uint":
      return "uint64";
    case "float":
      return "float64";
    case "complex":
      return "complex128";
    case "bool":
    case "string":
      return type.kind;
    case "bytes":
      return "[]uint8";
    case "slice": {
      const elem = type.elem!();
      const name = elem.kind === "bytes" ? undefined : basicName(elem);
      return name?.startsWith("[]") ? undefined : name && `[]${name}`;
    }
    default:
      return undefined;
  }
}

/** Go's basic types and slices of them, by the names that gob has registered. */
export const BASIC_TYPES: ReadonlyMap<string, GobType> = /* @__PURE__ */
  basicTypes();

function basicTypes(): Map<string, GobType> {
  const names: [GobType, string][] = [
    [int, "int int8 int16 int32 int64"],
    [uint, "uint uint8 uint16 uint32 uint64 uintptr"],
    [float, "float32 float64"],
    [complex, "complex64 complex128"],
    [bool, "bool"],
    [string, "string"],
  ];
  const types = new Map<string, GobType>();
  for (const [type, all] of names) {
    const list = slice(type);
    for (const name of all.split(" ")) {
      types.set(name, type).set(`[]${name}`, list);
    }
  }
  return types.set("[]uint8", bytes);
}
