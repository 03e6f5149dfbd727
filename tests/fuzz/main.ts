/**
 * Fuzzes for a while. `tools/fuzz.ts` runs it in parts; the last line of its output
 * is JSON. A finding is printed as a file for `tests/corpus`.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { turn } from "../support/clock.ts";
import { newSeed, Random } from "../support/random.ts";
import { watchUnhandled } from "../support/unhandled.ts";
import {
  type FuzzCase,
  isParser,
  makeCase,
  makePool,
  type Pool,
  recut,
  TARGETS,
  toFile,
} from "./fuzz_case.ts";
import { runFuzzCase } from "./run_case.ts";

/** Parsers are much faster than clients and servers: each gets this many streams for one of theirs. */
const PARSED = 15;
/** Each stream is cut into chunks in this many ways; each is a case. */
const CUTS = 4;
/** It stops after this many findings. */
const ENOUGH = 3;

/** The current case. If it never ends, the process prints it and exits. */
let under: FuzzCase | undefined;
process.on("exit", () => {
  if (under !== undefined) console.log(`hangs: ${toFile("hangs", under)}`);
});

/** The fault of a case; undefined if there is none. */
async function wrongWith(
  each: FuzzCase,
  unhandled: unknown[],
): Promise<unknown> {
  under = each;
  try {
    await runFuzzCase(each);
  } catch (error) {
    return error ?? "nothing thrown";
  } finally {
    under = undefined;
  }
  if (!isParser(each.target)) await turn();
  return unhandled.pop();
}

/** Drops chunks one by one while the fault stays the same. */
async function shrunk(each: FuzzCase, unhandled: unknown[]): Promise<FuzzCase> {
  let { chunks } = each;
  for (let i = chunks.length - 1; i >= 0; i--) {
    const fewer = chunks.toSpliced(i, 1);
    const fault = await wrongWith({ ...each, chunks: fewer }, unhandled);
    if (fault !== undefined) chunks = fewer;
  }
  return { ...each, chunks };
}

/** Endless cases: one for each client or server in turn, many for each parser. */
function* cases(random: Random, pool: Pool): Generator<FuzzCase> {
  for (;;) {
    for (const target of TARGETS) {
      const streams = isParser(target) ? PARSED : 1;
      const cuts = isParser(target) ? CUTS : 1;
      for (let i = 0; i < streams; i++) {
        const one = makeCase(random, pool, target);
        yield one;
        for (let cut = 1; cut < cuts; cut++) yield recut(random, one);
      }
    }
  }
}

async function main(): Promise<void> {
  Error.stackTraceLimit = 0;
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: String(newSeed()) },
      seconds: { type: "string", default: "10" },
      cases: { type: "string", default: "1" },
    },
  });
  const random = new Random(Number(values.seed));
  const until = performance.now() + 1000 * Number(values.seconds);
  const least = Number(values.cases);
  const unhandled = watchUnhandled();
  const counts = Object.fromEntries(TARGETS.map((target) => [target, 0]));
  let runs = 0;
  let failed = 0;
  for (const each of cases(random, await makePool())) {
    runs++;
    counts[each.target]++;
    const fault = await wrongWith(each, unhandled);
    if (fault !== undefined) {
      failed++;
      console.log(`seed ${random.seed}, case ${runs}: ${fault}`);
      console.log("as a file of tests/corpus:");
      console.log(toFile(String(fault), await shrunk(each, unhandled)));
    }
    if (failed >= ENOUGH) break;
    if (runs >= least && performance.now() >= until) break;
  }
  const { seed } = random;
  console.log(JSON.stringify({ runs, failed, seed, ...counts }));
  process.exit(failed > 0 ? 1 : 0);
}

await main();
