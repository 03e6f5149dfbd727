// A sample of the simulation: `deno task sim` runs as many seeds as one likes,
// and compares the traces of the three runtimes.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { test } from "node:test";
import { simulate } from "./sim/run.ts";
import { newSeed } from "./support/random.ts";

const SEEDS = 40;

test("[I8] random lives over faulty lines keep every law, and come to rest", async () => {
  const first = newSeed();
  for (let i = 0; i < SEEDS; i++) {
    const { seed, problems } = await simulate(first + i);
    assertEquals(problems, [], `again: deno task sim --seed ${seed}`);
  }
});

test("the same seed lives the same life, another one another", async () => {
  const seed = newSeed();
  const first = await simulate(seed, true);
  const second = await simulate(seed, true);
  assertEquals(second.lines, first.lines, `seed ${seed}`);
  assertEquals(second.hash, first.hash);
  assertNotEquals((await simulate(seed + 1)).hash, first.hash);
});

/** What some seeds' traces say in the end of each call and each stream. */
let traces: Promise<string[]> | undefined;

async function trace(): Promise<string[]> {
  const all: string[] = [];
  for (let seed = 0; seed < 25; seed++) {
    const { lines } = await simulate(seed, true);
    for (const line of lines ?? []) if (/^\d/.test(line)) all.push(line);
  }
  return all;
}

/** What `pattern` finds in them. */
async function told(pattern: RegExp): Promise<Set<string>> {
  const seen = new Set<string>();
  for (const line of await (traces ??= trace())) {
    const found = pattern.exec(line);
    if (found !== null) seen.add(found.slice(1).join(" "));
  }
  return seen;
}

test("the simulation makes calls of every outcome", async () => {
  const seen = await told(/^\d+ \w+ (\w+) (\w+)$/);
  for (
    const outcome of [
      "executed executed",
      "not_sent not_sent",
      "refused refused",
      "unknown unknown",
      "unknown executed",
      "unknown refused",
    ]
  ) assert(seen.has(outcome), `no call was ${outcome}`);
});

test("the simulation has streams of every ending", async () => {
  const seen = [...await told(/^\d+ (\w+): gave \d+ (\w+), got \d+ (\w+)$/)];
  const ends = (which: string, at: number) =>
    seen.map((ends) => ends.split(" ")).filter(([w]) => w === which)
      .map((ends) => ends[at]);
  for (const which of ["params", "result"]) {
    for (const end of ["done", "threw", "unsayable"]) {
      assert(ends(which, 1).includes(end), `no source of ${which} ${end}`);
    }
    for (const end of ["done", "failed", "left", "aborted"]) {
      assert(ends(which, 2).includes(end), `no reader of ${which} ${end}`);
    }
  }
});
