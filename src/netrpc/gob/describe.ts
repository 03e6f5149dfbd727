/**
 * Describes a type to the other end, as a message of its own.
 *
 * @module
 */

import { GobOutput } from "./output.ts";
import type { GobType } from "./schema.ts";

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
