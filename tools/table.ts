/**
 * The table of passed and failed checks that programs print; `.ci/run` adds up its
 * numbers.
 *
 * @module
 */

/** One line of the table. */
export interface Row {
  name: string;
  passed: number;
  failed: number;
  seconds: number;
}

/** The table as text. */
export function table(rows: Row[]): string {
  const cells = (row: Row) => [
    row.name.padEnd(22),
    String(row.passed).padStart(8),
    String(row.failed).padStart(8),
    row.seconds.toFixed(1).padStart(9),
  ];
  const head = ["runtime".padEnd(22), "  passed", "  failed", "  seconds"];
  return [head, ...rows.map(cells)].map((line) => line.join("")).join("\n");
}
