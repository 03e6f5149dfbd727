// The platform's clock.

import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";

test("a turn of the event loop needs no timer, which a page would delay", async () => {
  const { setTimeout } = globalThis;
  try {
    globalThis.setTimeout = (() => {
      throw new Error("a timer was set");
    }) as unknown as typeof setTimeout;
    for (let i = 0; i < 10; i++) await systemClock.turn();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
});
