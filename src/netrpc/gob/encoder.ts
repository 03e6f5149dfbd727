/**
 * Values to gob's messages.
 *
 * Invariants owned here:
 * - A type is described before its first value, once; ids count up from 65 and
 *   are this stream's alone.
 * - Plain values make no more than {@linkcode MAX_SHAPES} types.
 *
 * @module
 */

import { aligned, checkNames } from "./align.ts";
import { basicName, BASICS, infer, signature } from "./infer.ts";

import { GobError, Registered } from "./values.ts";
import { GOB_LIMITS } from "./input.ts";
import { GobOutput } from "./output.ts";
import { type GobType, NO_FIELD, resolve, structOf } from "./schema.ts";
import {
  BASIC_WRITERS,
  interfaceWriter,
  notA,
  opaqueWriter,
  timeWriter,
  type Writer,
} from "./writer.ts";

/** Most types that plain values of one stream may be; a method with a type makes but one. */
export const MAX_SHAPES = 1024;

/** Types by the names they are registered with in Go, for values in interfaces. */
export type RegisteredTypes = Readonly<Record<string, GobType<unknown>>>;

/** Writes one stream. */
export class GobEncoder {
  readonly #writers = new Map<GobType<unknown>, Writer>();
  /** Layouts by what values were found to be, and by themselves. */
  readonly #shapes = new Map<string, GobType<unknown>>();
  readonly #layouts = new Map<string, GobType<unknown>>();
  readonly #registered: ReadonlyMap<string, GobType<unknown>>;
  readonly #maxDepth: number;
  /** Descriptions that are due. */
  readonly #due = new GobOutput();
  #lastId = 64;

  constructor(
    registered: RegisteredTypes = {},
    maxDepth: number = GOB_LIMITS.maxDepth,
  ) {
    this.#registered = new Map(Object.entries(registered));
    this.#maxDepth = maxDepth;
  }

  /** Bytes of descriptions that must go before the next message. */
  get due(): Uint8Array | undefined {
    const { bytes, size } = this.#due;
    return size === 0 ? undefined : bytes.subarray(0, size);
  }

  /** They have been written. */
  described(): void {
    this.#due.clear();
  }

  /**
   * Writes the content of a value's message, without its byte count.
   *
   * @throws {GobError} If the value has no form in gob, or not the type's.
   */
  content(out: GobOutput, value: unknown, type?: GobType<unknown>): void {
    const writer = this.writer(type ?? this.#infer(value));
    out.int(writer.id);
    if (!writer.struct) out.byte(0);
    writer.write(out, value);
  }

  /** The writer of a type, which is described with the next message if it is new. */
  writer(type: GobType<unknown>): Writer {
    const at = resolve(type);
    return BASIC_WRITERS[at.kind] ?? this.#writers.get(at) ?? this.#make(at);
  }

  #infer(value: unknown): GobType<unknown> {
    if (value === undefined || value === null) return EMPTY_STRUCT;
    const type = infer(value, this.#maxDepth);
    if (type === undefined) {
      throw new GobError("what is empty says nothing of its elements' type");
    }
    if (BASIC_WRITERS[type.kind] !== undefined) return type;
    return this.#shape(type);
  }

  /** The one type object for all types that are the same. */
  #shape(type: GobType<unknown>): GobType<unknown> {
    const text = signature(type);
    const known = this.#shapes.get(text);
    if (known !== undefined) return known;
    const found = this.#layout(aligned(type));
    // Keys in another order, and the like: the same layout by another text.
    if (this.#shapes.size >= MAX_SHAPES) this.#shapes.clear();
    this.#shapes.set(text, found);
    return found;
  }

  #layout(type: GobType<unknown>): GobType<unknown> {
    const text = signature(type);
    const known = this.#layouts.get(text);
    if (known !== undefined) return known;
    if (this.#layouts.size >= MAX_SHAPES) {
      throw new GobError(
        `values of more than ${MAX_SHAPES} shapes; give the method a type`,
      );
    }
    this.#layouts.set(text, type);
    return type;
  }

