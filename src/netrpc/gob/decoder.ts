/**
 * A gob stream's messages, read.
 *
 * @module
 */

import { NO_BYTES } from "../../base/bytes.ts";
import { tooLarge } from "../go_codec.ts";
import type { RegisteredTypes } from "./encoder.ts";
import { GobError, Mismatch } from "./values.ts";
import { GOB_LIMITS, GobInput, type GobLimits } from "./input.ts";
import { GobOutput } from "./output.ts";
import { Readers } from "./reader.ts";
import { Scanner } from "./scanner.ts";
import { type GobType, typeName } from "./schema.ts";
import { MessageSplitter } from "./splitter.ts";
import type { Wanted } from "./wanted.ts";
import { WireTypes } from "./wire_types.ts";
import type { Optional } from "../../types/optional.ts";

/** The types of one stream, and its values one after the other. */
export class GobDecoder {
  readonly types: WireTypes = new WireTypes();
  readonly readers: Readers;
  /** The value that `take` has found: its type's id, and where it is. */
  id = 0;
  bytes: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;

  readonly #input: GobInput;
  readonly #maxMessage: number;
  readonly #scanner: Scanner;
  /** What has come of a value that goes on in the next message. That each describes a type bounds how many they are. */
  #rest: GobOutput | undefined;

  constructor(
    limits: Optional<GobLimits> = {},
    maxMessage = Infinity,
    registered: RegisteredTypes = {},
  ) {
    this.readers = new Readers(
      this.types,
      new Map(Object.entries(registered)),
    );
    const all = { ...GOB_LIMITS, ...limits };
    this.#input = new GobInput(all);
    this.#scanner = new Scanner(this.types, all);
    this.#maxMessage = maxMessage;
  }

  /** Whether a value has begun and not ended. */
  get inside(): boolean {
    return this.#rest !== undefined;
  }

  /**
   * Takes a message; returns whether a value is whole with it. A type's
   * description is none.
   *
   * @throws {GobError} If it is no message.
   */
  take(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#rest !== undefined) {
      return this.#goOn(this.#rest, bytes, start, end);
    }
    const input = this.#input;
    input.open(bytes, start, end);
    this.id = input.typeId();
    if (this.id < 0) {
      this.types.define(-this.id, input);
      input.done();
      return false;
    }
    this.#set(bytes, input.at, end);
    if (!this.types.hasInterface(this.id)) return true;
    if (this.#scanner.begin(this.id, bytes, input.at, end)) return true;
    this.#rest = new GobOutput();
    this.#rest.raw(bytes.subarray(input.at, end));
    return false;
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
      if (error instanceof Mismatch && wanted !== undefined) {
        // In Go's words: it looks at the whole type before it reads.
        const local = typeName(wanted);
        const remote = this.types.name(id);
        throw new GobError(
          `decoding into local type *${local}, received remote type ${remote}`,
        );
      }
      if (error instanceof GobError) throw error;
      // The stack's end, or a Date's: whatever the bytes have brought about.
      throw new GobError("the value cannot be read", { cause: error });
    }
  }

  /** Lets go of the message, so that an idle connection holds none. */
  release(): void {
    this.#set(NO_BYTES, 0, 0);
    this.#input.move(NO_BYTES, 0, 0);
  }

  #set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** The next message of a value, its byte count put between. */
  #goOn(
    rest: GobOutput,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { size } = rest;
    const whole = size + end - start;
    if (whole > this.#maxMessage) {
      throw tooLarge("a value", whole, this.#maxMessage);
    }
    rest.uint(end - start);
    rest.raw(bytes.subarray(start, end));
    if (!this.#scanner.goOn(rest.bytes, size, rest.size)) return false;
    this.#set(rest.bytes, 0, rest.size);
    this.#rest = undefined;
    return true;
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
  limits?: Optional<GobLimits>,
  registered?: RegisteredTypes,
): unknown[] {
  const decoder = new GobDecoder(limits, Infinity, registered);
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
 * does; with a type, what is read is held to it, and so is what stands in
 * interfaces by a registered name.
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
  limits?: Optional<GobLimits>,
  registered?: RegisteredTypes,
): T {
  const values = decodeAll(bytes, type, limits, registered);
  if (values.length === 1) return values[0] as T;
  throw new GobError(`a stream of ${values.length} values, not of one`);
}
