// The parts of `deno task demo:web` that need no browser: what the page knows of
// each call, and its time axis.

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  CallLog,
  latencies,
  percentile,
  type Phase,
} from "../../bench/web/page/call_log.ts";
import {
  duration,
  ratio,
  roundDown,
  roundUp,
  ticks,
  viewOf,
} from "../../bench/web/page/scale.ts";
import {
  decodeCall,
  decodeTimes,
  encodeCall,
  encodeTimes,
  handlerTime,
} from "../../bench/web/services.ts";
import type { Outcome } from "../../mod.ts";

/** A call that was made at 0, sent at 1, handled from 5 to 7, and settled at 10. */
function oneCall(outcome: Outcome, ok: boolean): CallLog {
  const log = new CallLog(1, 1);
  log.make(0);
  if (outcome !== "not_sent") log.sent[0] = 1;
  if (outcome === "executed") {
    log.started[0] = 5;
    log.ended[0] = 7;
  }
  log.settle(0, 10, ok);
  log.end(0, outcome);
  return log;
}

function bar(log: CallLog, now: number): [Phase, number, number][] {
  return log.segments(0, now).map(({ phase, from, to }) => [phase, from, to]);
}

test("a bar has the parts of an answered call, as far as they have come", () => {
  const log = oneCall("executed", true);
  assertEquals(bar(log, 20), [
    ["waiting", 0, 1],
    ["request", 1, 5],
    ["handler", 5, 7],
    ["reply", 7, 10],
  ]);
  assertEquals(bar(log, 6), [
    ["waiting", 0, 1],
    ["request", 1, 5],
    ["handler", 5, 6],
  ]);
  assertEquals(bar(log, -1), []);
});

test("a call without a reply is in flight", () => {
  const log = new CallLog(1, 1);
  log.make(0);
  assertEquals(bar(log, 3), [["waiting", 0, 3]]);
  log.sent[0] = 1;
  assertEquals(bar(log, 3), [["waiting", 0, 1], ["flight", 1, 3]]);
});

test("the bar of a failed call shows its outcome", () => {
  assertEquals(bar(oneCall("not_sent", false), 20), [["not_sent", 0, 10]]);
  assertEquals(bar(oneCall("unknown", false), 20), [
    ["waiting", 0, 1],
    ["unknown", 1, 10],
  ]);
  assertEquals(bar(oneCall("executed", false), 20), [
    ["waiting", 0, 1],
    ["request", 1, 5],
    ["executed", 7, 10],
    ["handler", 5, 7],
  ]);
});

test("a call has the lowest row that is free", () => {
  const log = new CallLog(4, Infinity);
  log.make(0);
  log.make(0);
  log.settle(0, 1, true);
  log.make(2);
  log.make(2);
  assertEquals([...log.row], [0, 1, 0, 2]);
});

test("latencies are those of answered calls, in order", () => {
  const log = new CallLog(3, 3);
  for (const made of [0, 1, 2]) log.make(made);
  log.settle(0, 9, true);
  log.settle(1, 5, false);
  log.settle(2, 4, true);
  assertEquals([...latencies(log)], [2, 9]);
  assertEquals(percentile([1, 2, 3, 4], 0.5), 2);
  assertEquals(percentile([1, 2, 3, 4], 0.99), 4);
  assertEquals(percentile([], 0.5), NaN);
});

test("axes end at round numbers", () => {
  assertEquals([7, 81, 390, 1000].map(roundUp), [8, 100, 400, 1000]);
  assertEquals([7, 81, 390, 1000].map(roundDown), [6, 80, 300, 1000]);
  assertEquals(ticks(400, 4), [0, 100, 200, 300, 400]);
  const settings = { rtt: 50, handler: 10, window: 1024, payload: 16 };
  assertEquals(viewOf({ ...settings, calls: 200 }), 400);
  assertEquals(viewOf({ ...settings, calls: 200 }, 700), 800);
});

test("durations and ratios are short", () => {
  assertEquals(
    [0.123, 2.34, 66.4, 1234, 123_456, NaN].map(duration),
    ["0.12 ms", "2.3 ms", "66 ms", "1.2 s", "123 s", "–"],
  );
  assertEquals([4.24, 182.6, 0, NaN].map(ratio), ["4.2×", "183×", "–", "–"]);
});

test("handlers take the mean time on average, and half of it at least", () => {
  const times = Array.from({ length: 1000 }, (_, i) => handlerTime(i, 10));
  const sum = times.reduce((a, b) => a + b);
  assertAlmostEquals(sum / times.length, 10, 0.1);
  assertEquals(times.every((time) => time >= 5 && time <= 15), true);
});

test("a call's number and its handler's times travel", () => {
  assertEquals(decodeCall(encodeCall(70_000, 16)), 70_000);
  assertEquals(encodeCall(1, 0).length, 4);
  const metadata = new Map(Object.entries(encodeTimes(1.25, 3.5)));
  assertEquals(decodeTimes(metadata), [1.25, 3.5]);
  assertEquals(decodeTimes(undefined), undefined);
});
