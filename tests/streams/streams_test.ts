// Streams as params and results: what arrives, in all four combinations, and
// how each kind of ending one reaches the other side.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { type CallContext, RpcError } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { pair } from "../support/pair.ts";

/** The numbers below `n`; `over` is called when it is over, however it ends. */
async function* count(n: number, over?: () => void): AsyncGenerator<number> {
  try {
    for (let i = 0; i < n; i++) yield i;
  } finally {
    over?.();
  }
}

/** What a rejected promise is rejected with. */
function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => {
    throw new Error("it did not reject");
  }, (reason) => reason);
}

/** Reads a stream to its end, and asserts that it fails after these items. */
async function assertFails(
  stream: ReadableStream<unknown>,
  items: readonly unknown[],
): Promise<RpcError> {
  const read: unknown[] = [];
  const reason = await reasonOf((async () => {
    for await (const item of stream) read.push(item);
  })());
  assertEquals(read, items);
  assert(reason instanceof RpcError, String(reason));
  return reason;
}

const sum = async (numbers: ReadableStream<number>) => {
  let total = 0;
  for await (const n of numbers) total += n;
  return total;
};

test("a stream of params is read by its handler, an iterable or a ReadableStream alike", async () => {
  const { client, close } = pair({ S: { sum } });
  assertEquals(await client.call("S.sum", count(1000)), 499_500);
  const stream = ReadableStream.from([1, 2, 3]);
  assertEquals(await client.call("S.sum", stream), 6);
  assertEquals(await client.call("S.sum", ReadableStream.from([])), 0);
  await close();
});

test("a stream as result arrives as a ReadableStream, from an iterable or a ReadableStream alike", async () => {
  const { client, close } = pair({
    S: {
      count: (n: number) => count(n),
      list: () => ReadableStream.from(["a", "b"]),
    },
  });
  const numbers = await client.call("S.count", 5);
  assert(numbers instanceof ReadableStream);
  assertEquals(await Array.fromAsync(numbers), [0, 1, 2, 3, 4]);
  assertEquals(await Array.fromAsync(await client.call("S.list")), ["a", "b"]);
  await close();
});

test("params and result can both be streams at the same time", async () => {
  const { client, close } = pair({
    S: {
      async *doubled(numbers: ReadableStream<number>) {
        for await (const n of numbers) yield 2 * n;
      },
    },
  });
  const { readable, writable } = new TransformStream<number, number>();
  const writer = writable.getWriter();
  const doubled = (await client.call("S.doubled", readable)).getReader();
  for (let n = 0; n < 100; n++) {
    const written = writer.write(n);
    assertEquals(await doubled.read(), { done: false, value: 2 * n });
    await written;
  }
  await writer.close();
  assertEquals((await doubled.read()).done, true);
  await close();
});

test("a handler may return the very stream it was given", async () => {
  const echo = (stream: ReadableStream<number>) => stream;
  const { client, close } = pair({ S: { echo } });
  const echoed = await client.call("S.echo", count(3000));
  assertEquals((await Array.fromAsync(echoed)).length, 3000);
  await close();
});

test("items are of any kind a payload can be, large ones included", async () => {
  const echo = (stream: ReadableStream<unknown>) => stream;
  const { client, close } = pair({ S: { echo } });
  const items = [
    undefined,
    null,
    { a: [1, { b: "é" }] },
    "text",
    "",
    "é".repeat(100_000),
    Uint8Array.of(1, 2, 3),
    ["x".repeat(32_768 - 6)],
    "y".repeat(1_000_000),
  ];
  const echoed = await client.call("S.echo", ReadableStream.from(items));
  assertEquals(await Array.fromAsync(echoed), items);
  await close();
});

