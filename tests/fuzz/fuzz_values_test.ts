// A short run with hostile values of users, with a new seed each time.
// `deno task fuzz --values 10000` is the long run.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { Client, memoryPair, ref } from "../../mod.ts";
import { reportOf, ValueCase } from "./value_case.ts";
import { turn } from "../support/clock.ts";
import { newSeed } from "../support/random.ts";

function useReferences(): void {
  const [near] = memoryPair();
  const client = new Client(near);
  ref(client.go("S.take"));
  void client.abort();
}

test("[X2] [X3] [X4] [X10] [X31] [X34] hostile values in every place where users hand values over fail their call alone", async () => {
  const first = newSeed();
  for (let seed = first; seed < first + 300; seed++) {
    // From then on every value is searched for references.
    if (seed === first + 150) useReferences();
    const each = new ValueCase(seed);
    await each.run().catch((error) => {
      assertEquals(reportOf(error), "", `seed ${seed}: ${each.name}`);
    });
  }
  // Gives unhandled rejections time to be reported.
  await turn();
});
