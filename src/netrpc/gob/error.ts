/**
 * What is thrown for gob that cannot be read, or values that cannot be written.
 *
 * @module
 */

import { brand } from "../../base/brand.ts";

/** Bytes that are no gob, or do not fit the type asked for; or a value that has no form in gob. */
export class GobError extends Error {
  /** The class name, fixed so that minifying does not change it. */
  override readonly name: string = "GobError";

  static {
    brand(this, "GobError");
  }
}

/** What the sender has is not of the type asked for; who reads it says where. */
export class Mismatch extends GobError {}
