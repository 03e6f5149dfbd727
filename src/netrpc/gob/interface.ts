/**
 * Reads interfaces: a registered name, descriptions of types that are new, the
 * value's type and its bytes.
 *
 * A description may end its message; the value then goes on in the next one,
 * whose byte count stands just where that of an inner part would. The scanner
 * has put the parts together, and taken the descriptions in.
 *
 * @module
 */

import { BASICS } from "./basics.ts";
import { quote } from "../../base/errors.ts";
import { GobError, Mismatch } from "./error.ts";
import { type GobInput, SIZES } from "./input.ts";
import { MAX_NAME } from "./scanner.ts";
import { typeName } from "./schema.ts";
import { Registered } from "./values.ts";
import type { ReaderTable } from "./wanted.ts";
import { passDescription } from "./wire_types.ts";

/** An interface's value; `null` for `nil`. */
export function readInterface(readers: ReaderTable, input: GobInput): unknown {
  const start = input.at;
  const name = input.text();
  if (name === "") return null;
  if (input.at - start > MAX_NAME + 3) {
    throw new GobError(`a registered name of over ${MAX_NAME} bytes`);
  }
  let id = input.typeId();
  while (id < 0) {
    passDescription(input);
    // The byte count of what follows.
    input.small();
    id = input.typeId();
  }
  input.length();
  input.enter();
  input.spend(1, SIZES.registered);
  const value = readConcrete(readers, input, name, id);
  input.leave();
  return BASICS.has(name) ? value : new Registered(name, value);
}

/** The value itself, as the type that its name is registered with, if it is. */
function readConcrete(
  readers: ReaderTable,
  input: GobInput,
  name: string,
  id: number,
): unknown {
  const type = readers.registered.get(name);
  try {
    return readers.value(input, id, type);
  } catch (error) {
    if (type === undefined || !(error instanceof Mismatch)) throw error;
    const remote = readers.types.name(id);
    throw new GobError(
      `wrong type (${typeName(type)}) for ${
        quote(name)
      } in an interface; received ${remote}`,
    );
  }
}
