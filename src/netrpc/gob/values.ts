/**
 * Values of Go's that JavaScript has no word for.
 *
 * @module
 */

import { brand } from "../../base/brand.ts";

/** A complex number. */
export class Complex {
  /** The real part. */
  readonly re: number;
  /** The imaginary part. */
  readonly im: number;

  static {
    brand(this, "Complex");
  }

  /** Makes one. */
  constructor(re: number, im: number) {
    this.re = re;
    this.im = im;
  }
}

/**
 * A value in an interface, by the name its type was registered with in Go
 * (`gob.Register`), such as `main.Point`.
 *
 * Go's basic types and slices of them need none: they stand as they are.
 */
export class Registered<T = unknown> {
  /** The registered name. */
  readonly name: string;
  /** The value. */
  readonly value: T;

  static {
    brand(this, "Registered");
  }

  /** Makes one. */
  constructor(name: string, value: T) {
    this.name = name;
    this.value = value;
  }
}
