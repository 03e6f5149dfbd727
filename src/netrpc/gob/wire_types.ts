/**
 * The types that a sender has defined, by their ids, and the reading of type
 * definitions (Go's `wireType`).
 *
 * Bounds: an id is defined once, and never one that gob itself defines. One
 * stream may define {@linkcode MAX_TYPES} types, in {@linkcode MAX_TYPE_BYTES}
 * bytes altogether.
 *
 * @module
 */

import type { GobInput } from "./input.ts";
import { type Marshal, NAMED_LEVELS } from "./schema.ts";
import { GobError } from "./values.ts";

/** The ids of the types that gob itself defines. */
export const BOOL = 1;
export const INT = 2;
export const UINT = 3;
export const FLOAT = 4;
export const BYTES = 5;
export const STRING = 6;
export const COMPLEX = 7;
export const INTERFACE = 8;
/** The lowest id that a sender may define. */
const FIRST_USER_ID = 64;

/** The number of types that a stream may define. */
const MAX_TYPES = 4096;
/** The number of fields of one struct. */
const MAX_FIELDS = 16 * 1024;
/** The bytes of all definitions of a stream. */
const MAX_TYPE_BYTES = 256 * 1024;

/** A field of a struct: its name, and the id of its type. */
export interface WireField {
  readonly name: string;
  readonly id: number;
}

/** A type as its sender has defined it; `elem` and `key` are ids. */
export type WireType =
  | { readonly kind: "basic"; readonly name: string; readonly id: number }
  | {
    readonly kind: "array";
    readonly name: string;
    readonly elem: number;
    readonly length: number;
  }
  | { readonly kind: "slice"; readonly name: string; readonly elem: number }
  | {
    readonly kind: "struct";
    readonly name: string;
    readonly fields: readonly WireField[];
  }
  | {
    readonly kind: "map";
    readonly name: string;
    readonly key: number;
    readonly elem: number;
  }
  | {
    readonly kind: "opaque";
    readonly name: string;
    readonly marshal: Marshal;
  };

const BASIC: readonly [number, string][] = [
  [BOOL, "bool"],
  [INT, "int"],
  [UINT, "uint"],
  [FLOAT, "float"],
  [BYTES, "bytes"],
  [STRING, "string"],
  [COMPLEX, "complex"],
  [INTERFACE, "interface"],
];

/** The types of one stream. */
export class WireTypes {
  readonly #types = new Map<number, WireType>(
    BASIC.map(([id, name]) => [id, { kind: "basic", name, id }]),
  );
  /** Whether values of a type can contain interfaces, for the types that were asked for. */
  readonly #hasInterface = new Map<number, boolean>();
  #bytes = 0;

  /**
   * Returns a type.
   *
   * @throws {GobError} If the sender has not defined it.
   */
  get(id: number): WireType {
    const type = this.#types.get(id);
    if (type !== undefined) return type;
    throw new GobError(`the sender has not defined type ${id}`);
  }

  /** The name of a type in error messages, as Go would print it. */
  name(id: number, levels: number = NAMED_LEVELS): string {
    const type = this.#types.get(id);
    if (type === undefined || levels === 0) return "...";
    if (type.name !== "") return type.name;
    const inner = (id: number) => this.name(id, levels - 1);
    switch (type.kind) {
      case "slice":
        return `[]${inner(type.elem)}`;
      case "array":
        return `[${type.length}]${inner(type.elem)}`;
      case "map":
        return `map[${inner(type.key)}]${inner(type.elem)}`;
      default:
        return type.kind;
    }
  }

  /**
   * Reads the definition of type `id`.
   *
   * @throws {GobError} If it is invalid, the id is taken, or a limit is exceeded.
   */
  define(id: number, input: GobInput): void {
    const start = input.at;
    if (id < FIRST_USER_ID) {
      throw new GobError(`the sender defines type ${id}, an id of gob itself`);
    }
    if (this.#types.has(id)) {
      throw new GobError(`the sender defines type ${id} a second time`);
    }
    const type = readWireType(input);
    this.#bytes += input.at - start;
    if (
      this.#types.size - BASIC.length >= MAX_TYPES ||
      this.#bytes > MAX_TYPE_BYTES
    ) {
      throw new GobError(
        `the sender defines more than ${MAX_TYPES} types, or types of more than ${MAX_TYPE_BYTES} bytes`,
      );
    }
    this.#types.set(id, type);
  }

  /**
   * Whether a value of this type can contain an interface, and so definitions
   * of further types. The result is kept: a sender defines all parts of a type
   * before its first value.
   */
  hasInterface(id: number): boolean {
    const known = this.#hasInterface.get(id);
    if (known !== undefined) return known;
    const found = this.#findInterface(id);
    this.#hasInterface.set(id, found);
    return found;
  }

  #findInterface(id: number): boolean {
    const seen = new Set<number>();
    const left = [id];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      if (next === INTERFACE) return true;
      const type = this.#types.get(next);
      if (type === undefined || seen.has(next)) continue;
      seen.add(next);
      if (type.kind === "struct") {
        for (const field of type.fields) left.push(field.id);
      }
      if (type.kind === "map") left.push(type.key, type.elem);
      if (type.kind === "slice" || type.kind === "array") left.push(type.elem);
    }
    return false;
  }
}

