// A short run of the fuzzer for every target, with a new seed each time.
// `deno task fuzz` is the long run.

import { test } from "node:test";
import { isParser, makeCase, makePool, TARGETS, toFile } from "./fuzz_case.ts";
import { runFuzzCase } from "./run_case.ts";
import { turn } from "../support/clock.ts";
import { newSeed, Random } from "../support/random.ts";

const pool = await makePool();

for (const target of TARGETS) {
  test(`[B10] ${target} survives what a seed makes up`, async () => {
    const random = new Random(newSeed());
    const cases = isParser(target) ? 500 : 40;
    for (let i = 0; i < cases; i++) {
      const each = makeCase(random, pool, target);
      await runFuzzCase(each).catch((cause) => {
        const file = toFile(String(cause), each);
        throw new Error(`seed ${random.seed}, case ${i}:\n${file}`, { cause });
      });
    }
    // Gives unhandled rejections time to be reported.
    await turn();
  });
}
