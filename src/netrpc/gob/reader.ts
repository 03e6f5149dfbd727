/**
 * Readers of values: from a type as its sender has defined it, and the local
 * type if there is one, to an object that reads such values.
 *
 * Order and bounds:
 * - A value that is read fits the local type, or reading fails with a
 *   {@linkcode GobError}.
 * - A reader is created when a value first needs it, one level at a time. So a
 *   type definition costs nothing before its first value, however deeply it
 *   refers to itself.
 * - At most {@linkcode MAX_READERS} readers are kept.
 *
 * @module
 */

import { quote } from "../../base/errors.ts";
import { BASIC_TYPES } from "./infer.ts";
import { type GobInput, listBytes, SIZES } from "./input.ts";
import { MAX_NAME, unknownField } from "./scanner.ts";
import { type GobType, NO_FIELD, resolve, typeName } from "./schema.ts";
import {
  lazyReader,
  type LocalType,
  type ReaderTable,
  requireKind,
  throwMismatch,
  type ValueReader,
} from "./value_reader.ts";
import {
  Complex,
  decodeTime,
  GobError,
  Registered,
  TypeMismatch,
} from "./values.ts";
import {
  BOOL,
  BYTES,
  COMPLEX,
  FLOAT,
  INT,
  INTERFACE,
  skipDefinition,
  STRING,
  UINT,
  type WireType,
  type WireTypes,
} from "./wire_types.ts";
import {
  emptyBytes,
  emptyMap,
  type StructValue,
  zeroComplex,
  zeroList,
  zeroStruct,
  ZeroStructFactory,
  zeroTime,
} from "./zero_values.ts";

/** The number of readers that are kept for later values. */
const MAX_READERS = 4096;

/** The readers of one stream. */
export class ReaderCache implements ReaderTable {
  readonly types: WireTypes;
  readonly registered: ReadonlyMap<string, GobType>;
  /** By local type, then by the sender's id. */
  readonly #readers = new Map<LocalType, Map<number, ValueReader>>();
  #count = 0;

  constructor(
    types: WireTypes,
    registered: ReadonlyMap<string, GobType>,
  ) {
    this.types = types;
    this.registered = registered;
  }

  get(id: number, local: LocalType): ValueReader {
    // A sender may define thousands of types for each local type.
    if (this.#count >= MAX_READERS) this.#clear();
    let byId = this.#readers.get(local);
    if (byId === undefined) this.#readers.set(local, byId = new Map());
    let reader = byId.get(id);
    if (reader === undefined) {
      reader = this.#create(id, local);
      byId.set(id, reader);
      this.#count++;
    }
    return reader;
  }

  #clear(): void {
    this.#readers.clear();
    this.#count = 0;
  }

  value(input: GobInput, id: number, local: LocalType): unknown {
    if (this.types.get(id).kind !== "struct" && input.safeUint() !== 0) {
      throw new GobError("a value that is not a struct has a field number");
    }
    return this.get(id, local).read(input);
  }

  #create(id: number, local: LocalType): ValueReader {
    const wire = this.types.get(id);
    const type = local === undefined ? undefined : resolve(local);
    switch (wire.kind) {
      case "basic":
        return id === INTERFACE
          ? interfaceReader(this, type)
          : basicReader(id, type);
      case "slice":
      case "array":
        return listReader(this, wire, type);
      case "map":
        return mapReader(this, wire, type);
      case "struct":
        return structReader(this, wire, type);
      case "opaque":
        return opaqueReader(wire, type);
    }
  }
}

function basicReader(id: number, type: LocalType): ValueReader {
  const big = type?.big === true;
  switch (id) {
    case BOOL:
      requireKind(type, "bool");
      return { read: (input) => input.uint() !== 0, zero: () => false };
    case INT:
    case UINT: {
      requireKind(type, id === INT ? "int" : "uint");
      const read = id === INT
        ? (input: GobInput) => input.int()
        : (input: GobInput) => input.uint();
      if (type === undefined) return { read, zero: () => 0 };
      if (big) {
        return { read: (input) => BigInt(read(input)), zero: () => 0n };
      }
      return { read: (input) => toNumber(read(input)), zero: () => 0 };
    }
    case FLOAT:
      requireKind(type, "float");
      return { read: (input) => input.float(), zero: () => 0 };
    case STRING:
      requireKind(type, "string");
      return { read: (input) => input.text(), zero: () => "" };
    case BYTES:
      requireKind(type, "bytes");
      return { read: (input) => input.blob(), zero: emptyBytes };
    case COMPLEX:
      requireKind(type, "complex");
      return {
        read: (input) => {
          input.charge(0, SIZES.complex);
          return new Complex(input.float(), input.float());
        },
        zero: zeroComplex,
      };
    default:
      throw new GobError(`type ${id} has no values`);
  }
}

