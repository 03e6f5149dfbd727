/**
 * A small generator of random numbers from a seed. It uses integer arithmetic
 * alone, so a seed gives the same numbers on every runtime.
 *
 * @module
 */

/** Random numbers from a seed (mulberry32). */
export class Random {
  /** Its seed. Print it, so that a run can be repeated. */
  readonly seed: number;
  #state: number;

  constructor(
    seed: number = crypto.getRandomValues(new Uint32Array(1))[0],
  ) {
    this.seed = seed >>> 0;
    // Neighbouring seeds must not give similar runs.
    this.#state = Math.imul(this.seed ^ 0x9e3779b9, 0x85ebca6b) | 0;
  }

  /** A whole number below 2^32. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** A whole number from 0 to `n - 1`. */
  below(n: number): number {
    return this.u32() % n;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A second generator, so that one part of a test does not shift the numbers of another. */
  fork(): Random {
    return new Random(this.u32());
  }
}
