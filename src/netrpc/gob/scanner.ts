/**
 * Finds the end of a value that can contain interfaces, and reads the type
 * definitions inside it.
 *
 * A definition inside a value may end its message, and the value then continues
 * in the next one. Only a scan tells whether a value is complete.
 *
 * Bounds: every byte of a value is scanned once, however many messages the
 * value spans, and no values are created.
 *
 * @module
 */

import { NO_BYTES } from "../../base/bytes.ts";
import { GobInput, type GobLimits } from "./input.ts";
import { GobError } from "./values.ts";
import {
  BYTES,
  COMPLEX,
  INTERFACE,
  STRING,
  type WireType,
  type WireTypes,
} from "./wire_types.ts";

/** The longest registered name, in bytes. Package gob has the same limit. */
export const MAX_NAME = 1024;

/** Scans one value at a time. */
export class ValueScanner {
  readonly #types: WireTypes;
  readonly #input: GobInput;
  /** The scan of the current value; it yields where a message ends inside the value. */
  #scan: Iterator<void> | undefined;

  constructor(types: WireTypes, limits: GobLimits) {
    this.#types = types;
    this.#input = new GobInput(limits);
  }

  /** Begins with a value of type `id` in `bytes[start..end)`. Returns false if the value continues in the next message; true if it is complete, or invalid. */
  begin(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#input.reset(bytes, start, end);
    this.#scan = this.#topLevel(id);
    return this.#step();
  }

  /** Continues the value with `bytes[at..end)`; returns what `begin` does. */
  resume(bytes: Uint8Array, at: number, end: number): boolean {
    this.#input.continueAt(bytes, at, end);
    return this.#step();
  }

  #step(): boolean {
    try {
      if (this.#scan?.next().done === false) return false;
    } catch {
      // Reading the value finds the same fault, and then fails its call only.
    }
    this.#scan = undefined;
    this.#input.continueAt(NO_BYTES, 0, 0);
    return true;
  }

  /** Scans a value at the top level, behind its type's id. */
  *#topLevel(id: number): Generator<void, void> {
    if (this.#types.get(id).kind !== "struct") this.#input.safeUint();
    yield* this.#value(id);
  }

  *#value(id: number): Generator<void, void> {
    const types = this.#types;
    if (!types.hasInterface(id)) return this.#skip(id);
    if (id === INTERFACE) return yield* this.#interface();
    const input = this.#input;
    const type = types.get(id);
    input.enter();
    if (type.kind === "struct") {
      input.charge(type.fields.length, 0);
      for (
        let at = this.#nextField(type, -1);
        at >= 0;
        at = this.#nextField(type, at)
      ) {
        yield* this.#value(type.fields[at].id);
      }
    } else if (type.kind === "map") {
      const n = this.#openCount(2);
      for (let i = 0; i < n; i++) {
        yield* this.#value(type.key);
        yield* this.#value(type.elem);
      }
    } else if (type.kind === "slice" || type.kind === "array") {
      const n = this.#openCount(1);
      for (let i = 0; i < n; i++) yield* this.#value(type.elem);
    }
    input.leave();
  }

  *#interface(): Generator<void, void> {
    const input = this.#input;
    const n = input.skip();
    if (n === 0) return;
    if (n > MAX_NAME) {
      throw new GobError(
        `a registered name has ${n} bytes, at most ${MAX_NAME}`,
      );
    }
    let id = input.typeId();
    while (id < 0) {
      this.#types.define(-id, input);
      if (input.at === input.end) yield;
      // The length of what follows: of this part, or of the next message.
      input.safeUint();
      id = input.typeId();
    }
    input.safeUint();
    input.enter();
    input.charge(1, 0);
    yield* this.#topLevel(id);
    input.leave();
  }

  /** Skips a value that contains no interface. */
  #skip(id: number): void {
    const input = this.#input;
    const type = this.#types.get(id);
    switch (type.kind) {
      case "basic":
        if (id === STRING || id === BYTES) input.skip();
        else input.uint();
        if (id === COMPLEX) input.uint();
        return;
      case "opaque":
        input.skip();
        return;
      default:
        input.enter();
        this.#skipElements(type);
        input.leave();
    }
  }

  #skipElements(type: WireType): void {
    if (type.kind === "struct") {
      this.#input.charge(type.fields.length, 0);
      for (
        let at = this.#nextField(type, -1);
        at >= 0;
        at = this.#nextField(type, at)
      ) {
        this.#skip(type.fields[at].id);
      }
    } else if (type.kind === "map") {
      const n = this.#count(2);
      for (let i = 0; i < n; i++) {
        this.#skip(type.key);
        this.#skip(type.elem);
      }
    } else if (type.kind === "slice" || type.kind === "array") {
      const n = this.#count(1);
      for (let i = 0; i < n; i++) this.#skip(type.elem);
    }
  }

  /** Reads the number of the field after `last`; returns -1 at the end of the struct. */
  #nextField({ fields }: WireType & { kind: "struct" }, last: number): number {
    const delta = this.#input.safeUint();
    if (delta === 0) return -1;
    const at = last + delta;
    if (at < fields.length) return at;
    throw unknownField(at, fields.length);
  }

  /** Reads the number of elements, of `each` values each. */
  #count(each: number): number {
    const n = this.#input.length();
    this.#input.charge(each * n, 0);
    return n;
  }

  /** Reads the number of elements where some may be in later messages, so that only `maxElements` bounds it. */
  #openCount(each: number): number {
    const n = this.#input.safeUint();
    this.#input.charge(each * n, 0);
    return n;
  }
}

/** The error for a field number that a struct does not have. */
export function unknownField(field: number, count: number): GobError {
  return new GobError(
    `a struct value has field ${field}, but its type has ${count} fields`,
  );
}
