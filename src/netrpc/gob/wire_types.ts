/**
 * The types that a sender describes, by its own ids.
 *
 * Invariants owned here:
 * - An id is described once, and never one of gob's own.
 * - All descriptions of a stream together are bounded, in number and in bytes.
 *
 * @module
 */

import { GobError } from "./values.ts";
import type { GobInput } from "./input.ts";
import { type Marshal, NAMED_LEVELS } from "./schema.ts";

/** Gob's own ids. */
export const BOOL = 1;
export const INT = 2;
export const UINT = 3;
export const FLOAT = 4;
export const BYTES = 5;
export const STRING = 6;
export const COMPLEX = 7;
export const INTERFACE = 8;
/** The lowest id of a sender's own type. */
const FIRST_USER_ID = 64;

/** Most types that a stream may describe, most fields of one, and most bytes of all. */
const MAX_TYPES = 4096;
const MAX_FIELDS = 16 * 1024;
const MAX_TYPE_BYTES = 256 * 1024;

/** A field of a struct. */
export interface WireField {
  readonly name: string;
  readonly id: number;
}

/** A type as its sender describes it. */
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

/** Types by id. */
export class WireTypes {
  readonly #types = new Map<number, WireType>(
    BASIC.map(([id, name]) => [id, { kind: "basic", name, id }]),
  );
  /** Whether values of a type can hold interfaces, as far as it was asked. */
  readonly #open = new Map<number, boolean>();
  #bytes = 0;

  /** The type with this id. */
  get(id: number): WireType {
    const type = this.#types.get(id);
    if (type !== undefined) return type;
    throw new GobError(`type ${id} was never described`);
  }

  /** What a type is called in messages, as Go would. */
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

  /** Takes the description of type `id`. */
  define(id: number, input: GobInput): void {
    const start = input.at;
    if (id < FIRST_USER_ID) {
      throw new GobError(`a description of type ${id}, which is gob's own`);
    }
    if (this.#types.has(id)) {
      throw new GobError(`a second description of type ${id}`);
    }
    const type = readWireType(input);
    this.#bytes += input.at - start;
    if (
      this.#types.size - BASIC.length >= MAX_TYPES ||
      this.#bytes > MAX_TYPE_BYTES
    ) {
      throw new GobError(
        `more than ${MAX_TYPES} types, or ${MAX_TYPE_BYTES} bytes of them`,
      );
    }
    this.#types.set(id, type);
  }

  /** Whether a value of this type can hold an interface, and with it descriptions of further types. Looked for once: a sender describes all that a type is made of before the first value. */
  hasInterface(id: number): boolean {
    const known = this.#open.get(id);
    if (known !== undefined) return known;
    const open = this.#findInterface(id);
    this.#open.set(id, open);
    return open;
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

/** Reads a struct's fields by their numbers, which begin at 1. */
function readFields(input: GobInput, field: (number: number) => void): void {
  let number = 0;
  for (;;) {
    const delta = input.small();
    if (delta === 0) return;
    number += delta;
    field(number);
  }
}

/** Passes over a description that was taken in before. */
export function passDescription(input: GobInput): void {
  readWireType(input);
}

function unknownField(what: string, number: number): never {
  throw new GobError(`a ${what} with a field ${number}`);
}

function readWireType(input: GobInput): WireType {
  let type: WireType | undefined;
  readFields(input, (number) => {
    if (type !== undefined) throw new GobError("a type that is two");
    type = readVariant(number, input);
  });
  if (type === undefined) throw new GobError("a type that is none");
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
    else unknownField("type", number);
  });
  switch (variant) {
    case 1:
      if (length < 0) throw new GobError(`an array of length ${length}`);
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
      return unknownField("description", variant);
  }
}

/** Name and id; the id is the one described, so nothing new. */
function readCommon(input: GobInput): string {
  let name = "";
  readFields(input, (number) => {
    if (number === 1) name = input.text();
    else if (number === 2) input.typeId();
    else unknownField("name", number);
  });
  return name;
}

function readStructFields(input: GobInput): WireField[] {
  const count = input.length();
  if (count > MAX_FIELDS) throw new GobError(`a struct of ${count} fields`);
  const fields: WireField[] = [];
  for (let i = 0; i < count; i++) {
    let name = "", id = 0;
    readFields(input, (number) => {
      if (number === 1) name = input.text();
      else if (number === 2) id = input.typeId();
      else unknownField("field", number);
    });
    // As Go has it. Besides, a field of no bytes would still take memory.
    if (name === "" || id === 0) {
      throw new GobError("a field without a name or a type");
    }
    // An object would take it for its prototype; no Go field can be called so.
    if (name === "__proto__") throw new GobError(`a field called ${name}`);
    fields.push({ name, id });
  }
  return fields;
}
