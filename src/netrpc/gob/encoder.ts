/**
 * Writes values as gob messages, and the definitions of their types.
 *
 * Order and bounds:
 * - The definition of a type is written once, before the first value of the
 *   type. Ids belong to one stream and count up from 65.
 * - Values without a type create at most {@linkcode MAX_INFERRED_TYPES} types
 *   on one stream.
 *
 * @module
 */

import { BASIC_TYPES, basicName, inferType, signature } from "./infer.ts";
import { GOB_LIMITS } from "./input.ts";
import { GobOutput } from "./output.ts";
import {
  type GobKind,
  type GobType,
  NO_FIELD,
  resolve,
  structOf,
} from "./schema.ts";
import { checkSameNames, shareLayouts } from "./struct_layout.ts";
import { GobError, Registered } from "./values.ts";
import {
  BASIC_WRITERS,
  interfaceWriter,
  opaqueWriter,
  timeWriter,
  type ValueWriter,
  wrongValue,
} from "./writer.ts";

/** How many types one stream may have for values without a type. */
export const MAX_INFERRED_TYPES = 1024;

/**
 * The types of values in interfaces, by the names under which Go has registered
 * them (`gob.Register`), such as `{ "main.Point": Point }`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, float, Registered, type RegisteredTypes, struct } from "@sluice/rpc/netrpc";
 *
 * const Point = struct({ X: float, Y: float }, "Point");
 * const registered: RegisteredTypes = { "main.Point": Point };
 * const value = { Shape: new Registered("main.Point", { X: 1, Y: 2 }) };
 * const bytes = encodeGob(value, undefined, registered);
 * assertEquals(decodeGob(bytes, undefined, {}, registered), value);
 * ```
 */
export type RegisteredTypes = Readonly<Record<string, GobType>>;

/** Encodes the values of one stream. */
export class GobEncoder {
  readonly #writers = new Map<GobType, ValueWriter>();
  /** The type that stands for all inferred types of one signature. */
  readonly #bySignature = new Map<string, GobType>();
  /** The same by the signature after structs were given shared layouts. */
  readonly #byLayout = new Map<string, GobType>();
  readonly #registered: ReadonlyMap<string, GobType>;
  readonly #maxDepth: number;
  /** Type definitions that are not written yet. */
  readonly #definitions = new GobOutput();
  #lastId = 64;

  constructor(
    registered: RegisteredTypes = {},
    maxDepth: number = GOB_LIMITS.maxDepth,
  ) {
    this.#registered = new Map(Object.entries(registered));
    this.#maxDepth = maxDepth;
  }

  /** The type definitions that must be written before the next message; `undefined` if there are none. */
  get definitions(): Uint8Array | undefined {
    const { bytes, size } = this.#definitions;
    return size === 0 ? undefined : bytes.subarray(0, size);
  }

  /** Drops the definitions, once they are written. */
  clearDefinitions(): void {
    this.#definitions.clear();
  }

  /**
   * Writes the message of a value, without the length of the message.
   *
   * @throws {GobError} If gob cannot represent the value, or it is not of the
   * type.
   */
  encode(out: GobOutput, value: unknown, type?: GobType): void {
    const writer = this.writer(type ?? this.#infer(value));
    out.int(writer.id);
    if (!writer.struct) out.byte(0);
    writer.write(out, value);
  }

  /** Returns the writer of a type. If the type is new, its definition is added to `definitions`. */
  writer(type: GobType): ValueWriter {
    const at = resolve(type);
    return BASIC_WRITERS[at.kind] ?? this.#writers.get(at) ?? this.#define(at);
  }

  #infer(value: unknown): GobType {
    if (value === undefined || value === null) return EMPTY_STRUCT;
    const type = inferType(value, this.#maxDepth);
    if (type === undefined) {
      throw new GobError(
        "an empty array or Map does not determine the type of its elements; give the value a type",
      );
    }
    if (BASIC_WRITERS[type.kind] !== undefined) return type;
    return this.#canonical(type);
  }

  /** Returns the one object that stands for all equal types. */
  #canonical(type: GobType): GobType {
    const text = signature(type);
    const known = this.#bySignature.get(text);
    if (known !== undefined) return known;
    const found = this.#canonicalLayout(shareLayouts(type));
    // Several signatures can lead to one layout, such as with keys in another
    // order, so this map may outgrow the other one.
    if (this.#bySignature.size >= MAX_INFERRED_TYPES) this.#bySignature.clear();
    this.#bySignature.set(text, found);
    return found;
  }

  #canonicalLayout(type: GobType): GobType {
    const text = signature(type);
    const known = this.#byLayout.get(text);
    if (known !== undefined) return known;
    if (this.#byLayout.size >= MAX_INFERRED_TYPES) {
      throw new GobError(
        `values without a type have more than ${MAX_INFERRED_TYPES} different shapes; give the method a type`,
      );
    }
    this.#byLayout.set(text, type);
    return type;
  }

