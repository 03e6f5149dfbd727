// A sample of the simulation: `deno task sim` runs as many seeds as one likes,
// and compares the traces of the three runtimes.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { test } from "node:test";
import { simulate } from "./sim/run.ts";
import { newSeed } from "./support/random.ts";

const SEEDS = 60;

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

test("the simulation makes calls of every outcome", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const { lines } = await simulate(seed, true);
    for (const line of lines ?? []) {
      const told = /^\d+ (\w+) (\w+) (\w+)$/.exec(line);
      if (told !== null) seen.add(`${told[2]}>${told[3]}`);
    }
  }
  for (
    const outcome of [
      "executed>executed",
      "not_sent>not_sent",
      "refused>refused",
      "unknown>unknown",
      "unknown>executed",
      "unknown>refused",
    ]
  ) assert(seen.has(outcome), `no call was ${outcome}`);
});
