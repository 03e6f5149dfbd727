/**
 * The header of each request and response on the gob wire.
 *
 * @module
 */

import { GobError } from "./gob/error.ts";
import type { GobInput } from "./gob/input.ts";
import { type GobType, string, struct, uint } from "./gob/schema.ts";
import type { WireTypes } from "./gob/wire_types.ts";
import { STRING, UINT } from "./gob/wire_types.ts";
import { readText } from "../base/utf8.ts";

/** What Go calls a request's header. */
export const REQUEST: GobType<unknown> = struct(
  { ServiceMethod: string, Seq: uint },
  "Request",
);
/** What Go calls a response's header. */
export const RESPONSE: GobType<unknown> = struct(
  { ServiceMethod: string, Seq: uint, Error: string },
  "Response",
);

/** The type of each field that counts. */
const FIELDS: Readonly<Record<string, number>> = {
  ServiceMethod: STRING,
  Seq: UINT,
  Error: STRING,
};

/** Longest method name that is kept for the next header, in bytes. */
const MAX_KEPT = 256;

/** Reads headers; the latest one's fields are its own. */
export class HeaderReader {
  method = "";
  seq = 0;
  error = "";

  readonly #types: WireTypes;
  /** The fields' names by number, for the type that was read last. */
  #id = -1;
  #names: readonly string[] = [];
  /** The method read last, with its bytes: calls in a row mostly share one. */
  #last = "";
  #lastBytes = new Uint8Array(0);

  constructor(types: WireTypes) {
    this.#types = types;
  }

  /**
   * Reads a header of type `id`.
   *
   * @throws {GobError} If it is none.
   */
  read(id: number, input: GobInput): void {
    if (id !== this.#id) this.#learn(id);
    this.method = "";
    this.seq = 0;
    this.error = "";
    let field = -1;
    for (;;) {
      const delta = input.small();
      if (delta === 0) break;
      field += delta;
      switch (this.#names[field]) {
        case "ServiceMethod":
          this.method = this.#readMethod(input);
          break;
        case "Seq":
          this.seq = input.small();
          break;
        case "Error":
          this.error = input.text();
          break;
        default:
          throw new GobError(`a header with a field ${field}`);
      }
    }
    input.done();
  }

  /** Looks at a type that headers are said to have. */
  #learn(id: number): void {
    const type = this.#types.get(id);
    const fields = type.kind === "struct" ? type.fields : [];
    const fits = fields.length > 0 &&
      fields.every(({ name, id }) =>
        Object.hasOwn(FIELDS, name) && FIELDS[name] === id
      );
    if (!fits) throw new GobError("a header that is none of net/rpc's");
    this.#names = fields.map(({ name }) => name);
    this.#id = id;
  }

  #readMethod(input: GobInput): string {
    const n = input.length();
    const { bytes, at } = input;
    input.at = at + n;
    const last = this.#lastBytes;
    if (n === last.length && isSame(bytes, at, last)) return this.#last;
    let name: string;
    try {
      name = readText(bytes, at, at + n);
    } catch (cause) {
      throw new GobError("a method's name is not UTF-8", { cause });
    }
    if (n > MAX_KEPT) return name;
    this.#last = name;
    this.#lastBytes = new Uint8Array(bytes.subarray(at, at + n));
    return name;
  }
}

function isSame(bytes: Uint8Array, at: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) {
    if (bytes[at + i] !== other[i]) return false;
  }
  return true;
}