  #make(type: GobType<unknown>): Writer {
    if (type.kind === "any") return this.#interface;
    const id = ++this.#lastId;
    const writer = this.#build(type, id);
    this.#writers.set(type, writer);
    describe(this.#due, id, type, (inner) => this.writer(inner).id);
    return writer;
  }

  #build(type: GobType<unknown>, id: number): Writer {
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

  #struct(type: GobType<unknown>, id: number): Writer {
    const { fields } = type;
    // Made when first used: a field may be of the very type being made.
    let writers: Writer[] | undefined;
    const write = (out: GobOutput, value: unknown) => {
      if (fields.length > 0 && (typeof value !== "object" || value === null)) {
        throw notA("an object", value);
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

  #fieldWriters(type: GobType<unknown>): Writer[] {
    checkNames(type);
    return type.fields.map(([, field]) => this.writer(field));
  }

  #map(type: GobType<unknown>, id: number): Writer {
    const write = (out: GobOutput, value: unknown) => {
      if (!(value instanceof Map)) throw notA("a Map", value);
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

  #list(type: GobType<unknown>, id: number): Writer {
    const fixed = type.kind === "array";
    const write = (out: GobOutput, value: unknown) => {
      if (!Array.isArray(value)) throw notA("an array", value);
      if (fixed && value.length !== type.length) {
        throw new GobError(
          `an array of ${type.length} with ${value.length} elements`,
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

  readonly #interface: Writer = interfaceWriter((out, value) => {
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

  /** The registered name of what stands in an interface, its type, and the value itself. */
  #concrete(value: unknown): [string, GobType<unknown>, unknown] {
    if (value instanceof Registered) {
      const { name, value: inner } = value;
      const type = this.#registered.get(name) ?? BASICS.get(name);
      return [name, type ?? this.#infer(inner), inner];
    }
    const type = this.#infer(value);
    const name = basicName(resolve(type));
    if (name !== undefined) return [name, type, value];
    throw new GobError(
      "a value in an interface that Go has no name for; use Registered",
    );
  }
}

/** What nothing is sent as: `struct{}`. */
const EMPTY_STRUCT: GobType<unknown> = structOf([]);

/**
 * Writes a gob stream of one value, as Go's `gob.NewEncoder(...).Encode` does.
 *
 * Without a type it is told by the value: whole numbers are `int`, others
 * `float64`, an object is a struct, a `Map` a map, a `Date` a `time.Time`.
 *
 * @throws {GobError} If the value has no form in gob, or not the type's.
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
  type?: GobType<unknown>,
  registered?: RegisteredTypes,
): Uint8Array<ArrayBuffer> {
  const encoder = new GobEncoder(registered);
  const message = new GobOutput();
  encoder.content(message, value, type);
  message.prefix(0);
  const stream = new GobOutput();
  if (encoder.due !== undefined) stream.raw(encoder.due);
  stream.raw(message.bytes.subarray(0, message.size));
  return stream.copy();
}

/** The number of each kind's description. */
const VARIANTS: Partial<Record<GobType<unknown>["kind"], number>> = {
  array: 1,
  slice: 2,
  struct: 3,
  map: 4,
  time: 5,
};

const MARSHALS = { gob: 5, binary: 6, text: 7 } as const;

/** Adds the description of type `id` to `due`; `idOf` may add those of the types it is made of, before it. */
export function describe(
  due: GobOutput,
  id: number,
  type: GobType<unknown>,
  idOf: (type: GobType<unknown>) => number,
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
  due.uint(out.size);
  due.raw(out.bytes.subarray(0, out.size));
}

/** A name, if there is one, and the type's id. */
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
  { fields }: GobType<unknown>,
  idOf: (type: GobType<unknown>) => number,
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
