// The list of deliberate mistakes stays true to the code and its document.

import { assert, assertEquals } from "@std/assert";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { MUTANTS } from "../../tools/mutants/list.ts";

function read(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), "utf8");
}

test("every mistake fits its file at exactly one place, and changes it", async () => {
  for (const { name, file, find, replace } of MUTANTS) {
    const parts = (await read(file)).split(find);
    assertEquals(parts.length, 2, `${name}: ${file}`);
    assert(find !== replace, name);
  }
});

test("docs/reliability.md lists every mistake, and no other", async () => {
  const text = await read("docs/reliability.md");
  const table = text.slice(text.indexOf("| mistake"));
  const listed = [
    ...table.matchAll(/^\| (.+?) +\| (?:simulation|cuts|hostile) +\|$/gm),
  ]
    .map(([, name]) => name);
  assertEquals(listed, MUTANTS.map(({ name }) => name));
});
