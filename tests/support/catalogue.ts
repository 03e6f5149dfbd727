/**
 * The catalogue of faults, `docs/faults.md`, and the tests that name its rows.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

const DOCUMENT = new URL("../../docs/faults.md", import.meta.url);
const TESTS = new URL("../", import.meta.url);

/** One test that names rows. */
export interface NamedTest {
  readonly rows: readonly string[];
  readonly file: string;
  /** Without the rows; what its code fills in is "…". */
  readonly name: string;
}

/** The catalogue as text. */
export function readCatalogue(): string {
  return readFileSync(DOCUMENT, "utf8");
}

export const CATALOGUE_FILE: URL = DOCUMENT;

/** Every row of the tables, in order. */
export function rowsOf(text: string): string[] {
  const [tables] = text.split(/^## (?:Waiting|The tests)/m);
  return Array.from(tables.matchAll(/^\| ([A-Z]\d+) +\|/gm), ([, id]) => id);
}

/** The rows that say what they wait for. */
export function waitingOf(text: string): string[] {
  const [, behind = ""] = text.split("## Waiting");
  return Array.from(behind.matchAll(/^\| ([A-Z]\d+) +\|/gm), ([, id]) => id);
}

/** A string that begins with rows in brackets. */
const NAME = /(["`])((?:\[[A-Z]\d+\] ?)+)((?:(?!\1)[^\\]|\\.)*)\1/g;

/** All tests whose names begin with rows. */
export function namedTests(): NamedTest[] {
  const files = readdirSync(TESTS).filter((file) => file.endsWith("_test.ts"));
  return files.sort().flatMap((file) => {
    const source = readFileSync(new URL(file, TESTS), "utf8");
    return Array.from(source.matchAll(NAME), ([, , rows, name]) => ({
      rows: Array.from(rows.matchAll(/[A-Z]\d+/g), ([id]) => id),
      file,
      name: name.replace(/\$\{[^}]*\}/g, "…"),
    }));
  });
}

/** A line of the list of tests. */
export function lineOf(row: string, { file, name }: NamedTest): string {
  return `${row.padEnd(3)} ${file}: ${name}`;
}

const LIST = /(## The tests\n\n```text\n)([^]*?)(```)/;

/** The lines of the list of tests, as they stand. */
export function listed(text: string): string[] {
  const found = LIST.exec(text);
  return found === null ? [] : found[2].split("\n").filter(Boolean);
}

/** The catalogue with the list of tests made anew. */
export function relisted(text: string): string {
  const tests = namedTests();
  const lines = rowsOf(text).flatMap((row) =>
    tests.filter(({ rows }) => rows.includes(row)).map((t) => lineOf(row, t))
  );
  return text.replace(
    LIST,
    (_, head, __, tail) =>
      head + lines.map((line) => `${line}\n`).join("") + tail,
  );
}
