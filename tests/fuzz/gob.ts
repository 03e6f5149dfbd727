/**
 * Throws damaged gob at the decoder: it must read it, or refuse it with a typed
 * error, in a time that follows the bytes.
 *
 * Streams begin as recorded ones of Go's (`tests/vectors/gob.json`) or as our
 * own; then bytes are changed, cut out, doubled, or taken from another stream.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { encodeGob, GobError } from "../../netrpc.ts";
import { decodeAll } from "../../src/netrpc/gob/decoder.ts";
import { All, generate, random, registered } from "../support/zoo.ts";

/** Limits tight enough that a case is quick, whatever it claims. */
const LIMITS = { maxDepth: 200, maxElements: 100_000 };

/** What a run has seen. */
export interface GobFuzzReport {
  /** Streams tried. */
  cases: number;
  /** Those that still were gob. */
  read: number;
  /** The longest that one took, in ms. */
  slowest: number;
}

/** A stream that broke the rules for what the decoder may do. */
export class GobFuzzFailure extends Error {
  /** Names the case, so that it can be run again. */
  constructor(seed: number, index: number, stream: Uint8Array, why: unknown) {
    const hex = [...stream].map((b) => b.toString(16).padStart(2, "0"));
    super(`seed ${seed}, case ${index}: ${why}\n${hex.join("")}`, {
      cause: why,
    });
  }
}

/** The streams that cases are made from. */
export function gobCorpus(): Uint8Array[] {
  const file = new URL("../vectors/gob.json", import.meta.url);
  const recorded: { hex: string }[] = JSON.parse(readFileSync(file, "utf8"));
  const own = Array.from(
    { length: 8 },
    (_, seed) => encodeGob(generate(seed), All, registered),
  );
  return [...recorded.map(({ hex }) => fromHex(hex)), ...own];
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(
    hex.match(/../g) ?? [],
    (byte) => Number.parseInt(byte, 16),
  );
}

/** Bytes that mean something where lengths, ids and counts stand. */
const TELLING = [0, 1, 2, 0x7f, 0x80, 0xf8, 0xf9, 0xfc, 0xfe, 0xff];

/** A damaged stream. */
function damage(corpus: Uint8Array[], next: () => number): Uint8Array {
  const below = (n: number) => Math.floor(next() * n);
  const pick = () => corpus[below(corpus.length)];
  let bytes = [...pick()];
  for (let i = below(4); i >= 0; i--) {
    const at = below(bytes.length + 1);
    switch (below(6)) {
      case 0:
        bytes[at] = TELLING[below(TELLING.length)];
        break;
      case 1:
        bytes[at] = below(256);
        break;
      case 2:
        bytes.splice(at, 1 + below(8));
        break;
      case 3:
        bytes.splice(at, 0, ...bytes.slice(at, at + below(40)));
        break;
      case 4:
        bytes.splice(at, 0, ...pick().subarray(0, below(64)));
        break;
      default:
        bytes = bytes.slice(0, at);
    }
  }
  return Uint8Array.from(bytes, (byte) => byte ?? 0);
}

/**
 * Runs cases for `seconds`, or until `cases` have run.
 *
 * @throws {GobFuzzFailure} If the decoder throws anything but a `GobError`, or takes over `slowLimit` ms (default 2,000) for one stream.
 */
export function fuzzGob(
  seed: number,
  seconds: number,
  { cases = Infinity, slowLimit = 2000 } = {},
): GobFuzzReport {
  const corpus = gobCorpus();
  const next = random(seed);
  const end = performance.now() + seconds * 1000;
  const report: GobFuzzReport = { cases: 0, read: 0, slowest: 0 };
  while (report.cases < cases && performance.now() < end) {
    const stream = damage(corpus, next);
    const type = report.cases % 2 === 0 ? undefined : All;
    const began = performance.now();
    try {
      decodeAll(stream, type, LIMITS);
      report.read++;
    } catch (error) {
      if (!(error instanceof GobError)) {
        throw new GobFuzzFailure(seed, report.cases, stream, error);
      }
    }
    const took = performance.now() - began;
    report.slowest = Math.max(report.slowest, took);
    if (took > slowLimit) {
      throw new GobFuzzFailure(seed, report.cases, stream, `${took} ms`);
    }
    report.cases++;
  }
  return report;
}
