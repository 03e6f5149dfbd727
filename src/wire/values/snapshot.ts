/**
 * A value in the form in which it is sent, fixed before it is known when, or how often, it is sent.
 *
 * @module
 */

import { isInstance } from "../../base/brand.ts";
import type { PlacedReference } from "../../base/references.ts";
import type { Serializer } from "../../types/connection.ts";

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
  /** What has made the bytes, if they are of no other kind of payload. */
  readonly serializer: Serializer | undefined;
  /** The most that it holds, in bytes: exact for bytes, for text what a string takes. */
  readonly size: number;

  constructor(
    kind: number,
    text: string | undefined,
    bytes: Uint8Array | undefined,
    references?: readonly PlacedReference[],
    serializer?: Serializer,
  ) {
    this.kind = kind;
    this.text = text;
    this.bytes = bytes;
    this.references = references;
    this.serializer = serializer;
    this.size = bytes?.length ?? 2 * (text as string).length;
  }

  /** The same with other references. */
  withReferences(references: readonly PlacedReference[]): Snapshot {
    const copy = Object.create(Object.getPrototypeOf(this));
    return Object.assign(copy, this, { references });
  }
}
