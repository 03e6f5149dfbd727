/**
 * Writers: from a type to functions that write its values.
 *
 * @module
 */

import { Complex, encodeTime, GobError, ZERO_TIME } from "./values.ts";
import type { GobOutput } from "./output.ts";
import type { GobType } from "./schema.ts";
import {
  BOOL,
  BYTES,
  COMPLEX,
  FLOAT,
  INT,
  INTERFACE,
  STRING,
  UINT,
} from "./wire_types.ts";

/** Writes the values of one type. */
export interface Writer {
  /** The type's id on this stream. */
  readonly id: number;
  /** Whether it is a struct, which needs no mark where it stands by itself. */
  readonly struct: boolean;
  /** Writes a value; throws a GobError if it is not of the type. */
  write(out: GobOutput, value: unknown): void;
  /** Whether a struct's field with this value is left out. */
  isZero(value: unknown): boolean;
}

/** Says what a value should have been. */
export function notA(what: string, value: unknown): GobError {
  const name = value === null ? "null" : typeof value;
  return new GobError(`not ${what}, received ${name}`);
}

const MIN_INT = -(2n ** 63n);
const MAX_INT = 2n ** 63n - 1n;
const MAX_UINT = 2n ** 64n - 1n;

function isWhole(value: unknown, least: bigint, most: bigint): boolean {
  if (typeof value === "bigint") return value >= least && value <= most;
  return Number.isSafeInteger(value) && (value as number) >= least;
}

const boolWriter: Writer = {
  id: BOOL,
  struct: false,
  write(out, value) {
    if (typeof value !== "boolean") throw notA("a boolean", value);
    out.byte(value ? 1 : 0);
  },
  isZero: (value) => value === false,
};

const intWriter: Writer = {
  id: INT,
  struct: false,
  write(out, value) {
    if (!isWhole(value, MIN_INT, MAX_INT)) {
      throw notA("a whole number of 64 bits", value);
    }
    out.int(value as number | bigint);
  },
  isZero: (value) => value === 0 || value === 0n,
};

const uintWriter: Writer = {
  id: UINT,
  struct: false,
  write(out, value) {
    if (!isWhole(value, 0n, MAX_UINT)) {
      throw notA("an unsigned number of 64 bits", value);
    }
    out.uint(value as number | bigint);
  },
  isZero: (value) => value === 0 || value === 0n,
};

const floatWriter: Writer = {
  id: FLOAT,
  struct: false,
  write(out, value) {
    if (typeof value !== "number") throw notA("a number", value);
    out.float(value);
  },
  isZero: (value) => value === 0,
};

const complexWriter: Writer = {
  id: COMPLEX,
  struct: false,
  write(out, value) {
    if (!(value instanceof Complex)) throw notA("a Complex", value);
    out.float(value.re);
    out.float(value.im);
  },
  isZero: (value) =>
    value instanceof Complex && value.re === 0 && value.im === 0,
};

const stringWriter: Writer = {
  id: STRING,
  struct: false,
  write(out, value) {
    if (typeof value !== "string") throw notA("a string", value);
    out.text(value);
  },
  isZero: (value) => value === "",
};

const bytesWriter: Writer = {
  id: BYTES,
  struct: false,
  write: writeBytes,
  isZero: isEmptyBytes,
};

/** The writers that need nothing but the value; the others are made per stream. */
export const BASIC_WRITERS: Partial<Record<GobType<unknown>["kind"], Writer>> =
  {
    bool: boolWriter,
    int: intWriter,
    uint: uintWriter,
    float: floatWriter,
    complex: complexWriter,
    string: stringWriter,
    bytes: bytesWriter,
  };

function writeBytes(out: GobOutput, value: unknown): void {
  if (!(value instanceof Uint8Array)) throw notA("a Uint8Array", value);
  out.blob(value);
}

function isEmptyBytes(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === 0;
}

/** Writes bytes that a type of Go's reads by itself. */
export function opaqueWriter(id: number): Writer {
  return { id, struct: false, write: writeBytes, isZero: isEmptyBytes };
}

/** Writes times. */
export function timeWriter(id: number): Writer {
  return {
    id,
    struct: false,
    write(out, value) {
      const bytes = value instanceof Date ? encodeTime(value) : undefined;
      if (bytes === undefined) throw notA("a valid Date", value);
      out.blob(bytes);
    },
    isZero: (value) => value instanceof Date && value.getTime() === ZERO_TIME,
  };
}

/** Writes interfaces; `write` writes what is not `nil`. */
export function interfaceWriter(
  write: (out: GobOutput, value: unknown) => void,
): Writer {
  return {
    id: INTERFACE,
    struct: false,
    write(out, value) {
      if (value === null || value === undefined) out.byte(0);
      else write(out, value);
    },
    isZero: () => false,
  };
}
