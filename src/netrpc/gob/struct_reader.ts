/**
 * Reads structs: fields come by number, and those that are zero do not come.
 *
 * @module
 */

import { Blank, blankStruct, type Struct } from "./blank.ts";
import { GobError, Mismatch } from "./error.ts";
import type { GobInput } from "./input.ts";
import { type GobType, NO_FIELD, typeName } from "./schema.ts";
import { fit, type Reader, type ReaderTable, type Wanted } from "./wanted.ts";
import type { WireType } from "./wire_types.ts";

type WireStruct = WireType & { kind: "struct" };

/** A reader of structs; with a type asked for, of its fields and no other. */
export function structReader(
  readers: ReaderTable,
  wire: WireStruct,
  type: Wanted,
): Reader {
  fit(type, "struct");
  return type === undefined
    ? plainReader(readers, wire)
    : typedReader(readers, wire, type);
}

function plainReader(readers: ReaderTable, wire: WireStruct): Reader {
  const fields = wire.fields.filter(({ name }) => name !== NO_FIELD);
  const blank = new Blank(
    fields.length,
    () =>
      fields.map(({ name, id }) => {
        // Go sends every struct; what it leaves out is a nil pointer to one.
        const isStruct = readers.types.get(id).kind === "struct";
        const zero = (input: GobInput) =>
          isStruct ? null : readers.get(id, undefined).zero(input);
        return [name, zero] as const;
      }),
  );
  const reader = new FieldsReader(readers, wire, undefined);
  return {
    read: (input) => reader.read(input, (input) => blank.make(input)),
    zero: () => null,
  };
}

function typedReader(
  readers: ReaderTable,
  wire: WireStruct,
  type: GobType<unknown>,
): Reader {
  const { fields } = wire;
  const wanted = new Map(type.fields);
  const known = fields.some(({ name }) => wanted.has(name));
  if (fields.length > 0 && wanted.size > 0 && !known) {
    throw new GobError(
      `type mismatch: no fields matched compiling decoder for ${
        typeName(type)
      }`,
    );
  }
  const reader = new FieldsReader(readers, wire, wanted);
  const blank = (input: GobInput) => blankStruct(type, input);
  return { read: (input) => reader.read(input, blank), zero: blank };
}

/** Reads the fields that come over those of a blank struct; of those asked for, if that is said. */
class FieldsReader {
  readonly #table: ReaderTable;
  readonly #wire: WireStruct;
  /** The types asked for, by name. */
  readonly #wanted: ReadonlyMap<string, GobType<unknown>> | undefined;
  /** By the fields' numbers, as far as they have come. */
  readonly #readers: Reader[] = [];

  constructor(
    table: ReaderTable,
    wire: WireStruct,
    wanted: ReadonlyMap<string, GobType<unknown>> | undefined,
  ) {
    this.#table = table;
    this.#wire = wire;
    this.#wanted = wanted;
  }

  read(input: GobInput, blank: (input: GobInput) => Struct): Struct {
    input.enter();
    const struct = blank(input);
    const { fields } = this.#wire;
    let field = -1;
    for (;;) {
      const delta = input.small();
      if (delta === 0) break;
      field += delta;
      if (field >= fields.length) {
        throw new GobError(`field ${field} of a struct of ${fields.length}`);
      }
      const { name } = fields[field];
      const value = this.#field(field, input);
      const known = this.#wanted?.has(name) ?? name !== NO_FIELD;
      if (known) struct[name] = value;
    }
    input.leave();
    return struct;
  }

  /** Reads a field; if it is of another type, says so in Go's words. */
  #field(field: number, input: GobInput): unknown {
    const { name, id } = this.#wire.fields[field];
    const type = this.#wanted?.get(name);
    try {
      const reader = this.#readers[field] ??= this.#table.get(id, type);
      return reader.read(input);
    } catch (error) {
      if (type === undefined || !(error instanceof Mismatch)) throw error;
      throw new GobError(
        `wrong type (${
          typeName(type)
        }) for received field ${this.#wire.name}.${name}`,
      );
    }
  }
}
