/**
 * Structs of plain values that may be of one Go type, in one layout.
 *
 * Go's decoder makes one function for each of its own types in a struct, from
 * the first description that it meets there, and reads every other value of
 * that type in the same struct by it, whatever the description of that one
 * says. So `{From: {X: 1}, To: {Y: 4}}`, described as two types, would reach
 * Go's `struct{ From, To Point }` as `To: {X: 4}`, without an error.
 *
 * Invariants owned here:
 * - All structs that stand in one struct (through slices and maps, but not
 *   through another struct) number their fields alike, so that a value of one
 *   is read rightly by the description of another. Where nothing contradicts
 *   it, they are one type.
 * - Fields stand in the order of their names: the order of an object's keys
 *   makes no other type.
 * - Types that a user gives are left as they are; but two in one struct that
 *   are called alike and laid out differently are refused.
 *
 * @module
 */

import { quote } from "../../base/errors.ts";
import { GobError } from "./values.ts";
import { join } from "./infer.ts";
import {
  type GobType,
  map,
  NO_FIELD,
  resolve,
  slice,
  structOf,
} from "./schema.ts";

type AnyType = GobType<unknown>;

/** The same type, with all structs in it aligned. */
export function aligned(type: AnyType): AnyType {
  return alignedAll([type])[0];
}

/** The types that stand beside each other in one struct. */
function alignedAll(types: readonly AnyType[]): readonly AnyType[] {
  const structs = types.flatMap(structsOf);
  if (structs.length === 0) return types;
  const layout = new Layout();
  for (const struct of structs) layout.add(struct);
  return types.map((type) => replaced(type, layout.types()));
}

/** The structs of a type that stand in no other struct of it. */
function structsOf(type: AnyType): AnyType[] {
  switch (type.kind) {
    case "struct":
      return [type];
    case "slice":
      return structsOf(type.elem!());
    case "map":
      return [...structsOf(type.key!), ...structsOf(type.elem!())];
    default:
      return [];
  }
}

function replaced(
  type: AnyType,
  structs: ReadonlyMap<AnyType, AnyType>,
): AnyType {
  switch (type.kind) {
    case "struct":
      return structs.get(type)!;
    case "slice":
      return slice(replaced(type.elem!(), structs));
    case "map":
      return map(
        replaced(type.key!, structs),
        replaced(type.elem!(), structs),
      );
    default:
      return type;
  }
}

/** The fields of structs that stand beside each other. */
class Layout {
  /** What each name is: one type, unless structs contradict each other. */
  readonly #columns = new Map<string, AnyType[]>();
  /** Which of them each struct has, by name. */
  readonly #choices = new Map<AnyType, Map<string, number>>();
  #types: Map<AnyType, AnyType> | undefined;

  add(struct: AnyType): void {
    const choices = new Map<string, number>();
    for (const [name, type] of struct.fields) {
      choices.set(name, this.#place(name, type));
    }
    this.#choices.set(struct, choices);
  }

  /** The first type of that name that this one can be joined to. */
  #place(name: string, type: AnyType): number {
    const known = this.#columns.get(name) ?? [];
    this.#columns.set(name, known);
    for (const [i, one] of known.entries()) {
      const both = join(one, type, undefined);
      if (both === undefined) continue;
      known[i] = both;
      return i;
    }
    return known.push(type) - 1;
  }

  /** What becomes of each struct; those that agree become one. */
  types(): ReadonlyMap<AnyType, AnyType> {
    return this.#types ??= this.#make();
  }

  #make(): Map<AnyType, AnyType> {
    const columns = [...this.#columns.keys()].sort().flatMap((name) =>
      this.#columns.get(name)!.map((type, choice) => ({ name, choice, type }))
    );
    const elems = alignedAll(columns.map(({ type }) => type));
    const made = new Map<string, AnyType>();
    const types = new Map<AnyType, AnyType>();
    for (const [struct, choices] of this.#choices) {
      // Of a name that a struct has not it gets the first type: if it is of the
      // Go type that wants another, Go says so and reads nothing wrongly.
      const fields = columns.map(({ name, choice }, i) => {
        const own = (choices.get(name) ?? 0) === choice;
        return [own ? name : NO_FIELD, elems[i]] as const;
      });
      const key = fields.map(([name]) => name).join();
      const type = made.get(key) ?? structOf(fields);
      made.set(key, type);
      types.set(struct, type);
    }
    return types;
  }
}

/**
 * Looks at the structs that stand in one whose type a user gave.
 *
 * @throws {GobError} If two of one name are laid out differently.
 */
export function checkNames({ fields }: AnyType): void {
  const byName = new Map<string, AnyType>();
  const seen = new Set<AnyType>();
  const look = (type: AnyType | undefined): void => {
    if (type === undefined) return;
    const at = resolve(type);
    if (seen.has(at)) return;
    seen.add(at);
    if (at.kind !== "struct") {
      look(at.key);
      look(at.elem?.());
      return;
    }
    if (at.name === "") return;
    const known = byName.get(at.name) ?? at;
    byName.set(at.name, known);
    if (isLaidOutAs(known, at, new Set())) return;
    throw new GobError(
      `two types are called ${
        quote(at.name)
      }, and Go would read both by the first; use one for both, or give them names of their own`,
    );
  };
  for (const [, type] of fields) look(type);
}

/** Whether two types' values are written alike; `assumed` are those that are being looked at. */
function isLaidOutAs(
  a: AnyType | undefined,
  b: AnyType | undefined,
  assumed: Set<AnyType>,
): boolean {
  if (a === undefined || b === undefined) return a === b;
  const [one, two] = [resolve(a), resolve(b)];
  if (one === two || assumed.has(one)) return true;
  assumed.add(one);
  return one.kind === two.kind && one.length === two.length &&
    one.fields.length === two.fields.length &&
    isLaidOutAs(one.key, two.key, assumed) &&
    isLaidOutAs(one.elem?.(), two.elem?.(), assumed) &&
    one.fields.every(([name, type], i) =>
      name === two.fields[i][0] && isLaidOutAs(type, two.fields[i][1], assumed)
    );
}
