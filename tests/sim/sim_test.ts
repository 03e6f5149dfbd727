// A sample of the simulation: `deno task sim` runs as many seeds as one likes,
// and compares the traces of the three runtimes; `deno task sim --hostile` does
// the same with peers that break the rules.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { test } from "node:test";
import { BREACHES } from "./hostile_frames.ts";
import { simulateHostile } from "./hostile_world.ts";
import { simulate } from "./run.ts";
import { addTallies, type Tallies } from "./tally.ts";
import { newSeed } from "../support/random.ts";
import { KIND } from "../support/raw_peer.ts";

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

/** What `pattern` matches in the traces. */
async function seenInTraces(pattern: RegExp): Promise<Set<string>> {
  const seen = new Set<string>();
  for (const line of await (traces ??= trace())) {
    const found = pattern.exec(line);
    if (found !== null) seen.add(found.slice(1).join(" "));
  }
  return seen;
}

test("the simulation makes calls of every outcome", async () => {
  const seen = await seenInTraces(/^\d+ \w+ (\w+) (\w+)$/);
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
  const seen = [
    ...await seenInTraces(/^\d+ (\w+): gave \d+ (\w+), got \d+ (\w+)$/),
  ];
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

/** Seeds of eight hostile peers each. */
const HOSTILE = 40;

test("[X1] nothing is left of connections whose peers break the rules at random", async () => {
  const first = newSeed();
  for (let i = 0; i < HOSTILE; i++) {
    const { seed, problems } = await simulateHostile(first + i);
    const again = `again: deno task sim --hostile 1 --seed ${seed}`;
    assertEquals(problems, [], again);
  }
});

/** Seeds that once found a fault: a call was removed from a list that it had already left. */
const FOUND = [3_001_613];

test("[X1] seeds of hostile peers that once found a fault find none any more", async () => {
  for (const seed of FOUND) {
    assertEquals((await simulateHostile(seed)).problems, [], `seed ${seed}`);
  }
});

test("[X1] hostile peers send frames of every kind, and break every rule of their list", async () => {
  const tried: Tallies = {};
  for (let seed = 0; seed < HOSTILE; seed++) {
    addTallies(tried, (await simulateHostile(seed)).tallies);
  }
  for (const kind of Object.keys(KIND)) {
    assert(tried.frames[kind] > 0, `no ${kind} was sent`);
  }
  for (const [name] of BREACHES) {
    assert(tried.breaches[name] > 0, `never tried: ${name}`);
  }
  for (const role of ["server", "client", "both"]) {
    for (const code of ["protocol_error", "unavailable", "in order"]) {
      assert(tried.ends[`${role}: ${code}`] > 0, `${role}: never ${code}`);
    }
  }
  assert(tried.work["handlers that ran at the end of their connection"] > 0);
});
