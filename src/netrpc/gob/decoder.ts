/**
 * A gob stream's messages, read.
 *
 * @module
 */

import { GobError, Incomplete } from "./error.ts";
import { GOB_LIMITS, GobInput, type GobLimits } from "./input.ts";
import { GobOutput } from "./output.ts";
import { Readers } from "./reader.ts";
import type { GobType } from "./schema.ts";
import { MessageSplitter } from "./splitter.ts";
import type { Wanted } from "./wanted.ts";
import { WireTypes } from "./wire_types.ts";

/** Most messages that one value may go on for: each but the last ends with a type's description. */
const MAX_PARTS = 256;

/** The types of one stream, and its values one after the other. */
export class GobDecoder {
  readonly types: WireTypes = new WireTypes();
  readonly readers: Readers = new Readers(this.types);
  /** The value that `take` has found: its type's id, and where it is. */
  id = 0;
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;

  readonly #input: GobInput;
  readonly #maxMessage: number;
  /** Whether values of a type can hold interfaces. */
  readonly #open = new Map<number, boolean>();
  /** What has come of a value that goes on in the next message. */
  readonly #rest = new GobOutput();
  #parts = 0;

  constructor(limits: Partial<GobLimits> = {}, maxMessage = Infinity) {
    this.#input = new GobInput({ ...GOB_LIMITS, ...limits });
    this.#maxMessage = maxMessage;
  }

  /** Whether a value has begun and not ended. */
  get inside(): boolean {
    return this.#parts > 0;
  }

  /**
   * Takes a message; returns whether a value is whole with it. A type's
   * description is none.
   *
   * @throws {GobError} If it is no message.
   */
  take(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#parts > 0) return this.#goOn(bytes, start, end);
    const input = this.#input;
    input.open(bytes, start, end);
    this.id = input.typeId();
    if (this.id < 0) {
      this.types.define(-this.id, input);
      input.done();
      return false;
    }
    this.#set(bytes, input.at, end);
    if (!this.#hasInterface()) return true;
    this.types.begin();
    return this.#scan();
  }

  /** The place of the value that `take` has found. */
  input(): GobInput {
    this.#input.open(this.bytes, this.start, this.end);
    return this.#input;
  }

  /**
   * The value that `take` has found.
   *
   * @throws {GobError} If it is none, or not of the type asked for.
   */
  value(wanted: Wanted): unknown {
    return this.read(this.id, this.bytes, this.start, this.end, wanted);
  }

  /** The value of type `id` in `bytes[start..end)`. */
  read(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wanted: Wanted,
  ): unknown {
    const input = this.#input;
    input.open(bytes, start, end);
    try {
      const value = this.readers.value(input, id, wanted);
      input.done();
      return value;
    } catch (error) {
      if (error instanceof GobError) throw error;
      // The stack's end, or a Date's: whatever the bytes have brought about.
      throw new GobError("the value cannot be read", { cause: error });
    }
  }

  #set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  #hasInterface(): boolean {
    const known = this.#open.get(this.id);
    if (known !== undefined) return known;
    const open = this.types.hasInterface(this.id);
    this.#open.set(this.id, open);
    return open;
  }

  /** The next message of a value, its byte count put between. */
  #goOn(bytes: Uint8Array, start: number, end: number): boolean {
    const rest = this.#rest;
    const whole = rest.size + end - start;
    if (whole > this.#maxMessage || this.#parts === MAX_PARTS) {
      throw new GobError(`a value of ${this.#parts} messages, ${whole} bytes`);
    }
    rest.uint(end - start);
    rest.raw(bytes.subarray(start, end));
    this.#set(rest.bytes, 0, rest.size);
    return this.#scan();
  }

  /** Reads a value to see whether it is whole; if not, keeps it. */
  #scan(): boolean {
    const input = this.input();
    input.scanning = true;
    try {
      this.readers.value(input, this.id, undefined);
    } catch (error) {
      if (error instanceof Incomplete) return this.#keep();
      // Whoever reads the value will be told.
    }
    this.#parts = 0;
    // What `take` has found may still lie in there, and nothing is added before it is taken.
    this.#rest.clear();
    return true;
  }

  #keep(): boolean {
    if (this.#parts++ === 0) {
      this.#rest.raw(this.bytes.subarray(this.start, this.end));
    }
    return false;
  }
}

/**
 * Reads every value of a gob stream.
 *
 * @throws {GobError} If it is none, is cut short, or passes a limit.
 */
export function decodeAll(
  bytes: Uint8Array,
  type?: GobType<unknown>,
  limits?: Partial<GobLimits>,
): unknown[] {
  const decoder = new GobDecoder(limits);
  const values: unknown[] = [];
  const splitter = new MessageSplitter({
    message(bytes, start, end) {
      if (decoder.take(bytes, start, end)) values.push(decoder.value(type));
    },
  }, Infinity);
  splitter.push(bytes, 0);
  if (splitter.inside || decoder.inside) {
    throw new GobError("the stream is cut short");
  }
  return values;
}

/**
 * Reads the one value of a gob stream, as Go's `gob.NewDecoder(...).Decode`
 * does; with a type, what is read is held to it.
 *
 * @throws {GobError} If there is not exactly one, or it does not fit.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeGob, encodeGob } from "@sluice/rpc/netrpc";
 *
 * assertEquals(decodeGob(encodeGob({ Name: "cup", Count: 3 })), { Name: "cup", Count: 3 });
 * ```
 */
export function decodeGob<T = unknown>(
  bytes: Uint8Array,
  type?: GobType<T>,
  limits?: Partial<GobLimits>,
): T {
  const values = decodeAll(bytes, type, limits);
  if (values.length === 1) return values[0] as T;
  throw new GobError(`a stream of ${values.length} values, not of one`);
}
