/**
 * Go values that JavaScript has no type for, the errors of this folder, and
 * `time.Time` in bytes.
 *
 * @module
 */

import { isInstance } from "../../base/brand.ts";

/**
 * A complex number: Go's `complex64` or `complex128`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Complex, decodeGob, encodeGob } from "@sluice/rpc/netrpc";
 *
 * const value = new Complex(1, -2); // 1 - 2i
 * assertEquals(decodeGob(encodeGob(value)), value);
 * ```
 */
export class Complex {
  /** The real part. */
  readonly re: number;
  /** The imaginary part. */
  readonly im: number;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "Complex";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, Complex);
  }

  /** Creates the complex number `re + im i`. */
  constructor(re: number, im: number) {
    this.re = re;
    this.im = im;
  }
}

/**
 * A value in a Go interface, together with the name that Go has registered its
 * type under.
 *
 * Go sends a type in an interface by the name given to `gob.Register`, such as
 * `main.Point`. Values of Go's basic types, and slices of those, are sent and
 * received as they are and need no `Registered`, because package gob registers
 * them itself.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob, Registered } from "@sluice/rpc/netrpc";
 *
 * const value = { Shape: new Registered("main.Point", { X: 1, Y: 2 }) };
 * assertEquals(decodeGob(encodeGob(value)), value);
 * ```
 */
export class Registered<T = unknown> {
  /** The registered name. */
  readonly name: string;
  /** The value in the interface. */
  readonly value: T;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "Registered";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, Registered);
  }

  /** Pairs a value with the registered name of its Go type. */
  constructor(name: string, value: T) {
    this.name = name;
    this.value = value;
  }
}

/**
 * The error for bytes that are not valid gob, for bytes that do not fit the
 * expected type or exceed a limit, and for values that gob cannot represent.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { decodeGob, encodeGob, GobError } from "@sluice/rpc/netrpc";
 *
 * assertThrows(() => decodeGob(Uint8Array.of(0)), GobError, "empty message");
 * assertThrows(() => encodeGob(new Set()), GobError, "Set");
 * ```
 */
export class GobError extends Error {
  /** The class name, fixed so that minifying does not change it. */
  override readonly name: string = "GobError";

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "GobError";
  }

  /** True also for an instance that another copy of the library has made. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, GobError);
  }
}

/** The sender's type is not the expected one. The caller that knows where the value stands replaces it by an error that says so. */
export class TypeMismatch extends GobError {}

// time.Time, as its method `GobEncode` writes it: one byte of version, the
// seconds since the year 1 (8 bytes), the nanoseconds (4 bytes), and the offset
// of the time zone in minutes (2 bytes; -1 is UTC). Version 2 has one more byte,
// the seconds of the offset.

/** Seconds from the year 1 to the year 1970. */
const UNIX_EPOCH = 62135596800;
const TWO_32 = 0x100000000;

/** Go's zero time, the beginning of the year 1, in milliseconds since 1970. */
export const ZERO_TIME = -UNIX_EPOCH * 1000;

/** Returns the bytes of a time, in version 1 and UTC; `undefined` for an invalid `Date`. */
export function encodeTime(date: Date): Uint8Array | undefined {
  const millis = date.getTime();
  if (Number.isNaN(millis)) return undefined;
  const seconds = Math.floor(millis / 1000);
  const bytes = new Uint8Array(15);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setBigInt64(1, BigInt(seconds + UNIX_EPOCH));
  view.setInt32(9, (millis - seconds * 1000) * 1_000_000);
  view.setInt16(13, -1);
  return bytes;
}

/** Reads the bytes of a time, of version 1 or 2. Returns `undefined` if they are not a time, or one outside the range of `Date`. */
export function decodeTime(bytes: Uint8Array): Date | undefined {
  const [version] = bytes;
  const hasForm = version === 1 && bytes.length === 15 ||
    version === 2 && bytes.length === 16;
  if (!hasForm) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const seconds = view.getInt32(1) * TWO_32 + view.getUint32(5);
  const nanos = view.getInt32(9);
  if (nanos < 0 || nanos > 999_999_999) return undefined;
  const millis = (seconds - UNIX_EPOCH) * 1000 + Math.floor(nanos / 1e6);
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
