/**
 * The Go type of a plain value, by what it is.
 *
 * Whole numbers are `int`, others `float`; an object is a struct of its own
 * members, a `Map` a map, an array a slice of whatever all its elements are.
 * `null`, `undefined`, and what is empty say nothing: in a struct such a member
 * is left out.
 *
 * @module
 */

import { quote } from "../../base/errors.ts";
import { Complex, GobError, Registered } from "./values.ts";
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

type AnyType = GobType<unknown>;

const MAX_INT64 = 2n ** 63n - 1n;

/** The type of a value; undefined if it says nothing. */
export function infer(value: unknown, maxDepth: number): AnyType | undefined {
  if (maxDepth < 0) throw new GobError("the value nests too deep");
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
      throw new GobError(`a ${typeof value} has no form in gob`);
  }
}

function inferObject(value: object, maxDepth: number): AnyType | undefined {
  if (value instanceof Uint8Array) return bytes;
  if (value instanceof Date) return time;
  if (value instanceof Complex) return complex;
  if (value instanceof Registered) return any;
  if (Array.isArray(value)) {
    const elem = common(value, maxDepth);
    return elem && slice(elem);
  }
  if (value instanceof Map) {
    const key = common(value.keys(), maxDepth);
    const elem = common(value.values(), maxDepth);
    return key && elem && map(key, elem);
  }
  if (ArrayBuffer.isView(value) || value instanceof Set) {
    throw new GobError(`a ${value.constructor.name} has no form in gob`);
  }
  const fields: [string, AnyType][] = [];
  for (const [name, member] of Object.entries(value)) {
    const type = infer(member, maxDepth);
    if (type === undefined) continue;
    if (!isExported(name)) {
      throw new GobError(
        `the member ${
          quote(name)
        } is not exported; Go wants an upper-case letter first`,
      );
    }
    fields.push([name, type]);
  }
  return structOf(fields);
}

/** What all of the values are. */
function common(
  values: Iterable<unknown>,
  maxDepth: number,
): AnyType | undefined {
  let type: AnyType | undefined;
  for (const value of values) {
    const next = infer(value, maxDepth);
    // Nothing, between elements, is a nil interface.
    if (next === undefined) return any;
    type = type === undefined ? next : join(type, next, any);
  }
  return type;
}

/** The type of all values of either; `otherwise` where there is none. */
export function join<O extends AnyType | undefined>(
  a: AnyType,
  b: AnyType,
  otherwise: O,
): AnyType | O {
  if (a === b) return a;
  if (a.kind === "int" && b.kind === "float") return b;
  if (a.kind === "float" && b.kind === "int") return a;
  if (a.kind === "any" && basicName(b) !== undefined) return a;
  if (b.kind === "any" && basicName(a) !== undefined) return b;
  if (a.kind !== b.kind) return otherwise;
  switch (a.kind) {
    case "slice": {
      const elem = join(a.elem!(), b.elem!(), otherwise);
      return elem === undefined ? otherwise : slice(elem);
    }
    case "map": {
      const key = join(a.key!, b.key!, otherwise);
      const elem = join(a.elem!(), b.elem!(), otherwise);
      const whole = key !== undefined && elem !== undefined;
      return whole ? map(key, elem) : otherwise;
    }
    case "struct": {
      const fields = new Map(a.fields);
      for (const [name, type] of b.fields) {
        const known = fields.get(name);
        const both = known === undefined ? type : join(known, type, otherwise);
        if (both === undefined) return otherwise;
        fields.set(name, both);
      }
      return structOf([...fields]);
    }
    default:
      return otherwise;
  }
}

/** One text for all types that are the same. Inferred types do not contain themselves. */
export function signature(type: AnyType): string {
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

/** The name that Go has registered by itself for a value in an interface; undefined if it has none. */
export function basicName(type: AnyType): string | undefined {
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
