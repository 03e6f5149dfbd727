/**
 * Gives structs that Go may take for one type the same fields in the same
 * order.
 *
 * Why: Go's decoder compiles one function for each of its own types in a
 * struct, from the first type definition that it meets there. It reads every
 * other value of that Go type in the same struct by this function, whatever the
 * definition of that value says. So `{From: {X: 1}, To: {Y: 4}}`, sent as two
 * types, would arrive in Go's `struct{ From, To Point }` as `To: {X: 4}`,
 * without an error.
 *
 * Order and bounds:
 * - All structs that stand in one struct, directly or in slices and maps but
 *   not in another struct, number their fields alike. So a value of one is read
 *   correctly by the definition of another. If no field contradicts it, they
 *   become one type.
 * - The fields stand in the order of their names, so the order of an object's
 *   keys does not create another type.
 * - Types that a user gives stay as they are. Two of them in one struct with
 *   the same name and different layouts are rejected.
 *
 * @module
 */

import { quote } from "../../base/errors.ts";
import { commonType } from "./infer.ts";
import {
  type GobType,
  map,
  NO_FIELD,
  resolve,
  slice,
  structOf,
} from "./schema.ts";
import { GobError } from "./values.ts";

/** Returns the same type, with a shared layout for the structs in it that stand beside each other. */
export function shareLayouts(type: GobType): GobType {
  return shareAll([type])[0];
}

/** Shares the layouts of types that stand in the same struct. */
function shareAll(types: readonly GobType[]): readonly GobType[] {
  const structs = types.flatMap(outerStructs);
  if (structs.length === 0) return types;
  const layout = new SharedLayout();
  for (const struct of structs) layout.add(struct);
  return types.map((type) => replaceStructs(type, layout.types()));
}

/** The structs of a type that are not inside another struct of it. */
function outerStructs(type: GobType): GobType[] {
  switch (type.kind) {
    case "struct":
      return [type];
    case "slice":
      return outerStructs(type.elem!());
    case "map":
      return [...outerStructs(type.key!), ...outerStructs(type.elem!())];
    default:
      return [];
  }
}

function replaceStructs(
  type: GobType,
  structs: ReadonlyMap<GobType, GobType>,
): GobType {
  switch (type.kind) {
    case "struct":
      return structs.get(type)!;
    case "slice":
      return slice(replaceStructs(type.elem!(), structs));
    case "map":
      return map(
        replaceStructs(type.key!, structs),
        replaceStructs(type.elem!(), structs),
      );
    default:
      return type;
  }
}

/** The fields of all structs that stand beside each other. */
class SharedLayout {
  /** The types of the fields of each name: one, unless structs contradict each other. */
  readonly #columns = new Map<string, GobType[]>();
  /** For each struct, the index of its type in the column of each name. */
  readonly #choices = new Map<GobType, Map<string, number>>();
  #types: Map<GobType, GobType> | undefined;

  add(struct: GobType): void {
    const choices = new Map<string, number>();
    for (const [name, type] of struct.fields) {
      choices.set(name, this.#addToColumn(name, type));
    }
    this.#choices.set(struct, choices);
  }

  /** Merges a type into the first one of its column with which it has a common type; returns the index. */
  #addToColumn(name: string, type: GobType): number {
    const column = this.#columns.get(name) ?? [];
    this.#columns.set(name, column);
    for (const [i, one] of column.entries()) {
      const both = commonType(one, type, undefined);
      if (both === undefined) continue;
      column[i] = both;
      return i;
    }
    return column.push(type) - 1;
  }

  /** The new type of each struct. Structs without a contradiction get the same one. */
  types(): ReadonlyMap<GobType, GobType> {
    return this.#types ??= this.#build();
  }

  #build(): Map<GobType, GobType> {
    const columns = [...this.#columns.keys()].sort().flatMap((name) =>
      this.#columns.get(name)!.map((type, choice) => ({ name, choice, type }))
    );
    const elems = shareAll(columns.map(({ type }) => type));
    const bySignature = new Map<string, GobType>();
    const types = new Map<GobType, GobType>();
    for (const [struct, choices] of this.#choices) {
      // For a name that a struct lacks it gets the first type of the column. If
      // its Go type has another type there, Go reports an error and reads
      // nothing wrongly.
      const fields = columns.map(({ name, choice }, i) => {
        const own = (choices.get(name) ?? 0) === choice;
        return [own ? name : NO_FIELD, elems[i]] as const;
      });
      const key = fields.map(([name]) => name).join();
      const type = bySignature.get(key) ?? structOf(fields);
      bySignature.set(key, type);
      types.set(struct, type);
    }
    return types;
  }
}

/**
 * Checks the structs inside a struct whose type a user gave.
 *
 * @throws {GobError} If two have the same name and different layouts.
 */
export function checkSameNames({ fields }: GobType): void {
  const byName = new Map<string, GobType>();
  const seen = new Set<GobType>();
  const visit = (type: GobType | undefined): void => {
    if (type === undefined) return;
    const at = resolve(type);
    if (seen.has(at)) return;
    seen.add(at);
    if (at.kind !== "struct") {
      visit(at.key);
      visit(at.elem?.());
      return;
    }
    if (at.name === "") return;
    const first = byName.get(at.name) ?? at;
    byName.set(at.name, first);
    if (hasSameLayout(first, at, new Set())) return;
    throw new GobError(
      `two different struct types in one struct are both named ${
        quote(at.name)
      }, and Go would read both as the first; use one type for both, or different names`,
    );
  };
  for (const [, type] of fields) visit(type);
}

/** Whether values of two types are written alike. `assumed` are the types whose comparison is under way. */
function hasSameLayout(
  a: GobType | undefined,
  b: GobType | undefined,
  assumed: Set<GobType>,
): boolean {
  if (a === undefined || b === undefined) return a === b;
  const [one, two] = [resolve(a), resolve(b)];
  if (one === two || assumed.has(one)) return true;
  assumed.add(one);
  return one.kind === two.kind && one.length === two.length &&
    one.fields.length === two.fields.length &&
    hasSameLayout(one.key, two.key, assumed) &&
    hasSameLayout(one.elem?.(), two.elem?.(), assumed) &&
    one.fields.every(([name, type], i) =>
      name === two.fields[i][0] &&
      hasSameLayout(type, two.fields[i][1], assumed)
    );
}
