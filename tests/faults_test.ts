// The catalogue of faults and the tests: no row without a test, no test of a
// row that is not there, and no test in the list that is gone.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  lineOf,
  listed,
  namedTests,
  readCatalogue,
  rowsOf,
  waitingOf,
} from "./support/catalogue.ts";

const text = readCatalogue();
const rows = rowsOf(text);
const tests = namedTests();

test("every row of the catalogue has a test, or says what it waits for", () => {
  assert(rows.length > 80, `${rows.length} rows`);
  assertEquals(new Set(rows).size, rows.length);
  const tested = new Set(tests.flatMap(({ rows }) => rows));
  const waiting = new Set(waitingOf(text));
  const without = rows.filter((id) => !tested.has(id) && !waiting.has(id));
  assertEquals(without, []);
});

test("every row that a test names, or that waits, is in the catalogue", () => {
  const known = new Set(rows);
  const named = [...tests.flatMap(({ rows }) => rows), ...waitingOf(text)];
  assertEquals(named.filter((id) => !known.has(id)), []);
});

test("the list of tests names only tests that exist, and some for each tested row", () => {
  const existing = new Set(
    tests.flatMap((one) => one.rows.map((row) => lineOf(row, one))),
  );
  const lines = listed(text);
  const hint = "run `deno task faults`";
  assertEquals(lines.filter((line) => !existing.has(line)), [], hint);
  const named = new Set(lines.map((line) => line.split(" ")[0]));
  const tested = new Set(tests.flatMap(({ rows }) => rows));
  assertEquals([...tested].filter((id) => !named.has(id)), [], hint);
});
