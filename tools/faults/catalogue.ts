/**
 * The list of faults in `docs/faults.md`, and the tests whose names contain its
 * row ids.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

const DOCUMENT = new URL("../../docs/faults.md", import.meta.url);
const TESTS = new URL("../../tests/", import.meta.url);

/** One test whose name begins with row ids. */
export interface NamedTest {
  readonly rows: readonly string[];
  readonly file: string;
  /** Its name without the ids; "…" stands for parts that code fills in. */
  readonly name: string;
}

/** Reads the document. */
export function readCatalogue(): string {
  return readFileSync(DOCUMENT, "utf8");
}

export const CATALOGUE_FILE: URL = DOCUMENT;

/** The ids of all rows of the tables, in order. */
export function rowsOf(text: string): string[] {
  const [tables] = text.split(/^## (?:Waiting|The tests)/m);
  return Array.from(tables.matchAll(/^\| ([A-Z]\d+) +\|/gm), ([, id]) => id);
}

/** The ids of rows under "Waiting". */
export function waitingOf(text: string): string[] {
  const [, behind = ""] = text.split("## Waiting");
  return Array.from(behind.matchAll(/^\| ([A-Z]\d+) +\|/gm), ([, id]) => id);
}

/** A string that begins with row ids in brackets. */
const NAME = /(["`])((?:\[[A-Z]\d+\] ?)+)((?:(?!\1)[^\\]|\\.)*)\1/g;

/** Tests that are not part of the suite. */
const APART = /^interop\/|node_modules/;

/** Names and sources of all test files. */
function testFiles(): [string, string][] {
  const files = readdirSync(TESTS, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith("_test.ts") && !APART.test(file));
  return files.sort().map((file) => [
    file,
    readFileSync(new URL(file, TESTS), "utf8"),
  ]);
}

/** All tests whose names begin with row ids. */
export function namedTests(): NamedTest[] {
  return testFiles().flatMap(([file, source]) =>
    Array.from(source.matchAll(NAME), ([, , rows, name]) => ({
      rows: Array.from(rows.matchAll(/[A-Z]\d+/g), ([id]) => id),
      file,
      name: name.replace(/\$\{[^}]*\}/g, "…"),
    }))
  );
}

/** A line of the list of tests. */
export function lineOf(row: string, { file, name }: NamedTest): string {
  return `${row.padEnd(3)} ${file}: ${name}`;
}

const LIST = /(## The tests\n\n```text\n)([^]*?)(```)/;
const NUMBERS = /\| tests of +\|.*\n(?:\|.*\n)*/;
const FULL = /FULL \? ([\d_]+) : ([\d_]+)/g;

/** The lines of the list of tests in the document. */
export function listed(text: string): string[] {
  const found = LIST.exec(text);
  return found === null ? [] : found[2].split("\n").filter(Boolean);
}

/** The document with a new list of tests and a new table of numbers. */
export function relisted(text: string): string {
  const tests = namedTests();
  const lines = rowsOf(text).flatMap((row) =>
    tests.filter(({ rows }) => rows.includes(row)).map((t) => lineOf(row, t))
  );
  return text
    .replace(
      LIST,
      (_, head, __, tail) =>
        head + lines.map((line) => `${line}\n`).join("") + tail,
    )
    .replace(NUMBERS, numbers());
}

/** The table of tests that use smaller numbers unless `SLUICE_FULL` is set. */
function numbers(): string {
  const count = (digits: string) =>
    Number(digits.replaceAll("_", "")).toLocaleString("en-US");
  const lines = testFiles().flatMap(([file, source]) =>
    Array.from(source.matchAll(FULL), ({ 1: full, 2: usual, index }) => {
      const named = Array.from(source.matchAll(NAME));
      // The test that contains it, or all tests if it precedes them.
      const before = named.filter((name) => name.index < index).slice(-1);
      const about = before.length > 0 ? before : named;
      const rows = about.flatMap(([, , ids]) => ids.match(/[A-Z]\d+/g) ?? []);
      const where = `${[...new Set(rows)].join(", ")} in ${file}`;
      return [where, count(usual), count(full)];
    })
  );
  const table = [["tests of", "usually", "in full"], ...lines];
  const widths = [0, 1, 2].map((i) =>
    Math.max(...table.map((cells) => cells[i].length))
  );
  const [head, ...body] = table.map(([where, usual, full]) =>
    `| ${where.padEnd(widths[0])} | ${usual.padStart(widths[1])} | ${
      full.padStart(widths[2])
    } |\n`
  );
  const [a, b, c] = widths.map((width) => "-".repeat(width - 1));
  const rule = `| ${a}- | ${b}: | ${c}: |\n`;
  return head + rule + body.join("");
}
