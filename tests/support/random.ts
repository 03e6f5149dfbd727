/**
 * Random numbers from a seed: those of the fault duplex.
 *
 * @module
 */

export { Random } from "../../src/testing/random.ts";

/** A random seed: a whole number below 2^32. */
export function newSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