  #define(type: GobType): ValueWriter {
    if (type.kind === "any") return this.#interface;
    const id = ++this.#lastId;
    const writer = this.#create(type, id);
    this.#writers.set(type, writer);
    writeDefinition(
      this.#definitions,
      id,
      type,
      (inner) => this.writer(inner).id,
    );
    return writer;
  }

  #create(type: GobType, id: number): ValueWriter {
    switch (type.kind) {
      case "time":
        return timeWriter(id);
      case "opaque":
        return opaqueWriter(id);
      case "struct":
        return this.#struct(type, id);
      case "map":
        return this.#map(type, id);
      default:
        return this.#list(type, id);
    }
  }

  #struct(type: GobType, id: number): ValueWriter {
    const { fields } = type;
    // Created with the first value, as a field may be of this very type.
    let writers: ValueWriter[] | undefined;
    const write = (out: GobOutput, value: unknown) => {
      if (fields.length > 0 && (typeof value !== "object" || value === null)) {
        throw wrongValue("an object", value);
      }
      writers ??= this.#fieldWriters(type);
      out.enter(this.#maxDepth);
      let last = -1;
      for (let i = 0; i < fields.length; i++) {
        const [name] = fields[i];
        if (name === NO_FIELD) continue;
        const member = (value as Record<string, unknown>)[name];
        if (member === undefined || member === null) continue;
        if (writers[i].isZero(member)) continue;
        out.uint(i - last);
        writers[i].write(out, member);
        last = i;
      }
      out.byte(0);
      out.leave();
    };
    return { id, struct: true, write, isZero: () => false };
  }

  #fieldWriters(type: GobType): ValueWriter[] {
    checkSameNames(type);
    return type.fields.map(([, field]) => this.writer(field));
  }

  #map(type: GobType, id: number): ValueWriter {
    const write = (out: GobOutput, value: unknown) => {
      if (!(value instanceof Map)) throw wrongValue("a Map", value);
      const key = this.writer(type.key!);
      const elem = this.writer(type.elem!());
      out.enter(this.#maxDepth);
      out.uint(value.size);
      for (const [k, v] of value) {
        key.write(out, k);
        elem.write(out, v);
      }
      out.leave();
    };
    return { id, struct: false, write, isZero: () => false };
  }

  #list(type: GobType, id: number): ValueWriter {
    const fixed = type.kind === "array";
    const write = (out: GobOutput, value: unknown) => {
      if (!Array.isArray(value)) throw wrongValue("an array", value);
      if (fixed && value.length !== type.length) {
        throw new GobError(
          `an array has ${value.length} elements, but its type has length ${type.length}`,
        );
      }
      const elem = this.writer(type.elem!());
      out.enter(this.#maxDepth);
      out.uint(value.length);
      for (const item of value) elem.write(out, item);
      out.leave();
    };
    const isZero = (value: unknown) =>
      !fixed && Array.isArray(value) && value.length === 0;
    return { id, struct: false, write, isZero };
  }

  readonly #interface: ValueWriter = interfaceWriter((out, value) => {
    const [name, type, inner] = this.#concrete(value);
    const writer = this.writer(type);
    out.enter(this.#maxDepth);
    out.text(name);
    out.int(writer.id);
    const start = out.size;
    if (!writer.struct) out.byte(0);
    writer.write(out, inner);
    out.prefix(start);
    out.leave();
  });

  /** Returns the registered name of a value in an interface, its type, and the value itself. */
  #concrete(value: unknown): [string, GobType, unknown] {
    if (value instanceof Registered) {
      const { name, value: inner } = value;
      const type = this.#registered.get(name) ?? BASIC_TYPES.get(name);
      return [name, type ?? this.#infer(inner), inner];
    }
    const type = this.#infer(value);
    const name = basicName(resolve(type));
    if (name !== undefined) return [name, type, value];
    throw new GobError(
      "Go has no registered name for a value in an interface; wrap the value in Registered",
    );
  }
}

