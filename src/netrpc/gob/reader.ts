/**
 * Readers: from a type as its sender describes it, and the type asked for if
 * there is one, to a function that reads a value.
 *
 * Invariants owned here:
 * - What is read fits the type asked for, or a {@linkcode GobError} is thrown.
 * - Readers are made when a first value needs them, one level at a time: what a
 *   sender describes costs nothing before, however deep it refers to itself.
 *
 * @module
 */

import {
  Complex,
  decodeTime,
  GobError,
  Mismatch,
  Registered,
} from "./values.ts";
import {
  Blank,
  blankStruct,
  noBytes,
  noMap,
  type Struct,
  zeroComplex,
  zeroList,
  zeroTime,
} from "./blank.ts";
import { type GobInput, listBytes, SIZES } from "./input.ts";

import { type GobType, NO_FIELD, resolve, typeName } from "./schema.ts";

import {
  fit,
  lazyReader,
  mismatch,
  type Reader,
  type ReaderTable,
  type Wanted,
} from "./wanted.ts";
import {
  BOOL,
  BYTES,
  COMPLEX,
  FLOAT,
  INT,
  INTERFACE,
  passDescription,
  STRING,
  UINT,
  type WireType,
  type WireTypes,
} from "./wire_types.ts";
import { BASICS } from "./infer.ts";
import { quote } from "../../base/errors.ts";
import { MAX_NAME } from "./scanner.ts";

/** Most readers that are kept for later values. */
const MAX_READERS = 4096;

/** The readers of one stream. */
export class Readers implements ReaderTable {
  readonly types: WireTypes;
  readonly registered: ReadonlyMap<string, GobType<unknown>>;
  /** By the type asked for, then by the sender's id. */
  readonly #readers = new Map<Wanted, Map<number, Reader>>();
  #count = 0;

  constructor(
    types: WireTypes,
    registered: ReadonlyMap<string, GobType<unknown>>,
  ) {
    this.types = types;
    this.registered = registered;
  }

  get(id: number, wanted: Wanted): Reader {
    // A sender may describe one type in thousands of ways, for each asked for.
    if (this.#count >= MAX_READERS) this.#forget();
    let byId = this.#readers.get(wanted);
    if (byId === undefined) this.#readers.set(wanted, byId = new Map());
    let reader = byId.get(id);
    if (reader === undefined) {
      reader = this.#make(id, wanted);
      byId.set(id, reader);
      this.#count++;
    }
    return reader;
  }

  #forget(): void {
    this.#readers.clear();
    this.#count = 0;
  }

  value(input: GobInput, id: number, wanted: Wanted): unknown {
    if (this.types.get(id).kind !== "struct" && input.small() !== 0) {
      throw new GobError("a value that is no struct, with a field's number");
    }
    return this.get(id, wanted).read(input);
  }

  #make(id: number, wanted: Wanted): Reader {
    const wire = this.types.get(id);
    const type = wanted === undefined ? undefined : resolve(wanted);
    switch (wire.kind) {
      case "basic":
        return id === INTERFACE ? this.#interface(type) : basicReader(id, type);
      case "slice":
      case "array":
        return this.#list(wire, type);
      case "map":
        return this.#map(wire, type);
      case "struct":
        return structReader(this, wire, type);
      case "opaque":
        return opaqueReader(wire, type);
    }
  }

  #interface(type: Wanted): Reader {
    fit(type, "any");
    return { read: (input) => readInterface(this, input), zero: () => null };
  }

  #list(wire: WireType & { kind: "slice" | "array" }, type: Wanted): Reader {
    fit(type, wire.kind);
    const length = wire.kind === "array" ? wire.length : -1;
    if (type?.kind === "array" && type.length !== length) mismatch(type);
    const elem = lazyReader(this, wire.elem, type?.elem?.());
    const read = (input: GobInput) => {
      const n = input.length();
      if (length >= 0 && n !== length) {
        throw new GobError(`an array of ${length} with ${n} elements`);
      }
      input.spend(n, listBytes(n));
      input.enter();
      const { read } = elem();
      const list = new Array(n);
      for (let i = 0; i < n; i++) list[i] = read(input);
      input.leave();
      return list;
    };
    // A slice that was left out is empty; Go always sends its arrays.
    const n = Math.max(0, length);
    const zero = (input: GobInput) =>
      zeroList(input, n, (input) => elem().zero(input));
    return { read, zero };
  }

  #map(wire: WireType & { kind: "map" }, type: Wanted): Reader {
    fit(type, "map");
    const key = lazyReader(this, wire.key, type?.key);
    const elem = lazyReader(this, wire.elem, type?.elem?.());
    const read = (input: GobInput) => {
      const n = input.length();
      input.spend(2 * n, SIZES.map + SIZES.entry * n);
      input.enter();
      const map = new Map<unknown, unknown>();
      for (let i = 0; i < n; i++) {
        const name = key().read(input);
        map.set(name, elem().read(input));
      }
      input.leave();
      return map;
    };
    return { read, zero: noMap };
  }
}

