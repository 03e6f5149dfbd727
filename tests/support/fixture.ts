/**
 * The certificates and keys of `tests/fixtures`.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The path of a file of `tests/fixtures`. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** The text of a file of `tests/fixtures`. */
export function fixture(name: string): string {
  return readFileSync(fixturePath(name), "utf8");
}
