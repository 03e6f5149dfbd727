/**
 * A body on its way out: prepared, perhaps set aside, then written once.
 *
 * Invariant owned here: a buffer is in use for one body at a time. Encoding
 * runs a user's getters, which may make another call in between.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import { isShortAscii, writeAscii } from "../base/utf8.ts";
import type { GobEncoder } from "./gob/encoder.ts";
import { GobOutput } from "./gob/output.ts";
import type { GobType } from "./gob/schema.ts";
import { STRING } from "./gob/wire_types.ts";

/** A string's type, as it is written. */
const STRING_ID = STRING * 2;

/** Prepares one body at a time. */
export class GobContent {
  /** Its size in bytes. */
  size = 0;
  readonly #encoder: GobEncoder;
  /** A short string; or else the bytes of all other values. */
  #text: string | undefined;
  #output: GobOutput | undefined;
  #saved: Uint8Array | undefined;
  #spare: GobOutput | undefined;

  constructor(encoder: GobEncoder) {
    this.#encoder = encoder;
  }

  /**
   * Takes a value in.
   *
   * @throws {GobError} If it has no form in gob, or not the type's.
   */
  prepare(value: unknown, type: GobType<unknown> | undefined): void {
    const plain = typeof value === "string" &&
      (type === undefined || type.kind === "string");
    if (plain && isShortAscii(value)) {
      this.clear();
      this.#text = value;
      this.size = 3 + value.length;
      return;
    }
    const output = this.#spare ?? new GobOutput();
    this.#spare = undefined;
    this.#encoder.content(output, value, type);
    this.clear();
    this.#output = output;
    this.size = output.size;
  }

  /** What is prepared, to be written in a later turn. */
  save(): string | Uint8Array {
    const saved = this.#text ?? this.#saved ?? this.#output!.copy();
    this.clear();
    return saved;
  }

  /** Takes in again what `save` returned. */
  load(draft: unknown): void {
    this.clear();
    if (typeof draft === "string") {
      this.#text = draft;
      this.size = 3 + draft.length;
    } else {
      this.#saved = draft as Uint8Array;
      this.size = this.#saved.length;
    }
  }

  /** Writes the body at `at`, and lets go of it. */
  write(target: Uint8Array, at: number): void {
    const text = this.#text;
    if (text === undefined) target.set(this.#bytes(), at);
    else {
      target[at] = STRING_ID;
      target[at + 1] = 0;
      target[at + 2] = text.length;
      writeAscii(text, target, at + 3);
    }
    this.clear();
  }

  /** The body as bytes that are the receiver's own. */
  give(): Uint8Array {
    const bytes = this.#bytes();
    // Not to be filled again: it is given away.
    this.#output = undefined;
    this.clear();
    return bytes;
  }

  /** Lets go of what is prepared. */
  clear(): void {
    const output = this.#output;
    if (output !== undefined) {
      output.clear();
      this.#spare = output;
    }
    this.#text = undefined;
    this.#output = undefined;
    this.#saved = undefined;
    this.size = 0;
  }

  #bytes(): Uint8Array {
    if (this.#saved !== undefined) return this.#saved;
    const output = this.#output;
    return output === undefined
      ? NO_BYTES
      : output.bytes.subarray(0, output.size);
  }
}