test("items pass a custom serializer", async () => {
  const serializer = {
    name: "dates",
    encode: (value: unknown) =>
      new TextEncoder().encode(String((value as Date).getTime())),
    decode: (bytes: Uint8Array) =>
      new Date(Number(new TextDecoder().decode(bytes))),
  };
  const options = { serializer };
  const { client, close } = pair(
    { S: { later: (dates: ReadableStream<unknown>) => dates } },
    { client: options, server: options },
  );
  const dates = [new Date(1), new Date(2)];
  const later = await client.call("S.later", ReadableStream.from(dates));
  assertEquals(await Array.fromAsync(later), dates);
  await close();
});

test("a serializer may abort the call whose item it decodes: the reader gets the reason, and nothing else breaks", async () => {
  const abort = new AbortController();
  const serializer = {
    name: "aborts",
    encode: (value: unknown) => new TextEncoder().encode(String(value)),
    decode: (bytes: Uint8Array) => {
      if (bytes[0] === 0x32) abort.abort("enough");
      return [new TextDecoder().decode(bytes)];
    },
  };
  const options = { serializer };
  const { client, close } = pair({
    S: {
      async *numbers() {
        yield* [["1"], ["2"], ["3"]];
      },
      one: () => ["1"],
    },
  }, { client: options, server: options });
  const { signal } = abort;
  const result = await client.call("S.numbers", undefined, { signal });
  const reader = result.getReader();
  assertEquals(await reader.read(), { done: false, value: ["1"] });
  assertEquals(await reader.read().catch((reason) => reason), "enough");
  await settle();
  assertEquals(String(await client.call("S.one")), "1");
  const { bufferedBytes, streamHeld } = client.stats();
  assertEquals([bufferedBytes, streamHeld], [0, 0]);
  await close();
});

test("bytes are streamed as bytes: cut and joined, none lost, none empty", async () => {
  const echo = (stream: ReadableStream<Uint8Array>) => stream;
  const { client, close } = pair({ S: { echo } });
  const sizes = [1, 0, 3, 100_000, 32_767, 32_768, 2, 70_000, 1];
  const whole = new Uint8Array(sizes.reduce((a, b) => a + b));
  for (let i = 0; i < whole.length; i++) whole[i] = i * 7;
  async function* chunks() {
    let at = 0;
    for (const size of sizes) yield whole.subarray(at, at += size);
  }
  const got: number[] = [];
  for await (const chunk of await client.call("S.echo", chunks())) {
    assert(chunk.length > 0 && chunk.length <= 32_768);
    got.push(...chunk);
  }
  assertEquals(Uint8Array.from(got), whole);
  await close();
});

test("bytes read belong to their reader, and those sent may be used again for the next", async () => {
  const read: Uint8Array[] = [];
  const { client, close } = pair({
    S: {
      keep: async (bytes: ReadableStream<Uint8Array>) => {
        for await (const chunk of bytes) read.push(chunk);
      },
    },
    // Less than an item: the rest of it waits.
  }, { server: { streamCredit: 16 * 1024 } });
  async function* reused() {
    const buffer = new Uint8Array(20_000);
    for (let i = 1; i <= 20; i++) yield buffer.fill(i);
  }
  await client.call("S.keep", reused());
  const all = read.flatMap((chunk) => [...chunk]);
  assertEquals(all.length, 400_000);
  assert(all.every((byte, i) => byte === 1 + Math.floor(i / 20_000)));
  for (const chunk of read) assertEquals(chunk.buffer.byteLength, chunk.length);
  await close();
});

test("a source is asked for nothing while nobody reads its items", async () => {
  let made = 0;
  const { client, connection, close } = pair({
    S: {
      async *endless() {
        for (;;) {
          made++;
          yield "x".repeat(1000);
        }
      },
    },
  });
  const stream = await client.call("S.endless");
  await settle(20);
  assert(made > 10 && made < 80, `${made}`);
  assertEquals(connection.stats().running, 1);
  await stream.cancel();
  await close();
});

