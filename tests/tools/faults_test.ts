// The catalogue of faults and the tests: no row without a test, no test of a
// row that is not there, and the list of tests as the tests are.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  namedTests,
  readCatalogue,
  relisted,
  rowsOf,
  waitingOf,
} from "../../tools/faults/catalogue.ts";

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

test("a row that has a test waits for nothing", () => {
  const tested = new Set(tests.flatMap(({ rows }) => rows));
  assertEquals(waitingOf(text).filter((id) => tested.has(id)), []);
});

test("the list of tests is what the tests say, no more and no less", () => {
  assert(relisted(text) === text, "run `deno task faults`");
});
