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

/** Seconds from the year 1 to 1970. */
const UNIX_EPOCH = 62135596800;
const TWO_32 = 0x100000000;

/** Go's zero time, in milliseconds since 1970. */
export const ZERO_TIME = -UNIX_EPOCH * 1000;

/** A time's bytes: version 1, in UTC. */
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

/** The time in such bytes, of version 1 or 2; undefined if they are none, or one that a `Date` cannot hold. */
export function decodeTime(bytes: Uint8Array): Date | undefined {
  const [version] = bytes;
  const fits = version === 1 && bytes.length === 15 ||
    version === 2 && bytes.length === 16;
  if (!fits) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const seconds = view.getInt32(1) * TWO_32 + view.getUint32(5);
  const nanos = view.getInt32(9);
  if (nanos < 0 || nanos > 999_999_999) return undefined;
  const millis = (seconds - UNIX_EPOCH) * 1000 + Math.floor(nanos / 1e6);
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
