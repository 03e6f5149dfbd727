// The list of deliberate mistakes fits the code and its table in the documentation.

import { assert, assertEquals } from "@std/assert";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { MUTANTS } from "../../tools/mutants/list.ts";

function read(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), "utf8");
}

test("every mistake changes exactly one place of its file", async () => {
  for (const { name, file, find, replace } of MUTANTS) {
    const parts = (await read(file)).split(find);
    assertEquals(parts.length, 2, `${name}: ${file}`);
    assert(find !== replace, name);
  }
});

test("docs/reliability.md lists every mistake with the check that catches it, and no other", async () => {
  const text = await read("docs/reliability.md");
  const table = text.slice(text.indexOf("| mistake"));
  const listed = [
    ...table.matchAll(/^\| (.+?) +\| (simulation|cuts|hostile) +\|$/gm),
  ]
    .map(([, name, check]) => [name, check]);
  assertEquals(listed, MUTANTS.map(({ name, caughtBy }) => [name, caughtBy]));
});
