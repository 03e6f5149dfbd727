// What the collector may take, and what it must not.

import { assertEquals } from "@std/assert";
import { getEventListeners } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { echoServices } from "../mod.ts";
import { settle } from "./support/clock.ts";
import { collect } from "./support/collect.ts";
import { FULL } from "./support/full.ts";
import { type Memory, memory } from "./support/heap.ts";
import { pair } from "./support/pair.ts";
import { Held } from "./support/services.ts";

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(() => "it did not reject", (reason) => reason);
}

test("[A14] an abort arrives though only its call holds the signal made of it, after a collection", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const controllers = Array.from({ length: 100 }, () => new AbortController());
  const handles = controllers.map(({ signal }) =>
    client.go("Held.work", 1, { signal: AbortSignal.any([signal]) })
  );
  await settle();
  await collect();
  for (const [i, controller] of controllers.entries()) controller.abort(i);
  for (const [i, { reply }] of handles.entries()) {
    assertEquals(await reasonOf(reply), i);
  }
  held.release();
  await close();
});

test("[A14] a signal that only its call holds times out after a collection", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { reply } = client.go("Held.work", 1, {
    signal: AbortSignal.timeout(1),
  });
  const reason = reasonOf(reply);
  await collect();
  // The signal's own timer keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  assertEquals((await reason as Error).name, "TimeoutError");
  clearInterval(alive);
  held.release();
  await close();
});

test("[A14] 1,000 connections share one signal: nothing is left on it, and nobody is warned", async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => void warnings.push(warning);
  process.on("warning", warned);
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = () => getEventListeners(signal, "abort").length;
  const held = new Held();
  const pairs = Array.from({ length: 1000 }, () => pair(held.services));
  const replies = pairs.map(({ client }) =>
    reasonOf(client.call("Held.work", 1, { signal }))
  );
  await settle();
  assertEquals(listeners(), 1000);
  controller.abort("all of you");
  assertEquals(new Set(await Promise.all(replies)), new Set(["all of you"]));
  assertEquals(listeners(), 0);
  held.release();
  await Promise.all(pairs.map(({ close }) => close()));
  process.off("warning", warned);
  assertEquals(warnings, []);
});

test("[M1] a great many calls on a connection that stays open: params and results are let go", async () => {
  const { client, close } = pair(echoServices());
  const watched: WeakRef<object>[] = [];
  const watch = (value: object) => void watched.push(new WeakRef(value));
  const call = async (i: number) => {
    const params = { i, text: "x".repeat(100) };
    const result = await client.call("Echo.echo", params) as object;
    if (i % 500 === 0) {
      watch(params);
      watch(result);
    }
  };
  const count = FULL ? 1_000_000 : 20_000;
  let early: Memory | undefined;
  for (let made = 0; made < count; made += 1000) {
    const calls = Array.from({ length: 1000 }, (_, i) => call(i));
    await Promise.all(calls);
    if (made >= count / 4) early ??= await memory();
  }
  const late = await memory();
  const growth = late.live - (early as Memory).live;
  assertEquals(growth < 2_000_000, true, `${growth} bytes more are live`);
  assertEquals(watched.length, count / 1000 * 4);
  // The engine itself may hold on to the very last.
  const left = watched.filter((ref) => ref.deref() !== undefined).length;
  assertEquals(left > 2, false, `${left} are left`);
  await close();
});
