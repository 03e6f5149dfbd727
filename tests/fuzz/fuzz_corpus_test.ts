// Every case of `tests/corpus`: those that the fuzzer once found, and a few to
// start from. `deno task fuzz` looks for more.

import { assert } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { type CaseFile, fromFile, TARGETS } from "./fuzz_case.ts";
import { runFuzzCase } from "./run_case.ts";

const corpus = new URL("../corpus/", import.meta.url);
const names = readdirSync(corpus).filter((name) => name.endsWith(".json"));

const fed = new Set<string>();

for (const name of names.sort()) {
  const text = readFileSync(new URL(name, corpus), "utf8");
  const file: CaseFile = JSON.parse(text);
  fed.add(file.target);
  test(`[B10] ${name.replace(".json", "")}: ${file.about}`, async () => {
    await runFuzzCase(fromFile(file));
  });
}

test("the corpus has cases for every target", () => {
  for (const target of TARGETS) {
    assert(fed.has(target), target);
  }
});
