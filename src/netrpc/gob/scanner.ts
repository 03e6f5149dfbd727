/**
 * Finds the end of a value that can hold interfaces, and takes in the types
 * that are described inside it: only there is it known whether the value is
 * whole, or goes on in the next message.
 *
 * Invariants owned here:
 * - Every byte of a value is looked at once, in however many messages it comes.
 * - Nothing is made of what is passed over.
 *
 * @module
 */

import { GobError } from "./values.ts";
import { GobInput, type GobLimits } from "./input.ts";
import {
  BYTES,
  COMPLEX,
  INTERFACE,
  STRING,
  type WireType,
  type WireTypes,
} from "./wire_types.ts";

/** Longest registered name, in bytes; Go's own limit. */
export const MAX_NAME = 1024;

/** Looks through one value at a time. */
export class Scanner {
  readonly #types: WireTypes;
  readonly #input: GobInput;
  /** What is left to do; it stops where a message ends inside the value. */
  #steps: Iterator<void> | undefined;

  constructor(types: WireTypes, limits: GobLimits) {
    this.#types = types;
    this.#input = new GobInput(limits);
  }

  /** Begins with a value of type `id`; returns whether it is whole, or wrong. */
  begin(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#input.open(bytes, start, end);
    this.#steps = this.#alone(id);
    return this.#step();
  }

  /** Goes on at `bytes[at..end)`; returns the same. */
  goOn(bytes: Uint8Array, at: number, end: number): boolean {
    this.#input.move(bytes, at, end);
    return this.#step();
  }

  #step(): boolean {
    try {
      if (this.#steps?.next().done === false) return false;
    } catch {
      // Read as a whole it is wrong in the same way, and for its call alone.
    }
    this.#steps = undefined;
    this.#input.move(NONE, 0, 0);
    return true;
  }

  /** A value that stands by itself, behind its type's id. */
  *#alone(id: number): Generator<void, void> {
    if (this.#types.get(id).kind !== "struct") this.#input.small();
    yield* this.#value(id);
  }

  *#value(id: number): Generator<void, void> {
    const types = this.#types;
    if (!types.hasInterface(id)) return this.#pass(id);
    if (id === INTERFACE) return yield* this.#interface();
    const input = this.#input;
    const type = types.get(id);
    input.enter();
    if (type.kind === "struct") {
      input.spend(type.fields.length, 0);
      for (
        let at = this.#field(type, -1);
        at >= 0;
        at = this.#field(type, at)
      ) {
        yield* this.#value(type.fields[at].id);
      }
    } else if (type.kind === "map") {
      const n = this.#countAhead(2);
      for (let i = 0; i < n; i++) {
        yield* this.#value(type.key);
        yield* this.#value(type.elem);
      }
    } else if (type.kind === "slice" || type.kind === "array") {
      const n = this.#countAhead(1);
      for (let i = 0; i < n; i++) yield* this.#value(type.elem);
    }
    input.leave();
  }

  *#interface(): Generator<void, void> {
    const input = this.#input;
    const n = input.pass();
    if (n === 0) return;
    if (n > MAX_NAME) throw new GobError(`a registered name of ${n} bytes`);
    let id = input.typeId();
    while (id < 0) {
      this.#types.define(-id, input);
      if (input.at === input.end) yield;
      // The byte count of what follows: here, or of the next message.
      input.small();
      id = input.typeId();
    }
    input.small();
    input.enter();
    input.spend(1, 0);
    yield* this.#alone(id);
    input.leave();
  }

  /** Passes over a value that holds no interface. */
  #pass(id: number): void {
    const input = this.#input;
    const type = this.#types.get(id);
    switch (type.kind) {
      case "basic":
        if (id === STRING || id === BYTES) input.pass();
        else input.uint();
        if (id === COMPLEX) input.uint();
        return;
      case "opaque":
        input.pass();
        return;
      default:
        input.enter();
        this.#passAll(type);
        input.leave();
    }
  }

  #passAll(type: WireType): void {
    if (type.kind === "struct") {
      this.#input.spend(type.fields.length, 0);
      for (
        let at = this.#field(type, -1);
        at >= 0;
        at = this.#field(type, at)
      ) {
        this.#pass(type.fields[at].id);
      }
    } else if (type.kind === "map") {
      const n = this.#count(2);
      for (let i = 0; i < n; i++) {
        this.#pass(type.key);
        this.#pass(type.elem);
      }
    } else if (type.kind === "slice" || type.kind === "array") {
      const n = this.#count(1);
      for (let i = 0; i < n; i++) this.#pass(type.elem);
    }
  }

  /** The next field of a struct behind the one at `last`; -1 if that was the last. */
  #field({ fields }: WireType & { kind: "struct" }, last: number): number {
    const delta = this.#input.small();
    if (delta === 0) return -1;
    const at = last + delta;
    if (at < fields.length) return at;
    throw new GobError(`field ${at} of a struct of ${fields.length}`);
  }

  /** The same where some may be in messages to come: then only the limit bounds it. */
  #countAhead(each: number): number {
    const n = this.#input.small();
    this.#input.spend(each * n, 0);
    return n;
  }

  /** How many elements follow, of so many values each. */
  #count(each: number): number {
    const n = this.#input.length();
    this.#input.spend(each * n, 0);
    return n;
  }
}

const NONE = new Uint8Array(0);
