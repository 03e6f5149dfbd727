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

/**
 * What the encoders of values and `ref()` know of each other. The copy of the
 * library whose `ref()` is called first sets the functions, for all copies.
 */
export interface References {
  /** References encoded so far. */
  met: number;
  /** Finds the references of a value. Throws if there are not `count` of them, where that is known: one is where no path leads. */
  find?: (value: unknown, count?: number) => PlacedReference[];
  /** Links a call to those that its params refer to, and prepares what is sent of them. */
  link?: (call: object, calls: object, params: unknown) => void;
  /** What the handle of a call stands for as the source of results. */
  sourceOf?: (handle: object) => object;
  /** Returns what a serializer is given: a value with `null` in the place of each reference, unless it knows references. */
  blank?: (value: unknown, serializer?: object) => unknown;
}

const KEY = /* @__PURE__ */ shared("references");

/** Shared by all copies of the library. */
export const references: References =
  /* @__PURE__ */ (() =>
    (globalThis as unknown as Record<symbol, References>)[KEY] ??= {
      met: 0,
    })();

/**
 * Checks that no reference was encoded in a result or an item; `met` is how
 * many had been encoded before.
 *
 * @throws {TypeError} If one was.
 */
export function refuseReferences(met: number): void {
  if (references.met === met) return;
  throw new TypeError("a reference stands for a value in params alone");
}

/** What a reference stands for; undefined for any other value. */
export function targetOf(value: unknown): ReferenceTarget | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as { [REFERENCE]?: ReferenceTarget })[REFERENCE];
}
