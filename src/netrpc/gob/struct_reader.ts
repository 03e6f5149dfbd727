/**
 * Reads structs: fields come by number, and those that are zero do not come.
 *
 * @module
 */

import { GobError, Mismatch } from "./error.ts";
import type { GobInput } from "./input.ts";
import {
  type GobType,
  isOptional,
  NO_FIELD,
  resolve,
  typeName,
} from "./schema.ts";
import { ZERO_TIME } from "./time.ts";
import { Complex } from "./values.ts";
import {
  fit,
  lazyReader,
  type Reader,
  type ReaderTable,
  type Wanted,
} from "./wanted.ts";
import type { WireField, WireType } from "./wire_types.ts";

type Struct = Record<string, unknown>;

/** A reader of structs; with a type asked for, of its fields and no other. */
export function structReader(
  readers: ReaderTable,
  wire: WireType & { kind: "struct" },
  type: Wanted,
): Reader {
  fit(type, "struct");
  return type === undefined
    ? plainReader(readers, wire.fields)
    : typedReader(readers, wire, type);
}

function plainReader(
  readers: ReaderTable,
  fields: readonly WireField[],
): Reader {
  const read = fieldsReader(
    fields,
    fields.map(({ id }) => lazyReader(readers, id, undefined)),
  );
  const blank = (input: GobInput) => {
    const struct: Struct = {};
    for (const { name, id } of fields) {
      if (name === NO_FIELD) continue;
      // Go sends every struct; what it leaves out is a nil pointer to one.
      struct[name] = readers.types.get(id).kind === "struct"
        ? null
        : readers.get(id, undefined).zero(input);
    }
    return struct;
  };
  return {
    read: (input) => read(input, blank),
    zero: () => null,
  };
}

function typedReader(
  readers: ReaderTable,
  { name: wireName, fields }: WireType & { kind: "struct" },
  type: GobType<unknown>,
): Reader {
  const wanted = new Map(type.fields);
  const known = fields.some(({ name }) => wanted.has(name));
  if (fields.length > 0 && wanted.size > 0 && !known) {
    throw new GobError(
      `type mismatch: no fields matched compiling decoder for ${
        typeName(type)
      }`,
    );
  }
  const read = fieldsReader(
    fields,
    fields.map(({ name, id }) => lazyReader(readers, id, wanted.get(name))),
    { name: wireName, wanted },
  );
  const blank = (input: GobInput) => blankStruct(type, input);
  return { read: (input) => read(input, blank), zero: blank };
}

/** What is asked of a struct: the sender's name for it, and the fields' types by name. */
interface Asked {
  readonly name: string;
  readonly wanted: ReadonlyMap<string, GobType<unknown>>;
}

/** Reads the fields that come over those of a blank struct; of those asked for, if that is said. */
function fieldsReader(
  fields: readonly WireField[],
  readers: readonly (() => Reader)[],
  asked?: Asked,
): (input: GobInput, blank: (input: GobInput) => Struct) => Struct {
  return (input, blank) => {
    input.enter();
    input.spend(fields.length);
    const struct = blank(input);
    let field = -1;
    for (;;) {
      const delta = input.small();
      if (delta === 0) break;
      field += delta;
      if (field >= fields.length) {
        throw new GobError(`field ${field} of a struct of ${fields.length}`);
      }
      const { name } = fields[field];
      const value = readField(readers[field], input, name, asked);
      const known = asked?.wanted.has(name) ?? name !== NO_FIELD;
      if (known) struct[name] = value;
    }
    input.leave();
    return struct;
  };
}

/** Reads a field; if it is of another type, says so in Go's words. */
function readField(
  reader: () => Reader,
  input: GobInput,
  name: string,
  asked: Asked | undefined,
): unknown {
  try {
    return reader().read(input);
  } catch (error) {
    const type = asked?.wanted.get(name);
    if (type === undefined || !(error instanceof Mismatch)) throw error;
    throw new GobError(
      `wrong type (${typeName(type)}) for received field ${
        asked!.name
      }.${name}`,
    );
  }
}

function blankStruct(type: GobType<unknown>, input: GobInput): Struct {
  input.enter();
  input.spend(type.fields.length);
  const struct: Struct = {};
  for (const [name, field] of type.fields) {
    struct[name] = blankValue(field, input);
  }
  input.leave();
  return struct;
}

/** The zero of a type asked for, whatever the sender's type is. */
function blankValue(type: GobType<unknown>, input: GobInput): unknown {
  if (isOptional(type)) return null;
  const at = resolve(type);
  switch (at.kind) {
    case "bool":
      return false;
    case "int":
    case "uint":
      return at.big ? 0n : 0;
    case "float":
      return 0;
    case "complex":
      return new Complex(0, 0);
    case "string":
      return "";
    case "bytes":
    case "opaque":
      return new Uint8Array();
    case "time":
      return new Date(ZERO_TIME);
    case "slice":
      return [];
    case "array":
      input.spend(at.length);
      return Array.from(
        { length: at.length },
        () => blankValue(at.elem!(), input),
      );
    case "map":
      return new Map();
    case "struct":
      return blankStruct(at, input);
    default:
      return null;
  }
}
