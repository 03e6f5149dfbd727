/**
 * How references to the results of other calls are noticed among params.
 *
 * A reference is a Proxy that `ref()` makes. JSON encodes it as `null`, and it
 * counts how often that happened: so a call without references pays for two
 * reads of a number, and no value is searched for them. Only where the count has
 * changed are the params searched.
 *
 * All copies of the library in a process share the count.
 *
 * @module
 */

import { shared } from "./brand.ts";

/** Read from a reference, gives its {@linkcode ReferenceTarget}. */
export const REFERENCE: unique symbol = /* @__PURE__ */ shared(
  "reference",
) as never;

/** What a reference stands for. */
export interface ReferenceTarget {
  /** The way to the value within the result: keys, and indices as decimal text. */
  readonly path: readonly string[];
}

/** A reference, and where it stands in the params. */
export interface PlacedReference {
  /** The way to the reference within the params; empty if it is the whole of them. */
  readonly place: readonly string[];
  readonly target: ReferenceTarget;
}

/** What the encoders of values and `ref()` know of each other. The copy of the library whose `ref()` is called first sets the functions, for all copies. */
export interface References {
  /** References encoded so far. */
  met: number;
  /** Finds the references of a value; undefined until `ref()` has been called once. */
  find: ((value: unknown) => PlacedReference[]) | undefined;
  /** Links a call to those that its params refer to, and returns what to encode in their place; `held` says that the call must wait for results. */
  link:
    | ((
      call: object,
      calls: object,
      params: unknown,
    ) => { readonly held: boolean; readonly value: unknown })
    | undefined;
  /** What the handle of a call stands for as the source of results. */
  sourceOf: ((handle: object) => object) | undefined;
  /** Returns a value with `null` in the place of each reference, and counts those as met. For a serializer that does not know references. */
  blank: (value: unknown) => unknown;
}

const KEY = /* @__PURE__ */ shared("references");

/** Shared by all copies of the library. */
export const references: References = /* @__PURE__ */ (() =>
  (globalThis as unknown as Record<symbol, References>)[KEY] ??= {
    met: 0,
    find: undefined,
    link: undefined,
    sourceOf: undefined,
    blank: (value) => value,
  })();

/** What a reference stands for; undefined for any other value. */
export function targetOf(value: unknown): ReferenceTarget | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as { [REFERENCE]?: ReferenceTarget })[REFERENCE];
}