function basicReader(id: number, type: Wanted): Reader {
  const big = type?.big === true;
  switch (id) {
    case BOOL:
      fit(type, "bool");
      return { read: (input) => input.uint() !== 0, zero: () => false };
    case INT:
    case UINT: {
      fit(type, id === INT ? "int" : "uint");
      const read = id === INT
        ? (input: GobInput) => input.int()
        : (input: GobInput) => input.uint();
      if (type === undefined) return { read, zero: () => 0 };
      if (big) {
        return { read: (input) => BigInt(read(input)), zero: () => 0n };
      }
      return { read: (input) => asNumber(read(input)), zero: () => 0 };
    }
    case FLOAT:
      fit(type, "float");
      return { read: (input) => input.float(), zero: () => 0 };
    case STRING:
      fit(type, "string");
      return { read: (input) => input.text(), zero: () => "" };
    case BYTES:
      fit(type, "bytes");
      return { read: (input) => input.blob(), zero: noBytes };
    case COMPLEX:
      fit(type, "complex");
      return {
        read: (input) => {
          input.spend(0, SIZES.complex);
          return new Complex(input.float(), input.float());
        },
        zero: zeroComplex,
      };
    default:
      throw new GobError(`type ${id} has no values of its own`);
  }
}

function asNumber(value: number | bigint): number {
  if (typeof value === "number") return value;
  throw new GobError(`the integer ${value} is past 2^53`);
}

/** Bytes; or a time, if that is asked for, or the sender calls it so. */
function opaqueReader(
  wire: WireType & { kind: "opaque" },
  type: Wanted,
): Reader {
  if (type !== undefined && type.kind !== "time") fit(type, "opaque");
  const asked = type?.kind === "time";
  const named = wire.name === "Time" && wire.marshal === "gob";
  if (!asked && (type !== undefined || !named)) {
    return { read: (input) => input.blob(), zero: noBytes };
  }
  // A struct that embeds a time.Time makes a time's bytes under its own name.
  if (wire.marshal === "text") mismatch(type!);
  const read = (input: GobInput) => {
    const bytes = input.blob();
    const date = decodeTime(bytes);
    if (date === undefined && asked) {
      throw new GobError("a time that a Date cannot hold");
    }
    return date ?? bytes;
  };
  return { read, zero: zeroTime };
}

/** An interface's value; `null` for `nil`. */
export function readInterface(readers: ReaderTable, input: GobInput): unknown {
  const start = input.at;
  const name = input.text();
  if (name === "") return null;
  if (input.at - start > MAX_NAME + 3) {
    throw new GobError(`a registered name of over ${MAX_NAME} bytes`);
  }
  let id = input.typeId();
  while (id < 0) {
    passDescription(input);
    // The byte count of what follows.
    input.small();
    id = input.typeId();
  }
  input.length();
  input.enter();
  input.spend(1, SIZES.registered);
  const value = readConcrete(readers, input, name, id);
  input.leave();
  return BASICS.has(name) ? value : new Registered(name, value);
}

/** The value itself, as the type that its name is registered with, if it is. */
function readConcrete(
  readers: ReaderTable,
  input: GobInput,
  name: string,
  id: number,
): unknown {
  const type = readers.registered.get(name);
  try {
    return readers.value(input, id, type);
  } catch (error) {
    if (type === undefined || !(error instanceof Mismatch)) throw error;
    const remote = readers.types.name(id);
    throw new GobError(
      `wrong type (${typeName(type)}) for ${
        quote(name)
      } in an interface; received ${remote}`,
    );
  }
}

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