function toNumber(value: number | bigint): number {
  if (typeof value === "number") return value;
  throw new GobError(
    `the integer ${value} is outside ±(2^53 - 1); use int64 or uint64 for a bigint`,
  );
}

/** Reads bytes that a Go type has written itself; a time, if the local type or the sender's name of the type says so. */
function opaqueReader(
  wire: WireType & { kind: "opaque" },
  type: LocalType,
): ValueReader {
  if (type !== undefined && type.kind !== "time") requireKind(type, "opaque");
  const expected = type?.kind === "time";
  const named = wire.name === "Time" && wire.marshal === "gob";
  if (!expected && (type !== undefined || !named)) {
    return { read: (input) => input.blob(), zero: emptyBytes };
  }
  // A struct that embeds a time.Time writes the bytes of a time under its own
  // name, as GobEncoder or BinaryMarshaler.
  if (wire.marshal === "text") throwMismatch(type!);
  const read = (input: GobInput) => {
    const bytes = input.blob();
    const date = decodeTime(bytes);
    if (date === undefined && expected) {
      throw new GobError("a time is outside the range of Date, or invalid");
    }
    return date ?? bytes;
  };
  return { read, zero: zeroTime };
}

function listReader(
  readers: ReaderTable,
  wire: WireType & { kind: "slice" | "array" },
  type: LocalType,
): ValueReader {
  requireKind(type, wire.kind);
  const length = wire.kind === "array" ? wire.length : -1;
  if (type?.kind === "array" && type.length !== length) throwMismatch(type);
  const elem = lazyReader(readers, wire.elem, type?.elem?.());
  const read = (input: GobInput) => {
    const n = input.length();
    if (length >= 0 && n !== length) {
      throw new GobError(
        `an array of length ${length} has ${n} elements`,
      );
    }
    input.charge(n, listBytes(n));
    input.enter();
    const { read } = elem();
    const list = new Array(n);
    for (let i = 0; i < n; i++) list[i] = read(input);
    input.leave();
    return list;
  };
  // A slice that was left out is empty. Go leaves out no arrays.
  const n = Math.max(0, length);
  const zero = (input: GobInput) =>
    zeroList(input, n, (input) => elem().zero(input));
  return { read, zero };
}

function mapReader(
  readers: ReaderTable,
  wire: WireType & { kind: "map" },
  type: LocalType,
): ValueReader {
  requireKind(type, "map");
  const key = lazyReader(readers, wire.key, type?.key);
  const elem = lazyReader(readers, wire.elem, type?.elem?.());
  const read = (input: GobInput) => {
    const n = input.length();
    input.charge(2 * n, SIZES.map + SIZES.entry * n);
    input.enter();
    const map = new Map<unknown, unknown>();
    for (let i = 0; i < n; i++) {
      const name = key().read(input);
      map.set(name, elem().read(input));
    }
    input.leave();
    return map;
  };
  return { read, zero: emptyMap };
}

// Interfaces: a registered name, definitions of types that are new, the id of
// the value's type, the length of the value in bytes, and the value. A
// definition may end its message, and the value then continues in the next one,
// whose length stands where that of an inner part would. The scanner has joined
// such messages and read the definitions.

function interfaceReader(readers: ReaderTable, type: LocalType): ValueReader {
  requireKind(type, "any");
  return { read: (input) => readInterface(readers, input), zero: () => null };
}

/** Reads the value of an interface; `null` for `nil`. */
function readInterface(readers: ReaderTable, input: GobInput): unknown {
  const start = input.at;
  const name = input.text();
  if (name === "") return null;
  const size = input.at - start;
  // The length of the name takes up to three bytes.
  if (size > MAX_NAME + 3) {
    throw new GobError(`a registered name has more than ${MAX_NAME} bytes`);
  }
  let id = input.typeId();
  while (id < 0) {
    skipDefinition(input);
    // The length of what follows.
    input.safeUint();
    id = input.typeId();
  }
  input.length();
  input.enter();
  input.charge(1, SIZES.registered);
  const value = readConcrete(readers, input, name, id);
  input.leave();
  return BASIC_TYPES.has(name) ? value : new Registered(name, value);
}

