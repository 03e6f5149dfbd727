// A recorded session that is cut at some of its bytes. `deno task chaos` cuts it
// at every byte.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { allCases, KINDS, runCase } from "../chaos/cuts.ts";
import { runScenario } from "../support/scenario.ts";
import { Random } from "../support/random.ts";

/** Cuts at one offset in this many, which differ from run to run. */
const EVERY = 149;

test("the recorded session has at least 200 calls of every kind, and the same bytes each time", async () => {
  const bytes: number[] = [];
  const record = (_: string, chunk: Uint8Array) => void bytes.push(...chunk);
  const first = await runScenario({ record });
  const once = bytes.splice(0);
  const second = await runScenario({ record });
  assertEquals(second, first);
  assertEquals(bytes, once);
  assert(first.calls >= 200, `${first.calls} calls`);
  assertEquals(Object.keys(first.received).sort(), [
    "aborted",
    "cancelled",
    "deadline_exceeded",
    "dependency_failed",
    "internal",
    "invalid_argument",
    "late_sorry",
    "not_found",
    "reply",
    "sorry",
    "unavailable",
  ]);
});

const WORDS = {
  cut: "cut",
  reset: "reset",
  stall: "stalled",
  garble: "garbled",
} as const;

for (const kind of KINDS) {
  test(`[L1] [B10] a session ${WORDS[kind]} at any byte settles every call with its true outcome, and leaves nothing`, async () => {
    const lengths = await runScenario();
    const random = new Random();
    const cases = allCases(lengths, EVERY, random.below(EVERY));
    for (const each of cases) {
      if (each.kind !== kind) continue;
      await runCase(each).catch((cause) => {
        throw new Error(`${each.direction}:${kind}:${each.at}`, { cause });
      });
    }
  });
}
