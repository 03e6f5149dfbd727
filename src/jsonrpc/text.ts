/**
 * Payloads on their way out, as JSON text.
 *
 * Invariant owned here: a value is turned into its text when it is prepared;
 * later changes to it do not show.
 *
 * @module
 */

import { RpcError } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import { type PayloadRole, toJson } from "../wire/to_json.ts";

/** A text that waits. */
export interface TextDraft {
  readonly bytes: Uint8Array;
  readonly oneWay: boolean;
}

/** Prepares one payload at a time. */
export class Text {
  /** Whether it is a notification's params. */
  oneWay = false;
  /** Its text; empty for no value. */
  #bytes: Uint8Array = EMPTY;

  /** Its size in bytes; 0 for no value. */
  get size(): number {
    return this.#bytes.length;
  }

  /**
   * Takes a value in.
   *
   * @throws {RpcError} `invalid_argument` if JSON cannot carry it.
   */
  prepare(value: unknown, role?: PayloadRole): void {
    this.#bytes = value === undefined ? EMPTY : utf8(toJson(value, role));
    // After the value's own code has run, which may have prepared another.
    this.oneWay = false;
  }

  /**
   * Looks at it as params.
   *
   * @throws {RpcError} `invalid_argument` if they are neither array nor object.
   */
  checkParams(): void {
    const first = this.#bytes[0];
    if (first === undefined || first === 0x5b || first === 0x7b) return;
    throw unsayable("JSON-RPC's params are an array or an object");
  }

  /** What is prepared, to be written in a later turn. */
  save(): TextDraft {
    const { oneWay } = this;
    return { bytes: this.take(), oneWay };
  }

  /** Takes in again what `save` returned. */
  load(draft: TextDraft): void {
    this.#bytes = draft.bytes;
    this.oneWay = draft.oneWay;
  }

  /** The text, and lets go of it. */
  take(): Uint8Array {
    const bytes = this.#bytes;
    this.#bytes = EMPTY;
    return bytes;
  }
}

const EMPTY = new Uint8Array(0);

/** The error for what JSON-RPC has no form for. */
export function unsayable(why: string, cause?: unknown): RpcError {
  const outcome = "not_sent";
  return new RpcError("invalid_argument", why, { outcome, cause });
}
