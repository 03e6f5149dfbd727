/**
 * Values that were left out: zero, as Go has it.
 *
 * Invariants owned here:
 * - What a value takes is spent before it is made.
 * - What can be changed is made anew each time; all else is copied in one step,
 *   from a struct that was made once.
 *
 * @module
 */

import { type GobInput, listBytes, SIZES, structBytes } from "./input.ts";
import { type GobType, isOptional, resolve } from "./schema.ts";
import { Complex, ZERO_TIME } from "./values.ts";

/** A struct as it is read. */
export type Struct = Record<string, unknown>;

/** Makes the zero of a field. */
type Zero = (input: GobInput) => unknown;

/** Makes structs whose fields are all zero. */
export class Blank {
  readonly #size: number;
  readonly #zeros: () => Iterable<readonly [string, Zero]>;
  #pattern: Struct | undefined;
  /** The fields whose zero can be changed. */
  readonly #fresh: (readonly [string, Zero])[] = [];

  /**
   * @param size How many fields.
   * @param zeros Their names and zeros; asked for once.
   */
  constructor(size: number, zeros: () => Iterable<readonly [string, Zero]>) {
    this.#size = size;
    this.#zeros = zeros;
  }

  /** A struct of its own. */
  make(input: GobInput): Struct {
    input.spend(this.#size, structBytes(this.#size));
    const struct = { ...(this.#pattern ??= this.#learn(input)) };
    for (const [name, zero] of this.#fresh) struct[name] = zero(input);
    return struct;
  }

  /** By way of JSON: engines keep a copy of what comes from there in a sixth of the memory of one that was filled field by field. */
  #learn(input: GobInput): Struct {
    const pattern: Struct = {};
    for (const [name, zero] of this.#zeros()) {
      const value = zero(input);
      // A bigint cannot be changed, but has no form in JSON.
      const fixed = value === null ||
        typeof value !== "object" && typeof value !== "bigint";
      if (!fixed) this.#fresh.push([name, zero]);
      pattern[name] = fixed ? value : null;
    }
    return JSON.parse(JSON.stringify(pattern)) as Struct;
  }
}

/** By the type; a type is made once by its user. */
const BLANKS = new WeakMap<GobType<unknown>, Blank>();

/** A struct of a type that was asked for, all zero. */
export function blankStruct(type: GobType<unknown>, input: GobInput): Struct {
  let blank = BLANKS.get(type);
  if (blank === undefined) {
    const { fields } = type;
    blank = new Blank(
      fields.length,
      () =>
        fields.map(([name, field]) =>
          [name, (input: GobInput) => blankValue(field, input)] as const
        ),
    );
    BLANKS.set(type, blank);
  }
  input.enter();
  const struct = blank.make(input);
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
      return zeroComplex(input);
    case "string":
      return "";
    case "bytes":
    case "opaque":
      return noBytes(input);
    case "time":
      return zeroTime(input);
    case "slice":
      return zeroList(input, 0, zeroTime);
    case "array": {
      const elem = at.elem!();
      return zeroList(input, at.length, (input) => blankValue(elem, input));
    }
    case "map":
      return noMap(input);
    case "struct":
      return blankStruct(at, input);
    default:
      return null;
  }
}

/** A list of `n` zeros. */
export function zeroList(input: GobInput, n: number, zero: Zero): unknown[] {
  input.spend(n, listBytes(n));
  const list = new Array(n);
  for (let i = 0; i < n; i++) list[i] = zero(input);
  return list;
}

/** An empty map. */
export function noMap(input: GobInput): Map<unknown, unknown> {
  input.spend(0, SIZES.map);
  return new Map();
}

/** No bytes. */
export function noBytes(input: GobInput): Uint8Array<ArrayBuffer> {
  input.spend(0, SIZES.bytes);
  return new Uint8Array();
}

/** The complex number 0. */
export function zeroComplex(input: GobInput): Complex {
  input.spend(0, SIZES.complex);
  return new Complex(0, 0);
}

/** Go's zero time. */
export function zeroTime(input: GobInput): Date {
  input.spend(0, SIZES.date);
  return new Date(ZERO_TIME);
}
