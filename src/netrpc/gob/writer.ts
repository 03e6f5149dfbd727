/**
 * Writers of values whose type consists of no other types: basic types, times,
 * and bytes that a Go type writes itself. The encoder makes the others.
 *
 * @module
 */

import type { GobOutput } from "./output.ts";
import type { GobKind } from "./schema.ts";
import { Complex, encodeTime, GobError, ZERO_TIME } from "./values.ts";
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
export interface ValueWriter {
  /** The id of the type on this stream. */
  readonly id: number;
  /** Whether the type is a struct. At the top level, any other value is preceded by a zero byte. */
  readonly struct: boolean;
  /**
   * Writes a value.
   *
   * @throws {GobError} If the value is not of the type.
   */
  write(out: GobOutput, value: unknown): void;
  /** Whether a struct leaves out a field with this value, because it is zero. */
  isZero(value: unknown): boolean;
}

/** The error for a value that is not of its type. */
export function wrongValue(expected: string, value: unknown): GobError {
  const received = value === null ? "null" : typeof value;
  return new GobError(`expected ${expected}, received ${received}`);
}

const MIN_INT = -0x8000000000000000n;
const MAX_INT = 0x7fffffffffffffffn;
const MAX_UINT = 0xffffffffffffffffn;

function isWhole(value: unknown, least: bigint, most: bigint): boolean {
  if (typeof value === "bigint") return value >= least && value <= most;
  return Number.isSafeInteger(value) && (value as number) >= least;
}

function wrongInteger(expected: string, value: unknown): GobError {
  return typeof value === "number" || typeof value === "bigint"
    ? new GobError(`expected ${expected}, received ${value}`)
    : wrongValue(expected, value);
}

const boolWriter: ValueWriter = {
  id: BOOL,
  struct: false,
  write(out, value) {
    if (typeof value !== "boolean") throw wrongValue("a boolean", value);
    out.byte(value ? 1 : 0);
  },
  isZero: (value) => value === false,
};

const intWriter: ValueWriter = {
  id: INT,
  struct: false,
  write(out, value) {
    if (!isWhole(value, MIN_INT, MAX_INT)) {
      throw wrongInteger("a whole number of 64 bits", value);
    }
    out.int(value as number | bigint);
  },
  isZero: (value) => value === 0 || value === 0n,
};

const uintWriter: ValueWriter = {
  id: UINT,
  struct: false,
  write(out, value) {
    if (!isWhole(value, 0n, MAX_UINT)) {
      throw wrongInteger("a whole number of 64 bits from 0", value);
    }
    out.uint(value as number | bigint);
  },
  isZero: (value) => value === 0 || value === 0n,
};

const floatWriter: ValueWriter = {
  id: FLOAT,
  struct: false,
  write(out, value) {
    if (typeof value !== "number") throw wrongValue("a number", value);
    out.float(value);
  },
  isZero: (value) => value === 0,
};

const complexWriter: ValueWriter = {
  id: COMPLEX,
  struct: false,
  write(out, value) {
    if (!(value instanceof Complex)) throw wrongValue("a Complex", value);
    out.float(value.re);
    out.float(value.im);
  },
  isZero: (value) =>
    value instanceof Complex && value.re === 0 && value.im === 0,
};

const stringWriter: ValueWriter = {
  id: STRING,
  struct: false,
  write(out, value) {
    if (typeof value !== "string") throw wrongValue("a string", value);
    out.text(value);
  },
  isZero: (value) => value === "",
};

const bytesWriter: ValueWriter = {
  id: BYTES,
  struct: false,
  write: writeBytes,
  isZero: isEmptyBytes,
};

/** The writers of basic types, which are the same for all streams. */
export const BASIC_WRITERS: Partial<Record<GobKind, ValueWriter>> = {
  bool: boolWriter,
  int: intWriter,
  uint: uintWriter,
  float: floatWriter,
  complex: complexWriter,
  string: stringWriter,
  bytes: bytesWriter,
};

function writeBytes(out: GobOutput, value: unknown): void {
  if (!(value instanceof Uint8Array)) throw wrongValue("a Uint8Array", value);
  out.blob(value);
}

function isEmptyBytes(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === 0;
}

/** Returns the writer of a type that reads and writes its own bytes in Go. */
export function opaqueWriter(id: number): ValueWriter {
  return { id, struct: false, write: writeBytes, isZero: isEmptyBytes };
}

/** Returns the writer of times. */
export function timeWriter(id: number): ValueWriter {
  return {
    id,
    struct: false,
    write(out, value) {
      const bytes = value instanceof Date ? encodeTime(value) : undefined;
      if (bytes === undefined) throw wrongValue("a valid Date", value);
      out.blob(bytes);
    },
    isZero: (value) => value instanceof Date && value.getTime() === ZERO_TIME,
  };
}

/** Returns the writer of interfaces; `write` writes values other than `nil`. */
export function interfaceWriter(
  write: (out: GobOutput, value: unknown) => void,
): ValueWriter {
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
