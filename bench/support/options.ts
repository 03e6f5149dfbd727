/**
 * Reads lists and numbers from command lines of benchmarks.
 *
 * @module
 */

/**
 * Reads a list of names, separated by commas.
 *
 * @throws {Error} If a name is not one of `all`.
 */
export function choices<T extends string>(
  option: string,
  text: string,
  all: readonly T[],
): T[] {
  return text.split(",").map((name) => {
    const found = all.find((each) => each === name);
    if (found !== undefined) return found;
    throw wrong(option, `some of ${all.join(", ")}`, name);
  });
}

/**
 * Reads a list of whole numbers, separated by commas.
 *
 * @throws {Error} If one is not a whole number, or is out of range.
 */
export function wholes(
  option: string,
  text: string,
  least: number,
  most: number,
): number[] {
  return text.split(",").map((each) => {
    const n = Number(each);
    if (/^\d+$/.test(each) && n >= least && n <= most) return n;
    throw wrong(option, `whole numbers from ${least} to ${most}`, each);
  });
}

/**
 * Reads one number.
 *
 * @throws {Error} If it is not a number, or is out of range.
 */
export function decimal(option: string, text: string, most: number): number {
  const n = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && n <= most) return n;
  throw wrong(option, `a number from 0 to ${most}`, text);
}

/** The error for a wrong option. */
export function wrong(
  option: string,
  expected: string,
  received: string,
): Error {
  return new Error(
    `Cannot use --${option}: expected ${expected}, received "${received}"`,
  );
}
