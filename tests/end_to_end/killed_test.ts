// A server process killed, stopped or drained under load: what the client was
// told is held against a journal that the server's handlers write to disk.
// `deno task chaos --kills N` and the like do it as often as one likes.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { OWN } from "../../bench/demo/runtimes.ts";
import { KILLS } from "../../tools/chaos/kills.ts";
import { type Program, run } from "../../tools/chaos/program.ts";
import { RESTARTS } from "../../tools/chaos/restarts.ts";
import { STOPS } from "../../tools/chaos/stops.ts";
import { FULL } from "../support/full.ts";
import { newSeed } from "../support/random.ts";

const TIMES = FULL ? 100 : 3;

async function agrees(program: Program): Promise<void> {
  const seed = newSeed();
  const { faults } = await run(program, TIMES, { server: OWN, seed });
  assertEquals(faults, [], `seed ${seed}`);
}

test("[L10] a server killed under load: ledger and journal agree", () =>
  agrees(KILLS));

test("[L11] a server that stands still until it is given up, and goes on: nothing runs twice", () =>
  agrees(STOPS));

test("[L12] a server process restarted by drain under load loses no call", () =>
  agrees(RESTARTS));
