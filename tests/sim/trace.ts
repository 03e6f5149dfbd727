/**
 * The trace of a simulated run, as a hash: FNV-1a, 32 bits, over the UTF-8 of
 * its lines.
 *
 * Only what is settled is noted, so that it does not depend on how many
 * microtasks a runtime's streams take.
 *
 * @module
 */

const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/** Hashes lines. With `keep` it also keeps them. */
export class Trace {
  readonly lines: string[] | undefined;
  #hash = OFFSET;

  constructor(keep: boolean) {
    this.lines = keep ? [] : undefined;
  }

  /** Adds a line of ASCII. */
  note(line: string): void {
    let hash = this.#hash;
    for (let i = 0; i < line.length; i++) {
      hash = Math.imul(hash ^ line.charCodeAt(i), PRIME);
    }
    this.#hash = Math.imul(hash ^ 10, PRIME);
    this.lines?.push(line);
  }

  /** The hash so far, in hex. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }
}