/** Reads the value itself, as the local type of its registered name, if there is one. */
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
    if (type === undefined || !(error instanceof TypeMismatch)) throw error;
    const remote = readers.types.name(id);
    throw new GobError(
      `wrong type (${typeName(type)}) for ${
        quote(name)
      } in an interface; received ${remote}`,
    );
  }
}

// Structs: fields are sent by number, and fields that are zero are left out.

type WireStruct = WireType & { kind: "struct" };

function structReader(
  readers: ReaderTable,
  wire: WireStruct,
  type: LocalType,
): ValueReader {
  requireKind(type, "struct");
  return type === undefined
    ? wireStructReader(readers, wire)
    : localStructReader(readers, wire, type);
}

/** A reader of all fields that the sender's type has. */
function wireStructReader(
  readers: ReaderTable,
  wire: WireStruct,
): ValueReader {
  const fields = wire.fields.filter(({ name }) => name !== NO_FIELD);
  const factory = new ZeroStructFactory(
    fields.length,
    () =>
      fields.map(({ name, id }) => {
        // Go leaves out no structs: a missing one is a nil pointer.
        const isStruct = readers.types.get(id).kind === "struct";
        const zero = (input: GobInput) =>
          isStruct ? null : readers.get(id, undefined).zero(input);
        return [name, zero] as const;
      }),
  );
  const reader = new FieldsReader(readers, wire, undefined);
  return {
    read: (input) => reader.read(input, (input) => factory.make(input)),
    zero: () => null,
  };
}

/** A reader of the fields of a local type, and no others. */
function localStructReader(
  readers: ReaderTable,
  wire: WireStruct,
  type: GobType,
): ValueReader {
  const { fields } = wire;
  const local = new Map(type.fields);
  const matches = fields.some(({ name }) => local.has(name));
  if (fields.length > 0 && local.size > 0 && !matches) {
    throw new GobError(
      `type mismatch: no fields matched compiling decoder for ${
        typeName(type)
      }`,
    );
  }
  const reader = new FieldsReader(readers, wire, local);
  const zero = (input: GobInput) => zeroStruct(type, input);
  return { read: (input) => reader.read(input, zero), zero };
}

/** Reads the fields of a struct into one that is zero: those of the local type if there is one, else all. */
class FieldsReader {
  readonly #table: ReaderTable;
  readonly #wire: WireStruct;
  /** The local types by field name. */
  readonly #local: ReadonlyMap<string, GobType> | undefined;
  /** By field number, for the fields that were received so far. */
  readonly #readers: ValueReader[] = [];

  constructor(
    table: ReaderTable,
    wire: WireStruct,
    local: ReadonlyMap<string, GobType> | undefined,
  ) {
    this.#table = table;
    this.#wire = wire;
    this.#local = local;
  }

  read(input: GobInput, zero: (input: GobInput) => StructValue): StructValue {
    input.enter();
    const struct = zero(input);
    const { fields } = this.#wire;
    let field = -1;
    for (;;) {
      const delta = input.safeUint();
      if (delta === 0) break;
      field += delta;
      if (field >= fields.length) throw unknownField(field, fields.length);
      const { name } = fields[field];
      const value = this.#readField(field, input);
      const used = this.#local?.has(name) ?? name !== NO_FIELD;
      if (used) struct[name] = value;
    }
    input.leave();
    return struct;
  }

  /** Reads one field. If it has another type, the error is Go's. */
  #readField(field: number, input: GobInput): unknown {
    const { name, id } = this.#wire.fields[field];
    const type = this.#local?.get(name);
    try {
      const reader = this.#readers[field] ??= this.#table.get(id, type);
      return reader.read(input);
    } catch (error) {
      if (type === undefined || !(error instanceof TypeMismatch)) throw error;
      throw new GobError(
        `wrong type (${
          typeName(type)
        }) for received field ${this.#wire.name}.${name}`,
      );
    }
  }
}
