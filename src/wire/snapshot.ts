/**
 * A value in the form in which it is sent, fixed before it is known when, or how often, it is sent.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import type { PlacedReference } from "../base/references.ts";

/**
 * A value in its wire form: what is sent of it, however late or often, is what
 * it was when this was made.
 */
export class Snapshot {
  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "Snapshot";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, Snapshot);
  }

  readonly kind: number;
  readonly text: string | undefined;
  readonly bytes: Uint8Array | undefined;
  /** The references in it: the value has `null` in their places. */
  readonly references: readonly PlacedReference[] | undefined;
  /** The most that it holds, in bytes: exact for bytes, for text what a string takes. */
  readonly size: number;

  constructor(
    kind: number,
    text: string | undefined,
    bytes: Uint8Array | undefined,
    references?: readonly PlacedReference[],
  ) {
    this.kind = kind;
    this.text = text;
    this.bytes = bytes;
    this.references = references;
    this.size = bytes?.length ?? 2 * (text as string).length;
  }
}