/** What `null` and `undefined` are sent as: `struct{}`. */
const EMPTY_STRUCT: GobType = /* @__PURE__ */ structOf([]);

/**
 * Returns a gob stream of one value, like Go's `gob.NewEncoder(w).Encode(v)`.
 *
 * Without a type, the value determines it: a whole number is an `int`, another
 * number a `float64`, an object a struct, a `Map` a map, an array a slice, a
 * `Date` a `time.Time`, `null` a `struct{}`. The names of an object's members
 * must be exported in Go, that is begin with an upper-case letter.
 *
 * @param value The value to encode.
 * @param type Its Go type.
 * @param registered The types of {@linkcode Registered} values in it.
 * @throws {GobError} If gob cannot represent the value, or it is not of the
 * type.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { encodeGob } from "@sluice/rpc/netrpc";
 *
 * assertEquals([...encodeGob("hi")], [5, 12, 0, 2, 104, 105]);
 * ```
 */
export function encodeGob(
  value: unknown,
  type?: GobType,
  registered?: RegisteredTypes,
): Uint8Array<ArrayBuffer> {
  const encoder = new GobEncoder(registered);
  const message = new GobOutput();
  encoder.encode(message, value, type);
  message.prefix(0);
  const stream = new GobOutput();
  if (encoder.definitions !== undefined) stream.raw(encoder.definitions);
  stream.raw(message.bytes.subarray(0, message.size));
  return stream.copy();
}

// Type definitions. A definition is a value of Go's struct `wireType`, which has
// one field for each kind of type; see wire_types.ts, which reads them.

/** The number of the field of `wireType` for each kind. */
const VARIANTS: Partial<Record<GobKind, number>> = {
  array: 1,
  slice: 2,
  struct: 3,
  map: 4,
  time: 5,
};

/** The same for opaque types. */
const MARSHALS = { gob: 5, binary: 6, text: 7 } as const;

/** Appends the definition of type `id` to `stream`. `idOf` may append the definitions of other types first. */
function writeDefinition(
  stream: GobOutput,
  id: number,
  type: GobType,
  idOf: (type: GobType) => number,
): void {
  const out = new GobOutput();
  out.int(-id);
  out.uint(VARIANTS[type.kind] ?? MARSHALS[type.marshal]);
  out.byte(1);
  writeName(out, type.name, id);
  switch (type.kind) {
    case "array":
      writeId(out, idOf(type.elem!()));
      out.byte(1);
      out.int(type.length);
      break;
    case "slice":
      writeId(out, idOf(type.elem!()));
      break;
    case "map":
      writeId(out, idOf(type.key!));
      writeId(out, idOf(type.elem!()));
      break;
    case "struct":
      writeFields(out, type, idOf);
      break;
    default:
  }
  out.byte(0);
  out.byte(0);
  stream.uint(out.size);
  stream.raw(out.bytes.subarray(0, out.size));
}

/** Writes the common part: the name, if there is one, and the id of the type. */
function writeName(out: GobOutput, name: string, id: number): void {
  if (name === "") out.byte(2);
  else {
    out.byte(1);
    out.text(name);
    out.byte(1);
  }
  out.int(id);
  out.byte(0);
}

function writeId(out: GobOutput, id: number): void {
  out.byte(1);
  out.int(id);
}

function writeFields(
  out: GobOutput,
  { fields }: GobType,
  idOf: (type: GobType) => number,
): void {
  if (fields.length === 0) return;
  out.byte(1);
  out.uint(fields.length);
  for (const [name, field] of fields) {
    out.byte(1);
    out.text(name);
    writeId(out, idOf(field));
    out.byte(0);
  }
}