// A definition is itself a gob value, of the struct `wireType`, which has one
// field for each kind of type: 1 array, 2 slice, 3 struct, 4 map, 5 GobEncoder,
// 6 BinaryMarshaler, 7 TextMarshaler. Their first field is the common part: the
// name and the id.

/** Skips a definition that the scanner has read. */
export function skipDefinition(input: GobInput): void {
  readWireType(input);
}

/** Reads the fields of a struct; calls `field` with the number of each, counted from 1. */
function readFields(input: GobInput, field: (number: number) => void): void {
  let number = 0;
  for (;;) {
    const delta = input.safeUint();
    if (delta === 0) return;
    number += delta;
    field(number);
  }
}

function readWireType(input: GobInput): WireType {
  let type: WireType | undefined;
  readFields(input, (number) => {
    if (type !== undefined) {
      throw new GobError("a type definition defines two types");
    }
    type = readVariant(number, input);
  });
  if (type === undefined) {
    throw new GobError("a type definition defines no type");
  }
  return type;
}

function readVariant(variant: number, input: GobInput): WireType {
  let name = "", elem = 0, key = 0, length = 0;
  let fields: WireField[] = [];
  readFields(input, (number) => {
    if (number === 1) name = readCommon(input);
    else if (number === 2 && variant === 3) fields = readStructFields(input);
    else if (number === 2 && variant === 4) key = input.typeId();
    else if (number === 2 && variant < 3) elem = input.typeId();
    else if (number === 3 && variant === 4) elem = input.typeId();
    else if (number === 3 && variant === 1) length = Number(input.int());
    else invalidField("type", number);
  });
  switch (variant) {
    case 1:
      if (length < 0) {
        throw new GobError(`an array type has the length ${length}`);
      }
      return { kind: "array", name, elem, length };
    case 2:
      return { kind: "slice", name, elem };
    case 3:
      return { kind: "struct", name, fields };
    case 4:
      return { kind: "map", name, key, elem };
    case 5:
    case 6:
    case 7: {
      const marshal = (["gob", "binary", "text"] as const)[variant - 5];
      return { kind: "opaque", name, marshal };
    }
    default:
      return invalidField("type definition", variant);
  }
}

/** Reads the common part, and returns the name. The id is that of the definition itself. */
function readCommon(input: GobInput): string {
  let name = "";
  readFields(input, (number) => {
    if (number === 1) name = input.text();
    else if (number === 2) input.typeId();
    else invalidField("type name", number);
  });
  return name;
}

function readStructFields(input: GobInput): WireField[] {
  const count = input.length();
  if (count > MAX_FIELDS) {
    throw new GobError(
      `a struct type has ${count} fields, at most ${MAX_FIELDS}`,
    );
  }
  const fields: WireField[] = [];
  for (let i = 0; i < count; i++) {
    let name = "", id = 0;
    readFields(input, (number) => {
      if (number === 1) name = input.text();
      else if (number === 2) id = input.typeId();
      else invalidField("struct field", number);
    });
    // Go rejects it, too. A field of no bytes would still take memory.
    if (name === "" || id === 0) {
      throw new GobError("a struct type has a field without a name or a type");
    }
    // It would set the prototype of the object. Go would not export the field.
    if (name === "__proto__") {
      throw new GobError(`a struct type has a field named ${name}`);
    }
    fields.push({ name, id });
  }
  return fields;
}

function invalidField(what: string, number: number): never {
  throw new GobError(`a ${what} has an unknown field ${number}`);
}
