// A server process is killed, stopped or drained under load. The outcomes that
// the client got are compared with a journal that the handlers write to disk.
// `deno task chaos --kills N` and the like repeat it N times.

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

test("[L10] when a server is killed under load, the client's outcomes agree with the server's journal", () =>
  agrees(KILLS));

test("[L11] when a server stops until its client gives it up, and then continues, no call runs twice", () =>
  agrees(STOPS));

test("[L12] no call is lost when a server process drains and restarts under load", () =>
  agrees(RESTARTS));
