/** The delay before the next dial: its bounds, growth and jitter. */

import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { backoff, toRetry } from "../../../src/client/reconnect/backoff.ts";

const options = fc.record({
  base: fc.integer({ min: 1, max: 10_000 }),
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  cap: fc.integer({ min: 1, max: 100_000 }),
});

test("[L12] every delay lies between 1 ms and the cap, after any number of failures", () => {
  const failures = fc.oneof(fc.nat(20), fc.integer({ min: 1e3, max: 1e9 }));
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(fc.property(options, failures, chance, (given, n, drawn) => {
    const delay = backoff(n, toRetry({ ...given, random: () => drawn }));
    assert(delay >= 1 && delay <= given.cap, `${delay}`);
  }));
});

test("[L12] the bound never shrinks from one delay to the next", () => {
  fc.assert(fc.property(options, fc.nat(100), (given, n) => {
    const retry = toRetry({ ...given, random: () => 1 });
    assert(backoff(n + 1, retry) >= backoff(n, retry));
  }));
});

test("[L12] the jitter is full: a delay is a random part of its bound", () => {
  for (const drawn of [0.1, 0.25, 0.5, 0.99]) {
    const retry = toRetry({ base: 1000, random: () => drawn });
    assertEquals(backoff(0, retry), drawn * 1000);
    assertEquals(backoff(2, retry), drawn * 4000);
    assertEquals(backoff(9, retry), drawn * 10_000);
  }
});

test("the defaults: delays of 100 ms, doubled up to 10 s, without end; stable after 5 s; 10 fatal attempts", () => {
  const { random: _random, ...rest } = toRetry();
  assertEquals(rest, {
    base: 100,
    factor: 2,
    cap: 10_000,
    stableAfter: 5000,
    attempts: Infinity,
    fatalAttempts: 10,
  });
});

test("times and counts out of their range throw", () => {
  const wrong = [
    { base: 0 },
    { base: NaN },
    { factor: 0.5 },
    { cap: -1 },
    { cap: Infinity },
    { attempts: 0 },
    { stableAfter: 0 },
    { stableAfter: Infinity },
    { fatalAttempts: 0 },
  ];
  for (const retry of wrong) assertThrows(() => toRetry(retry), RangeError);
});
