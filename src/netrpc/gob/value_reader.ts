/**
 * What all readers of values have in common: their interface, and the check of
 * the sender's type against the local type, which is the type that the receiver
 * expects.
 *
 * @module
 */

import type { GobInput } from "./input.ts";
import { type GobKind, type GobType, typeName } from "./schema.ts";
import { GobError, TypeMismatch } from "./values.ts";
import type { WireTypes } from "./wire_types.ts";

/** Reads values of one type, and creates the zero value that stands for one that was left out. */
export interface ValueReader {
  read(input: GobInput): unknown;
  zero(input: GobInput): unknown;
}

/** The type that the receiver expects; `undefined` if any type is accepted. */
export type LocalType = GobType | undefined;

/** Finds the reader of a type. */
export interface ReaderTable {
  /** The types that the sender has defined. */
  readonly types: WireTypes;
  /** Local types of values in interfaces, by the names under which Go has registered them. */
  readonly registered: ReadonlyMap<string, GobType>;
  /** Returns the reader that turns values of the sender's type `id` into values of the local type. */
  get(id: number, local: LocalType): ValueReader;
  /** Reads a value at the top level, behind its type's id: of a message or of an interface. */
  value(input: GobInput, id: number, local: LocalType): unknown;
}

/** Returns a function that looks a reader up when it is first called. */
export function lazyReader(
  readers: ReaderTable,
  id: number,
  local: LocalType,
): () => ValueReader {
  let reader: ValueReader | undefined;
  return () => reader ??= readers.get(id, local);
}

/**
 * Checks that a local type, if there is one, is of the sender's kind.
 *
 * @throws {GobError} If it is of another kind.
 */
export function requireKind(type: LocalType, kind: GobKind): void {
  if (type !== undefined && type.kind !== kind) throwMismatch(type);
}

/** Throws the error for a value of another type than the local one. */
export function throwMismatch(type: GobType): never {
  if (type.kind !== "struct") {
    throw new TypeMismatch("the value is of another type");
  }
  const name = typeName(type);
  // The text is that of Go.
  throw new GobError(
    `type mismatch in decoder: want struct type ${name}; got non-struct`,
  );
}
