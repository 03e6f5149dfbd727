/**
 * Prints results as tables of text.
 *
 * @module
 */

/** Rows below a heading: text is aligned to the left, numbers to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => row[i].length))
  );
  const right = head.map((_, i) => rows.every((row) => /^[-\d]/.test(row[i])));
  return [head, ...rows].map((row) =>
    row.map((cell, i) =>
      right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])
    ).join("  ").trimEnd()
  ).join("\n");
}

/** A number with at least three significant digits, and thousands grouped. */
export function short(n: number): string {
  const digits = Math.abs(n) >= 100 ? 0 : Math.abs(n) >= 10 ? 1 : 2;
  return n.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** A number rounded for a line of JSON. */
export function round(n: number, digits: number): number {
  return Number(n.toFixed(digits));
}