test("a call whose result is a stream is executed when the stream begins, and occupies its slots until the stream has ended", async () => {
  const { client, connection, close } = pair({
    S: { count: (n: number) => count(n) },
  });
  const handle = client.go("S.count", 3);
  const stream = await handle.reply;
  assertEquals([handle.outcome, await handle.settled], [
    "executed",
    "executed",
  ]);
  const { inFlight, streams } = client.stats();
  const { running, receiving: held } = connection.stats();
  assertEquals([inFlight, streams, running, held], [1, 1, 1, 1]);
  await Array.fromAsync(stream);
  await settle();
  assertEquals([client.stats().inFlight, client.stats().streams], [0, 0]);
  assertEquals([connection.stats().running, connection.stats().receiving], [
    0,
    0,
  ]);
  await close();
});

test("the limit of running handlers also bounds the streams that they return", async () => {
  const { client, connection, close } = pair(
    { S: { count: (n: number) => count(n) } },
    { server: { maxRunning: 2 } },
  );
  const streams = await Promise.all([
    client.call("S.count", 1e9),
    client.call("S.count", 1e9),
  ]);
  const third = client.call("S.count", 3);
  await settle();
  const { running, waiting } = connection.stats();
  assertEquals([running, waiting], [2, 1]);
  await streams[0].cancel();
  assertEquals(await Array.fromAsync(await third), [0, 1, 2]);
  await streams[1].cancel();
  await close();
});

// How they end.

test("cancelling the reader cancels the handler's source, and fires the handler's signal", async () => {
  const told: unknown[] = [];
  const { client, close } = pair({
    S: {
      endless: (_: null, ctx: CallContext) => {
        ctx.signal.addEventListener("abort", () => told.push("signal"));
        return new ReadableStream({
          pull: (controller) => controller.enqueue(1),
          cancel: (reason) => void told.push(reason),
        });
      },
    },
  });
  const stream = await client.call("S.endless", null);
  await stream.cancel(new RpcError("enough", "I have seen it all"));
  await settle();
  const [signal, reason] = told as [string, RpcError];
  assertEquals(signal, "signal");
  assertEquals([reason.code, reason.message], ["enough", "I have seen it all"]);
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("leaving the loop over a result returns from the handler's generator; other reasons stay local", async () => {
  let over = 0;
  const reasons: unknown[] = [];
  const { client, close } = pair({
    S: {
      count: (n: number, ctx: CallContext) => {
        ctx.signal.addEventListener("abort", () => {
          reasons.push(ctx.signal.reason);
        });
        return count(n, () => over++);
      },
    },
  });
  for await (const n of await client.call("S.count", 1e9)) if (n === 100) break;
  await (await client.call("S.count", 1e9)).cancel(new Error("private"));
  await settle();
  assertEquals(over, 2);
  for (const reason of reasons as RpcError[]) {
    assertEquals(reason.code, "cancelled");
    assertEquals(reason.message, "the reader has cancelled the stream");
  }
  await close();
});

test("a handler that cancels its params cancels the caller's source, and the call goes on", async () => {
  let over = 0;
  const told: unknown[] = [];
  const { client, close } = pair({
    S: {
      first: async (numbers: ReadableStream<number>) => {
        for await (const n of numbers) return n;
      },
      none: async (numbers: ReadableStream<number>) => {
        await numbers.cancel(new RpcError("full", "no room"));
        return "answered";
      },
    },
  });
  assertEquals(await client.call("S.first", count(1e9, () => over++)), 0);
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(1),
    cancel: (reason) => void told.push(reason),
  });
  assertEquals(await client.call("S.none", source), "answered");
  await settle();
  assertEquals(over, 1);
  const [reason] = told as [RpcError];
  assertEquals([reason.code, reason.message], ["full", "no room"]);
  await close();
});

