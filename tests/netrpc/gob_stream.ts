/**
 * Writes gob streams with types and values that no honest sender writes.
 *
 * @module
 */

import { GobOutput } from "../../src/netrpc/gob/output.ts";

/** The ids of gob's basic types. */
export const BOOL = 1;
export const INT = 2;
export const UINT = 3;
export const FLOAT = 4;
export const BYTES = 5;
export const STRING = 6;
export const COMPLEX = 7;
export const INTERFACE = 8;

/** Writes a gob stream. */
export class GobStream {
  readonly #out = new GobOutput();
  #lastId: number;

  /** @param lastId The last id in use; 65 after the type of a header. */
  constructor(lastId = 64) {
    this.#lastId = lastId;
  }

  /** All bytes written so far. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#out.copy();
  }

  /** Writes one message. */
  message(write: (out: GobOutput) => void): void {
    const message = new GobOutput();
    write(message);
    message.prefix(0);
    this.#out.raw(message.bytes.subarray(0, message.size));
  }

  array(elem: number, length: number): number {
    return this.#type(1, (out) => {
      out.byte(1);
      out.int(elem);
      out.byte(1);
      out.int(length);
    });
  }

  slice(elem: number): number {
    return this.#type(2, (out) => {
      out.byte(1);
      out.int(elem);
    });
  }

  map(key: number, elem: number): number {
    return this.#type(4, (out) => {
      out.byte(1);
      out.int(key);
      out.byte(1);
      out.int(elem);
    });
  }

  struct(fields: readonly (readonly [string, number])[], name = ""): number {
    return this.#type(3, (out) => {
      if (fields.length === 0) return;
      out.byte(1);
      out.uint(fields.length);
      for (const [name, id] of fields) {
        out.byte(1);
        out.text(name);
        out.byte(1);
        out.int(id);
        out.byte(0);
      }
    }, name);
  }

  /** A type with its own encoding: variant 5 is a `GobEncoder`, 6 a binary and 7 a text marshaler. */
  opaque(name: string, variant = 5): number {
    return this.#type(variant, () => {}, name);
  }

  /** Writes a value, whose bytes `write` writes. */
  value(id: number, isStruct: boolean, write: (out: GobOutput) => void): void {
    this.message((out) => {
      out.int(id);
      if (!isStruct) out.byte(0);
      write(out);
    });
  }

  #type(
    variant: number,
    write: (out: GobOutput) => void,
    name = "",
  ): number {
    const id = ++this.#lastId;
    this.message((out) => {
      out.int(-id);
      out.uint(variant);
      out.byte(1);
      if (name === "") out.byte(2);
      else {
        out.byte(1);
        out.text(name);
        out.byte(1);
      }
      out.int(id);
      out.byte(0);
      write(out);
      out.byte(0);
      out.byte(0);
    });
    return id;
  }
}

/** A slice of `n` values of type `elem`; each has the bytes `each`. */
export function sliceOf(
  stream: GobStream,
  elem: number,
  n: number,
  each: readonly number[],
): Uint8Array<ArrayBuffer> {
  const id = stream.slice(elem);
  const item = Uint8Array.from(each);
  stream.value(id, false, (out) => {
    out.uint(n);
    for (let i = 0; i < n; i++) out.raw(item);
  });
  return stream.bytes;
}

/** Streams whose values take far more memory than their bytes; `n` elements each. */
export const EXPANSIONS: Record<
  string,
  (n: number) => Uint8Array<ArrayBuffer>
> = {
  "structs of arrays of zeros left out": (n) => {
    const stream = new GobStream();
    const list = stream.array(INT, n);
    return sliceOf(stream, stream.struct([["A", list]]), n, [0]);
  },
  "structs of arrays of maps left out": (n) => {
    const stream = new GobStream();
    const list = stream.array(stream.map(INT, INT), n);
    return sliceOf(stream, stream.struct([["A", list]]), n, [0]);
  },
  "structs of many fields left out": (n) => {
    const stream = new GobStream();
    const fields = Array.from({ length: n }, (_, i) => [`F${i}`, INT] as const);
    return sliceOf(stream, stream.struct(fields), n, [0]);
  },
  "structs of bytes left out": (n) => {
    const stream = new GobStream();
    const fields = Array.from(
      { length: 64 },
      (_, i) => [`F${i}`, BYTES] as const,
    );
    return sliceOf(stream, stream.struct(fields), n, [0]);
  },
  "structs of times left out": (n) => {
    const stream = new GobStream();
    const time = stream.opaque("Time");
    const fields = Array.from(
      { length: 64 },
      (_, i) => [`F${i}`, time] as const,
    );
    return sliceOf(stream, stream.struct(fields), n, [0]);
  },
  "structs of complex numbers left out": (n) => {
    const stream = new GobStream();
    const fields = Array.from(
      { length: 64 },
      (_, i) => [`F${i}`, COMPLEX] as const,
    );
    return sliceOf(stream, stream.struct(fields), n, [0]);
  },
  "empty structs": (n) => {
    const stream = new GobStream();
    return sliceOf(stream, stream.struct([]), n * 100, [0]);
  },
  "empty maps": (n) => {
    const stream = new GobStream();
    return sliceOf(stream, stream.map(INT, INT), n * 100, [0]);
  },
  "maps of one entry": (n) => {
    const stream = new GobStream();
    return sliceOf(stream, stream.map(INT, INT), n * 100, [1, 2, 2]);
  },
  "empty slices": (n) => {
    const stream = new GobStream();
    return sliceOf(stream, stream.slice(INT), n * 100, [0]);
  },
  "empty bytes": (n) => sliceOf(new GobStream(), BYTES, n * 100, [0]),
  "single bytes": (n) => sliceOf(new GobStream(), BYTES, n * 100, [1, 7]),
  "short strings": (n) =>
    sliceOf(new GobStream(), STRING, n * 100, [2, 0x41, 0x42]),
  "complex numbers": (n) =>
    sliceOf(new GobStream(), COMPLEX, n * 100, [0x3f, 0x3f]),
  "floats": (n) => sliceOf(new GobStream(), FLOAT, n * 100, [0x3f]),
  "integers above 2^53": (n) =>
    sliceOf(new GobStream(), UINT, n * 100, [0xf8, ...Array(8).fill(255)]),
  "interfaces": (n) =>
    sliceOf(
      new GobStream(),
      INTERFACE,
      n * 100,
      [1, 0x54, 4, 2, 0, 2],
    ),
  "slices of slices, each as long as possible": (n) => {
    const stream = new GobStream();
    const id = stream.slice(65);
    stream.value(id, false, (out) => {
      for (let left = 900 * 5 + n; left > n; left -= 5) {
        out.byte(0xfc);
        out.raw(Uint8Array.of(0, left >> 16, left >> 8, left));
      }
      out.raw(new Uint8Array(n));
    });
    return stream.bytes;
  },
};
