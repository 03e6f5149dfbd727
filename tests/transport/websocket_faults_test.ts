// A recorded session over WebSockets, with a fault in place of any message.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { fromWebSocket } from "../../src/transport/web/websocket.ts";
import {
  fakeWebSockets,
  type MessageFault,
  type SocketFaults,
} from "../support/fake_websocket.ts";
import { FULL } from "../support/full.ts";
import { Random } from "../support/random.ts";
import { runScenario } from "../support/scenario.ts";

/** A fault at one message in this many, which differ from run to run. */
const EVERY = FULL ? 1 : 4;

/** What each fault is, as part of a test's name. */
const WORDS: Record<MessageFault["kind"], string> = {
  lost: "that breaks off",
  late: "that delays what follows",
  stall: "whose peer falls silent and never closes",
  closed: "that is closed before its end",
  text: "that gets a text message",
  end: "that ends too early",
  oversized: "that gets an oversized message",
};

/** Plays the session; returns how many messages each side has sent, and the close codes. */
async function play(faults: SocketFaults) {
  const [near, far] = fakeWebSockets(faults);
  await runScenario({
    over: { near: fromWebSocket(near), far: fromWebSocket(far) },
  });
  return {
    out: near.sent,
    back: far.sent,
    codes: [near.closeCode, far.closeCode],
  };
}

test("[K1] a session over WebSockets ends in order, and each side closes with 1000", async () => {
  const { out, back, codes } = await play({});
  assert(out > 50 && back > 50, `${out} and ${back} messages`);
  assertEquals(codes, [1000, 1000]);
});

for (const [kind, words] of Object.entries(WORDS)) {
  test(`[K1] a session over a WebSocket ${words} at any message settles every call with its true outcome, and leaves nothing`, async () => {
    const lengths = await play({});
    const random = new Random();
    for (const direction of ["out", "back"] as const) {
      const first = random.below(EVERY);
      for (let at = first; at < lengths[direction]; at += EVERY) {
        const fault = { at, kind } as MessageFault;
        await play({ [direction]: fault }).catch((cause) => {
          throw new Error(`${direction}:${kind}:${at}`, { cause });
        });
      }
    }
  });
}
