/**
 * Decodes the messages of a gob stream: collects the type definitions, joins
 * the messages of a value that spans several, and reads the values.
 *
 * Bounds: a value, with all its messages, is at most `maxMessage` bytes long.
 *
 * @module
 */

import { NO_BYTES } from "../../base/bytes.ts";
import { tooLarge } from "../go_errors.ts";
import type { RegisteredTypes } from "./encoder.ts";
import type { Optional } from "../../types/optional.ts";
import { GOB_LIMITS, GobInput, type GobLimits } from "./input.ts";
import { GobOutput } from "./output.ts";
import { ReaderCache } from "./reader.ts";
import { ValueScanner } from "./scanner.ts";
import { type GobType, typeName } from "./schema.ts";
import { MessageSplitter } from "./splitter.ts";
import type { LocalType } from "./value_reader.ts";
import { GobError, TypeMismatch } from "./values.ts";
import { WireTypes } from "./wire_types.ts";

/** Decodes one stream, one value after the other. */
export class GobDecoder {
  readonly types: WireTypes = new WireTypes();
  readonly readers: ReaderCache;
  /** The current value: the id of its type, and its position in `bytes`. */
  id = 0;
  bytes: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;

  readonly #input: GobInput;
  readonly #maxMessage: number;
  readonly #scanner: ValueScanner;
  /** The beginning of a value that continues in the next message. Each of its messages defines a type, so the limit of types bounds their number. */
  #partial: GobOutput | undefined;

  constructor(
    limits: Optional<GobLimits> = {},
    maxMessage = Infinity,
    registered: RegisteredTypes = {},
  ) {
    this.readers = new ReaderCache(
      this.types,
      new Map(Object.entries(registered)),
    );
    const all = { ...GOB_LIMITS, ...limits };
    this.#input = new GobInput(all);
    this.#scanner = new ValueScanner(this.types, all);
    this.#maxMessage = maxMessage;
  }

  /** Whether a value has begun and not ended. */
  get insideValue(): boolean {
    return this.#partial !== undefined;
  }

  /**
   * Adds a message. Returns whether it completes a value, which then is the
   * current one; a type definition does not.
   *
   * @throws {GobError} If the message is invalid.
   */
  addMessage(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#partial !== undefined) {
      return this.#resume(this.#partial, bytes, start, end);
    }
    const input = this.#input;
    input.reset(bytes, start, end);
    this.id = input.typeId();
    if (this.id < 0) {
      this.types.define(-this.id, input);
      input.expectEnd();
      return false;
    }
    this.#set(bytes, input.at, end);
    if (!this.types.hasInterface(this.id)) return true;
    if (this.#scanner.begin(this.id, bytes, input.at, end)) return true;
    this.#partial = new GobOutput();
    this.#partial.raw(bytes.subarray(input.at, end));
    return false;
  }

  /** The input at the beginning of the current value. */
  input(): GobInput {
    this.#input.reset(this.bytes, this.start, this.end);
    return this.#input;
  }

  /**
   * Returns the current value.
   *
   * @throws {GobError} If it is invalid, or does not fit the local type.
   */
  value(local: LocalType): unknown {
    return this.read(this.id, this.bytes, this.start, this.end, local);
  }

  /** Returns the value of type `id` in `bytes[start..end)`; throws as `value` does. */
  read(
    id: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    local: LocalType,
  ): unknown {
    const input = this.#input;
    input.reset(bytes, start, end);
    try {
      const value = this.readers.value(input, id, local);
      input.expectEnd();
      return value;
    } catch (error) {
      if (error instanceof TypeMismatch && local !== undefined) {
        // Go's own error: it compares the whole types before it reads.
        throw new GobError(
          `decoding into local type *${typeName(local)}, received remote type ${
            this.types.name(id)
          }`,
        );
      }
      if (error instanceof GobError) throw error;
      // For example a stack overflow, or a Date out of range.
      throw new GobError("the value cannot be read", { cause: error });
    }
  }

  /** Drops the current message, so that an idle connection keeps none in memory. */
  release(): void {
    this.#set(NO_BYTES, 0, 0);
    this.#input.continueAt(NO_BYTES, 0, 0);
  }

  #set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** Appends the next message of a value, behind the length of the message, as an inner part of the value would have one. */
  #resume(
    partial: GobOutput,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { size } = partial;
    const whole = size + end - start;
    if (whole > this.#maxMessage) {
      throw tooLarge("a value", whole, this.#maxMessage);
    }
    partial.uint(end - start);
    partial.raw(bytes.subarray(start, end));
    if (!this.#scanner.resume(partial.bytes, size, partial.size)) return false;
    this.#set(partial.bytes, 0, partial.size);
    this.#partial = undefined;
    return true;
  }
}

/**
 * Returns all values of a gob stream.
 *
 * @throws {GobError} If the stream is invalid or cut short, or exceeds a limit.
 */
export function decodeAll(
  bytes: Uint8Array,
  type?: GobType,
  limits?: Optional<GobLimits>,
  registered?: RegisteredTypes,
): unknown[] {
  const decoder = new GobDecoder(limits, Infinity, registered);
  const values: unknown[] = [];
  const splitter = new MessageSplitter({
    message(bytes, start, end) {
      if (decoder.addMessage(bytes, start, end)) {
        values.push(decoder.value(type));
      }
    },
  }, Infinity);
  splitter.push(bytes, 0);
  if (splitter.insideMessage || decoder.insideValue) {
    throw new GobError("the stream is cut short");
  }
  return values;
}

/**
 * Returns the one value of a gob stream, like Go's
 * `gob.NewDecoder(r).Decode(&v)`.
 *
 * Without a type, the value is read as its sender has defined it: structs are
 * objects, maps are `Map`s, integers outside ±(2^53 - 1) are bigints. With a
 * type, the value must fit it by Go's rules: fields are matched by name, missing
 * ones are zero.
 *
 * @param bytes The whole stream.
 * @param type The expected type.
 * @param limits Limits that differ from the defaults.
 * @param registered The expected types of values in interfaces.
 * @throws {GobError} If the stream is invalid, has no value or several, exceeds
 * a limit, or the value does not fit a type.
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
  throw new GobError(
    `the stream has ${values.length} values, expected exactly one`,
  );
}
