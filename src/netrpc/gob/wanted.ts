/**
 * What readers have in common: the sender's type held against the one asked
 * for.
 *
 * @module
 */

import { GobError, Mismatch } from "./values.ts";
import type { GobInput } from "./input.ts";
import { type GobKind, type GobType, typeName } from "./schema.ts";
import type { WireTypes } from "./wire_types.ts";

/** Reads a value, and knows the one that was left out as zero. */
export interface Reader {
  read(input: GobInput): unknown;
  zero(input: GobInput): unknown;
}

/** The type asked for; undefined to take what comes. */
export type Wanted = GobType<unknown> | undefined;

/** Where readers are found. */
export interface ReaderTable {
  readonly types: WireTypes;
  /** What stands in interfaces, by the names it is registered with. */
  readonly registered: ReadonlyMap<string, GobType<unknown>>;
  /** The reader for values of the sender's type `id`, as `wanted`. */
  get(id: number, wanted: Wanted): Reader;
  /** Reads a value that stands by itself, behind its type's id. */
  value(input: GobInput, id: number, wanted: Wanted): unknown;
}

/** A reader that is made when first used. */
export function lazyReader(
  readers: ReaderTable,
  id: number,
  wanted: Wanted,
): () => Reader {
  let reader: Reader | undefined;
  return () => reader ??= readers.get(id, wanted);
}

/** Says that a type asked for must be of one kind. */
export function fit(type: Wanted, kind: GobKind): void {
  if (type !== undefined && type.kind !== kind) mismatch(type);
}

/** Says that it is of another. */
export function mismatch(type: GobType<unknown>): never {
  if (type.kind !== "struct") throw new Mismatch("a value of another type");
  const name = typeName(type);
  throw new GobError(
    `type mismatch in decoder: want struct type ${name}; got non-struct`,
  );
}