test("a failure of the handler's stream reaches the reader like a handler's error, after the items", async () => {
  const error = new RpcError("gone", "no more", { data: { at: 2 } });
  const { client, errors, close } = pair({
    S: {
      async *typed() {
        yield* [1, 2];
        throw error;
      },
      async *untyped() {
        yield* [1, 2];
        throw new Error("secret");
      },
      async *unsayable() {
        yield* [1, 2];
        yield 3n as unknown as number;
      },
    },
  });
  const typed = await assertFails(await client.call("S.typed"), [1, 2]);
  assertEquals([typed.code, typed.message], ["gone", "no more"]);
  assertEquals([typed.data, typed.outcome], [{ at: 2 }, "executed"]);
  const untyped = await assertFails(await client.call("S.untyped"), [1, 2]);
  assertEquals([untyped.code, untyped.message], [
    "internal",
    "the handler failed",
  ]);
  const text = "the handler's result cannot be serialized";
  const unsayable = await assertFails(await client.call("S.unsayable"), [1, 2]);
  assertEquals([unsayable.code, unsayable.message], ["internal", text]);
  assertEquals(errors.length, 2);
  assertEquals((errors[0].error as Error).message, "secret");
  assertEquals((errors[1].error as RpcError).code, "invalid_argument");
  await settle();
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("a failure of the params reaches the handler without private details, and is the cause if the call then fails", async () => {
  const seen: RpcError[] = [];
  const { client, close } = pair({
    S: {
      sum,
      brave: async (numbers: ReadableStream<number>) => {
        seen.push(await reasonOf(sum(numbers)) as RpcError);
        return "went on";
      },
    },
  });
  async function* failing(error: unknown) {
    yield 1;
    throw error;
  }
  const secret = new Error("secret");
  assertEquals(await client.call("S.brave", failing(secret)), "went on");
  const own = new RpcError("no_disk", "disk lost", { data: "private" });
  assertEquals(await client.call("S.brave", failing(own)), "went on");
  assertEquals([seen[0].code, seen[0].message], [
    "cancelled",
    "the caller's stream has failed",
  ]);
  assertEquals([seen[1].code, seen[1].message], ["no_disk", "disk lost"]);
  const failed = await reasonOf(client.call("S.sum", failing(secret)));
  assert(failed instanceof RpcError);
  assertEquals([failed.code, failed.outcome], ["cancelled", "executed"]);
  assertEquals(failed.cause, secret);
  await close();
});

test("[S5] params that the handler never reads are released when the call ends", async () => {
  let over = 0;
  const kept: ReadableStream<number>[] = [];
  const { client, connection, close } = pair({
    S: {
      ignore: (numbers: ReadableStream<number>) => {
        kept.push(numbers);
        return "done";
      },
      refuse: () => {
        throw new RpcError("refused", "no");
      },
    },
  });
  assertEquals(await client.call("S.ignore", count(1e9, () => over++)), "done");
  await assertRejects(() =>
    client.call("S.refuse" as "S.ignore", count(1e9, () => over++))
  );
  await assertRejects(() =>
    client.call("S.none" as "S.ignore", count(1e9, () => over++))
  );
  await settle();
  assertEquals(client.stats().streams + connection.stats().streams, 0);
  assertEquals((await assertFails(kept[0], [])).code, "cancelled");
  // A generator that was never asked for anything has nothing to clean up.
  assert(over <= 3, `${over}`);
  await close();
});

test("an abort fails the result with the signal's own reason, cancels the params, and reaches the handler", async () => {
  const told: Record<string, unknown> = {};
  const { client, connection, close } = pair({
    S: {
      async *doubled(numbers: ReadableStream<number>, ctx: CallContext) {
        ctx.signal.addEventListener("abort", () => {
          told.signal = (ctx.signal.reason as RpcError).code;
        });
        try {
          for await (const n of numbers) yield 2 * n;
        } catch (error) {
          told.params = (error as RpcError).code;
          throw error;
        }
      },
    },
  });
  const controller = new AbortController();
  const source = new ReadableStream<number>({
    start: (c) => c.enqueue(1),
    cancel: (reason) => void (told.source = reason),
  });
  const { signal } = controller;
  const handle = client.go("S.doubled", source, { signal });
  const reader = (await handle.reply).getReader();
  assertEquals((await reader.read()).value, 2);
  const reason = { mine: true };
  controller.abort(reason);
  assertEquals(await reasonOf(reader.read()), reason);
  await settle();
  assertEquals(told, {
    source: reason,
    signal: "cancelled",
    params: "cancelled",
  });
  assertEquals([handle.outcome, await handle.settled], [
    "executed",
    "executed",
  ]);
  assertEquals([client.stats().inFlight, client.stats().listeners], [0, 0]);
  assertEquals(connection.stats().running, 0);
  await close();
});

test("a deadline ends the stream on the client and on the server", async () => {
  const clock = new TestClock();
  let over = 0;
  const { client, connection, close } = pair({
    S: { count: (n: number) => count(n, () => over++) },
  }, { client: { clock }, server: { clock } });
  const stream = await client.call("S.count", 1e9, { timeout: 100 });
  const reader = stream.getReader();
  await reader.read();
  await clock.advance(101);
  const reason = await reasonOf((async () => {
    for (;;) await reader.read();
  })());
  assert(reason instanceof RpcError);
  assertEquals([reason.code, reason.outcome], [
    "deadline_exceeded",
    "executed",
  ]);
  await clock.advance(0);
  assertEquals([over, connection.stats().running], [1, 0]);
  await close();
});

test("a slot becomes free only after the cleanup of the cancelled source", async () => {
  const cleanup = Promise.withResolvers<void>();
  const { client, connection, close } = pair({
    S: {
      slow: () =>
        new ReadableStream<number>({
          pull: (controller) => controller.enqueue(1),
          cancel: () => cleanup.promise,
        }),
    },
  });
  const handle = client.go("S.slow");
  await handle.reply;
  handle.abort();
  await settle(10);
  assertEquals(client.stats().inFlight, 1);
  assertEquals([connection.stats().running, connection.stats().receiving], [
    1,
    1,
  ]);
  cleanup.resolve();
  await settle();
  assertEquals(client.stats().inFlight, 0);
  assertEquals([connection.stats().running, connection.stats().receiving], [
    0,
    0,
  ]);
  await close();
});

test("if a handler is cancelled before it returns its stream, that is cancelled before the slot becomes free", async () => {
  const started = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  let over: unknown;
  const { client, connection, close } = pair({
    S: {
      late: async () => {
        started.resolve();
        await go.promise;
        return new ReadableStream({ cancel: (reason) => void (over = reason) });
      },
    },
  });
  const handle = client.go("S.late");
  await started.promise;
  await settle();
  handle.abort();
  go.resolve();
  assertEquals(await handle.settled, "executed");
  await settle();
  assertEquals((over as RpcError).code, "cancelled");
  assertEquals([client.stats().inFlight, connection.stats().running], [0, 0]);
  await close();
});

test("close drains the streams of client and server", async () => {
  const { client, server, connection } = pair({
    S: { count: (n: number) => count(n) },
  });
  const stream = await client.call("S.count", 5000);
  const closing = [client.close(), server.close()];
  assertEquals((await Array.fromAsync(stream)).length, 5000);
  await Promise.all(closing);
  assertEquals(await client.closed, undefined);
  assertEquals(connection.stats().streams, 0);
});

test("a lost connection fails the streams of both sides, with the outcome as far as it is known", async () => {
  const told: Record<string, unknown> = {};
  const { client, connection } = pair({
    S: {
      async *doubled(numbers: ReadableStream<number>) {
        try {
          for await (const n of numbers) yield n;
        } catch (error) {
          told.params = (error as RpcError).code;
          throw error;
        } finally {
          told.over = true;
        }
      },
      hold: () => new Promise<never>(() => {}),
    },
  });
  const source = () =>
    new ReadableStream<number>({
      start: (c) => c.enqueue(1),
      cancel: (reason) => void (told.source = (reason as RpcError).outcome),
    });
  const reader = (await client.call("S.doubled", source())).getReader();
  await reader.read();
  const read = reasonOf(reader.read());
  client.abort();
  const reason = await read as RpcError;
  assertEquals([reason.code, reason.outcome], ["unavailable", "executed"]);
  await connection.closed;
  await settle();
  assertEquals(told, { params: "unavailable", over: true, source: "executed" });
  assertEquals(connection.stats().running, 0);
});
