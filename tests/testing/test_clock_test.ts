// The clock of tests moves when it is told to, and fires timers in their order.

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { TestClock } from "../../testing.ts";

test("timers fire in the order of their times, at their time, and only when they are due", async () => {
  const clock = new TestClock();
  const start = clock.now();
  const fired: [string, number][] = [];
  const note = (name: string) => () => fired.push([name, clock.now() - start]);
  clock.setTimeout(note("late"), 30);
  clock.setTimeout(note("first"), 10);
  clock.setTimeout(note("second"), 10);
  clock.clearTimeout(clock.setTimeout(note("cleared"), 5));
  assertEquals(clock.timers, 3);
  await clock.advance(29);
  assertEquals(fired, [["first", 10], ["second", 10]]);
  await clock.advance(1);
  assertEquals(fired.slice(2), [["late", 30]]);
  assertEquals([clock.now() - start, clock.timers], [30, 0]);
});

test("a timer that another one sets fires within the same advance, after what the other one caused", async () => {
  const clock = new TestClock();
  const events: string[] = [];
  clock.setTimeout(() => {
    events.push("one");
    clock.setTimeout(() => events.push("two"), 5);
    clock.turn().then(() => events.push("caused"));
  }, 10);
  await clock.advance(15);
  assertEquals(events, ["one", "caused", "two"]);
});

test("a jump moves the wall clock alone", async () => {
  const clock = new TestClock();
  const [now, date] = [clock.now(), clock.date()];
  clock.jump(-5000);
  await clock.advance(10);
  assertEquals([clock.now() - now, clock.date() - date], [10, -4990]);
});

test("time does not go backwards", async () => {
  const clock = new TestClock();
  await assertRejects(() => clock.advance(-1), RangeError, "received -1");
  await assertRejects(() => clock.advance(NaN), RangeError, "received NaN");
});
