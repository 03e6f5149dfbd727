/**
 * What a simulation has tried, counted by name.
 *
 * @module
 */

/** Counts by name. */
export type Tally = Record<string, number>;

/** Some of them, by what they count. */
export type Tallies = Record<string, Tally>;

/** Counts `n` more. */
export function count(tally: Tally, name: string, n = 1): void {
  tally[name] = (tally[name] ?? 0) + n;
}

/** Adds counts to others. */
export function addTallies(to: Tallies, more: Readonly<Tallies>): void {
  for (const [what, tally] of Object.entries(more)) {
    const sum = to[what] ??= {};
    for (const [name, n] of Object.entries(tally)) count(sum, name, n);
  }
}
