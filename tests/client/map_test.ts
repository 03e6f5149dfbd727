// `client.map`: a method over an iterable.

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { type RpcError, StageError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import { Held } from "../support/services.ts";

const services = { Math: { square: (n: number) => n * n } };

/** Counts up for ever, and records whether it was ended. */
function counting() {
  const state = { asked: 0, ended: false };
  async function* count() {
    try {
      for (;;) yield state.asked++;
    } finally {
      state.ended = true;
    }
  }
  return { state, inputs: count() };
}

test("map takes arrays, generators, streams, and promises among the inputs", async () => {
  const { client, close } = pair(services);
  const results = async (inputs: Iterable<number> | AsyncIterable<number>) =>
    await Array.fromAsync(client.map("Math.square", inputs));
  assertEquals(await results([1, 2, 3]), [1, 4, 9]);
  assertEquals(await results(new Set([1, 2])), [1, 4]);
  assertEquals(await results([]), []);
  assertEquals(await results(ReadableStream.from([3, 4])), [9, 16]);
  const promised = [Promise.resolve(5)] as unknown as number[];
  assertEquals(await results(promised), [25]);
  async function* few() {
    yield 1;
    await settle(1);
    yield 2;
  }
  assertEquals(await results(few()), [1, 4]);
  await close();
});

test("map reads no input before the first next, and no more inputs than the window takes", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { state, inputs } = counting();
  const results = client.map("Held.work", inputs, { window: 3 });
  await settle();
  assertEquals(state.asked, 0);
  const first = results.next();
  await settle();
  assertEquals(state.asked, 3);
  held.calls[0].resolve("a");
  assertEquals(await first, { done: false, value: "a" });
  await results.return?.();
  held.release();
  await close();
});

test("an early return cancels the calls in flight and ends the inputs", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { state, inputs } = counting();
  settle().then(() => held.calls[0].resolve("first"));
  for await (const result of client.map("Held.work", inputs, { window: 4 })) {
    assertEquals(result, "first");
    break;
  }
  await settle();
  assertEquals(state.ended, true);
  assertEquals(
    held.calls.slice(1).every(({ ctx }) => ctx.signal.aborted),
    true,
  );
  held.release();
  await close();
});

test("return ends a pending next", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const results = client.map("Held.work", ["a"]);
  const waiting = results.next();
  await settle();
  assertEquals(await results.return?.(7), { done: true, value: 7 });
  assertEquals(await waiting, { done: true, value: undefined });
  assertEquals(await results.next(), { done: true, value: undefined });
  held.release();
  await close();
});

test("return before the first next starts nothing", async () => {
  const { client, close } = pair(services);
  const { state, inputs } = counting();
  const results = client.map("Math.square", inputs);
  await results.return?.();
  assertEquals(await results.next(), { done: true, value: undefined });
  assertEquals(state.asked, 0);
  await close();
});

test("map fails once and has then ended; it ends the inputs, too", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { state, inputs } = counting();
  const results = client.map("Held.work", inputs, { window: 2 });
  const first = assertRejects(() => results.next(), StageError);
  await settle();
  held.calls[0].reject(new Error("not told"));
  const error = await first as StageError;
  assertEquals([error.index, (error.cause as RpcError).code], [0, "internal"]);
  assertEquals(await results.next(), { done: true, value: undefined });
  await settle();
  assertEquals(state.ended, true);
  held.release();
  await close();
});

test("an error of the inputs is the cause of the StageError", async () => {
  const { client, close } = pair(services);
  const broken = new Error("broken");
  function* inputs() {
    yield 1;
    throw broken;
  }
  const results = client.map("Math.square", inputs());
  const error = await assertRejects(
    () => Array.fromAsync(results),
    StageError,
  ) as StageError;
  assertStrictEquals(error.cause, broken);
  assertEquals(await results.return?.(1), { done: true, value: 1 });
  await close();
});
