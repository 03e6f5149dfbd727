// The call log finds every contradiction between what a caller received and what
// its handler saw. (All other tests that use the log show that it finds none
// where there is none.)

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { type CallHandle, type Outcome, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { CallLog } from "../support/call_log.ts";

/** What the caller of a call received, and what its handler saw. */
interface Story {
  reply?: unknown;
  error?: Outcome;
  settled?: Outcome;
  started?: number;
  finished?: number;
}

async function problems(story: Story, expected?: string): Promise<string[]> {
  const { reply, error, settled, started = 0, finished = 0 } = story;
  const callLog = new CallLog();
  const never = new Promise<never>(() => {});
  const failed = new RpcError("x", "", { outcome: error });
  const handle = {
    id: 1,
    reply: error !== undefined
      ? Promise.reject(failed)
      : "reply" in story
      ? Promise.resolve(reply)
      : never,
    settled: settled === undefined ? never : Promise.resolve(settled),
  };
  callLog.enter("a", handle as unknown as CallHandle, expected);
  const { signal } = new AbortController();
  for (let i = 0; i < started; i++) callLog.started(0, "a", { id: 1, signal });
  for (let i = 0; i < finished; i++) callLog.finished(0, "a", 1);
  await settle(1);
  return callLog.problems().map((text) => text.replace("call 0 (a): ", ""));
}

const CONTRADICTIONS: [string, Story, string][] = [
  ["the caller received nothing", { settled: "unknown" }, "no reply or error"],
  ["the outcome stayed open", { error: "unknown" }, "never settled"],
  [
    "not_sent, but it ran",
    { error: "not_sent", settled: "not_sent", started: 1 },
    "not_sent, but it ran",
  ],
  [
    "unknown refined to refused, but it ran",
    { error: "unknown", settled: "refused", started: 1 },
    "refused, but it ran",
  ],
  [
    "executed, but it did not run",
    { error: "executed", settled: "executed" },
    "executed, but it did not run",
  ],
  [
    "unknown, and it ran twice",
    { error: "unknown", settled: "unknown", started: 2 },
    "ran 2 times",
  ],
  [
    "a reply before the handler's end",
    { reply: 1, settled: "executed", started: 1 },
    "a reply, but its handler finished 0 times",
  ],
  [
    "refused, then executed",
    { error: "refused", settled: "executed", started: 1 },
    "received refused, settled executed",
  ],
  [
    "sent, then not_sent",
    { error: "unknown", settled: "not_sent" },
    "received unknown, settled not_sent",
  ],
];

for (const [name, story, problem] of CONTRADICTIONS) {
  test(`the call log finds: ${name}`, async () => {
    assertEquals(await problems(story), [problem]);
  });
}

test("the call log finds a reply that belongs to another call", async () => {
  const story: Story = {
    reply: "7",
    settled: "executed",
    started: 1,
    finished: 1,
  };
  assertEquals(await problems(story, '"7"'), []);
  assertEquals(await problems(story, '"8"'), [
    'a reply of "7", expected "8"',
  ]);
});

test("the call log finds nothing where caller and handler agree", async () => {
  const agreeing: Story[] = [
    { reply: 1, settled: "executed", started: 1, finished: 1 },
    { error: "not_sent", settled: "not_sent" },
    { error: "unknown", settled: "unknown" },
    { error: "unknown", settled: "unknown", started: 1 },
    { error: "unknown", settled: "executed", started: 1, finished: 1 },
    { error: "unknown", settled: "refused" },
  ];
  for (const story of agreeing) assertEquals(await problems(story), []);
});

test("check throws all problems at once", () => {
  const callLog = new CallLog();
  const { signal } = new AbortController();
  callLog.started(5, "a", { id: 1, signal });
  const error = assertThrows(() => callLog.check(), Error);
  assert(error.message.includes("never made"));
});
