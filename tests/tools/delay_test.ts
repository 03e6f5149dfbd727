// The duplex that adds latency, in virtual time.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { delayed } from "../../bench/delay.ts";
import { type Duplex, memoryPair } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";

/** A pair whose near end is 10 ms away in each direction. */
function far10(): { clock: TestClock; near: Duplex; far: Duplex } {
  const clock = new TestClock();
  const [near, far] = memoryPair({ highWaterMark: 1 << 30 });
  return { clock, near: delayed(near, 10, clock), far };
}

/** What has been read so far: the bytes, then `"end"` or the error's message. */
function reading(readable: Duplex["readable"]): (number | string)[] {
  const got: (number | string)[] = [];
  (async () => {
    for await (const chunk of readable) got.push(...chunk);
    got.push("end");
  })().catch((error) => got.push(error.message));
  return got;
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

test("what is written arrives after the delay, in order, then its end", async () => {
  const { clock, near, far } = far10();
  const got = reading(far.readable);
  const writer = near.writable.getWriter();
  await writer.write(bytes(1, 2));
  await clock.advance(5);
  await writer.write(bytes(3));
  let closed = false;
  writer.close().then(() => closed = true);
  await clock.advance(4);
  assertEquals(got, []);
  await clock.advance(1);
  assertEquals(got, [1, 2]);
  assert(!closed);
  await clock.advance(5);
  await settle();
  assert(closed);
  assertEquals(got, [1, 2, 3, "end"]);
  assertEquals(clock.timers, 0);
});

test("what comes arrives after the delay, in order, then its end", async () => {
  const { clock, near, far } = far10();
  const got = reading(near.readable);
  const writer = far.writable.getWriter();
  await writer.write(bytes(1, 2));
  await settle();
  await clock.advance(5);
  await writer.write(bytes(3));
  await writer.close();
  await clock.advance(4);
  assertEquals(got, []);
  await clock.advance(1);
  assertEquals(got, [1, 2]);
  await clock.advance(5);
  assertEquals(got, [1, 2, 3, "end"]);
  assertEquals(clock.timers, 0);
});

test("any number of chunks are on their way at once", async () => {
  const { clock, near, far } = far10();
  const got = reading(far.readable);
  const writer = near.writable.getWriter();
  const sent = Array.from({ length: 1000 }, (_, i) => i % 256);
  for (const value of sent) await writer.write(bytes(value));
  assertEquals(got, []);
  await clock.advance(10);
  assertEquals(got, sent);
});

test("a chunk is the writer's again once it is written", async () => {
  const { clock, near, far } = far10();
  const got = reading(far.readable);
  const writer = near.writable.getWriter();
  const chunk = bytes(1);
  await writer.write(chunk);
  chunk[0] = 2;
  await clock.advance(10);
  assertEquals(got, [1]);
});

test("a line that is full makes its writer wait", async () => {
  const { clock, near, far } = far10();
  const writer = near.writable.getWriter();
  let written = false;
  writer.write(new Uint8Array((64 << 20) + 1)).then(() => written = true);
  await settle();
  assert(!written);
  await clock.advance(10);
  assert(written);
  await far.readable.cancel();
});

test("an abort does not wait, and leaves no timer", async () => {
  const { clock, near, far } = far10();
  const [here, there] = [reading(near.readable), reading(far.readable)];
  const writer = near.writable.getWriter();
  await writer.write(bytes(1));
  await writer.abort(new Error("enough"));
  await settle();
  assertEquals(here.length, 1);
  assertEquals(there, ["Connection lost: reset by the peer"]);
  assertEquals(clock.timers, 0);
  await assertRejects(() => writer.write(bytes(2)), Error, "enough");
});

test("a close that is on its way does not keep an abort waiting", async () => {
  const { clock, near, far } = far10();
  const got = reading(far.readable);
  const writer = near.writable.getWriter();
  const closed = writer.close();
  await settle();
  await Promise.allSettled([writer.abort(new Error("enough")), closed]);
  await settle();
  assertEquals(got, ["Connection lost: reset by the peer"]);
  assertEquals(clock.timers, 0);
});

test("what came before a failure is read before it", async () => {
  const { clock, near, far } = far10();
  const got = reading(near.readable);
  const writer = far.writable.getWriter();
  await writer.write(bytes(1));
  await settle();
  await clock.advance(5);
  await writer.abort(new Error("gone"));
  await settle();
  assertEquals(got, []);
  await clock.advance(5);
  assertEquals(got, [1]);
  await clock.advance(5);
  assertEquals(got, [1, "Connection lost: reset by the peer"]);
});

test("who stops reading leaves writing alone", async () => {
  const { clock, near, far } = far10();
  const got = reading(far.readable);
  await near.readable.cancel();
  const writer = near.writable.getWriter();
  await writer.write(bytes(1));
  const closed = writer.close();
  await clock.advance(10);
  await closed;
  await settle();
  assertEquals(got, [1, "end"]);
  assertEquals(clock.timers, 0);
});
