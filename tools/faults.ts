/**
 * Updates the list of tests in `docs/faults.md`: `deno task faults`.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import {
  CATALOGUE_FILE,
  listed,
  readCatalogue,
  relisted,
} from "./faults/catalogue.ts";
import { tool } from "./process.ts";

await tool(() => {
  const text = relisted(readCatalogue());
  writeFileSync(CATALOGUE_FILE, text);
  console.log(`docs/faults.md lists ${listed(text).length} lines of tests`);
  return Promise.resolve();
});
