// A method as a transform of streams: order, bounds, and how it fails.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  clientMiddleware,
  type Outcome,
  RpcError,
  type Stage,
  StageError,
  type StageItem,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { Reconnecting } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { reply } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";
import { SignalCount } from "../support/signal_count.ts";
import { type Equal, holds } from "../support/type_assertions.ts";

const numbers = {
  Math: {
    square: (n: number) => n * n,
    even: (n: number) => {
      if (n % 2 === 1) throw new RpcError("odd", `${n} is odd`);
      return n;
    },
  },
};

/** Counts up, and records how many items were read and whether it was cancelled. */
class Source {
  asked = 0;
  cancelled: unknown;
  readonly stream: ReadableStream<number>;

  constructor(end = Infinity) {
    this.stream = new ReadableStream<number>({
      pull: (controller) => {
        if (this.asked === end) controller.close();
        else controller.enqueue(this.asked++);
      },
      cancel: (reason) => void (this.cancelled = reason),
    }, { highWaterMark: 0 });
  }
}

function collect<T>(into: T[]): WritableStream<T> {
  return new WritableStream({ write: (item) => void into.push(item) });
}

function range(end: number): number[] {
  return Array.from({ length: end }, (_, i) => i);
}

/** A stage whose calls the test settles, with a reader and a writer. */
function heldStage(options = {}) {
  const held = new Held();
  const ends = pair(held.services);
  const stage: Stage<unknown, unknown> = ends.client.stage(
    "Held.work",
    options,
  );
  const writer = stage.writable.getWriter();
  const reader = stage.readable.getReader();
  return { ...ends, held, writer, reader };
}

/** What a promise rejects with, which must be a `StageError`. */
async function failureOf(promise: Promise<unknown>): Promise<StageError> {
  return await assertRejects(() => promise, StageError) as StageError;
}

function outcomes(error: StageError): [number, unknown, Outcome][] {
  return error.unacknowledged.map((u) => [u.index, u.input, u.outcome]);
}

test("a stage yields results in the order of its inputs, whatever the order of the replies", async () => {
  const { held, writer, reader, close } = heldStage();
  for (const n of range(4)) await writer.write(n);
  const closed = writer.close();
  await settle();
  for (const call of held.calls.toReversed()) {
    call.resolve(`r${call.params}`);
    await settle();
  }
  for (const n of range(4)) {
    assertEquals(await reader.read(), { done: false, value: `r${n}` });
  }
  assertEquals((await reader.read()).done, true);
  await closed;
  await close();
});

test("with ordered: false results come in the order of the replies, with their indexes", async () => {
  const { held, writer, reader, close } = heldStage({ ordered: false });
  for (const n of range(3)) await writer.write(n);
  const closed = writer.close();
  await settle();
  for (const index of [2, 0, 1]) {
    held.calls[index].resolve(`r${index}`);
    const { value } = await reader.read();
    assertEquals(value, { index, value: `r${index}` });
  }
  assertEquals((await reader.read()).done, true);
  await closed;
  await close();
});

test("a stage composes with pipeThrough, pipeTo, from and tee", async () => {
  const { client, close } = pair(numbers);
  const [a, b] = ReadableStream.from(range(500))
    .pipeThrough(client.stage("Math.square", { window: 7 }))
    .pipeThrough(client.stage("Math.square"))
    .tee();
  const [one, other]: number[][] = [[], []];
  await Promise.all([a.pipeTo(collect(one)), b.pipeTo(collect(other))]);
  assertEquals(one, range(500).map((n) => n ** 4));
  assertEquals(other, one);
  await close();
});

test("a stage without inputs ends without results", async () => {
  const { client, close } = pair(numbers);
  const signals = new SignalCount();
  const { signal } = signals.make();
  const results: number[] = [];
  await new Source(0).stream
    .pipeThrough(client.stage("Math.square", { signal }))
    .pipeTo(collect(results));
  assertEquals([results, signals.listeners], [[], 0]);
  await close();
});

test("at most window calls are in flight, and no more items of the source are read", async () => {
  const held = new Held();
  const { client, connection, close } = pair(held.services);
  const source = new Source();
  const results: unknown[] = [];
  const piped = source.stream.pipeThrough(
    client.stage("Held.work", { window: 5 }),
  ).pipeTo(collect(results));
  piped.catch(() => {});
  for (let done = 0; done < 12; done++) {
    await settle();
    assertEquals(held.calls.length, 5 + done);
    assertEquals(connection.stats().running, 5);
    assertEquals(source.asked, 5 + done);
    held.calls[done].resolve(done);
  }
  await client.abort();
  await assertRejects(() => piped, StageError);
  await close();
});

test("results that nobody has read count in the window, too", async () => {
  const { client, close } = pair(numbers);
  const source = new Source();
  const reader = source.stream
    .pipeThrough(client.stage("Math.square", { window: 4 })).getReader();
  await settle();
  assertEquals(source.asked, 4);
  await reader.read();
  await settle();
  assertEquals(source.asked, 5);
  await reader.cancel();
  await close();
});

for (const use of [undefined, clientMiddleware((_, next) => next())]) {
  const way = use === undefined ? "" : ", through middleware too";
  test(`above windowBytes no further input is taken${way}`, async () => {
    const held = new Held();
    const { client, close } = pair(held.services, { client: { use } });
    const inputs = Array.from({ length: 10 }, () => new Uint8Array(1000));
    const reader = ReadableStream.from(inputs).pipeThrough(
      client.stage("Held.work", { windowBytes: 2500 }),
    ).getReader();
    await settle();
    assertEquals(held.calls.length, 3);
    held.calls[0].resolve("done");
    assertEquals((await reader.read()).value, "done");
    await settle();
    assertEquals(held.calls.length, 4);
    await reader.cancel();
    held.release();
    await close();
  });
}

test("a failed call fails the stage once, after the results before it", async () => {
  const { client, close } = pair(numbers);
  const source = new Source();
  const results: number[] = [];
  const inputs = [0, 2, 4, 6, 7, 8, 10];
  const error = await failureOf(
    ReadableStream.from(inputs)
      .pipeThrough(client.stage("Math.even"))
      .pipeTo(collect(results)),
  );
  assertEquals(error.index, 4);
  assertInstanceOf(error.cause, RpcError);
  assertEquals(error.cause.code, "odd");
  assertEquals(results, [0, 2, 4, 6]);
  assertEquals(outcomes(error)[0], [4, 7, "executed"]);
  assertEquals(source.asked, 0);
  await close();
});

test("a failed call cancels the calls in flight, earlier and later ones, and fails both sides with one error", async () => {
  const { held, writer, reader, close } = heldStage();
  for (const n of range(4)) await writer.write(n);
  const closed = failureOf(writer.closed);
  const read = failureOf(reader.read());
  await settle();
  held.calls[1].resolve();
  await settle();
  held.calls[2].reject(new RpcError("no", "not this one"));
  const error = await read;
  assertStrictEquals(await closed, error);
  assertEquals(error.index, 2);
  assertEquals(outcomes(error), [
    [0, 0, "unknown"],
    [1, 1, "executed"],
    [2, 2, "executed"],
    [3, 3, "unknown"],
  ]);
  await settle();
  const fired = held.calls.map(({ ctx }) => ctx.signal.aborted);
  assertEquals([fired[0], fired[3]], [true, true]);
  held.release();
  await close();
});

test("until the results before a failure are read, further inputs are taken but not called", async () => {
  const { held, writer, reader, close } = heldStage();
  await writer.write("a");
  await writer.write("b");
  await settle();
  held.calls[0].resolve("A");
  await settle();
  held.calls[1].reject(new RpcError("no", "no"));
  await settle();
  const written = failureOf(writer.write("c"));
  await settle();
  assertEquals((await reader.read()).value, "A");
  const error = await failureOf(reader.read());
  assertEquals(outcomes(error), [[1, "b", "executed"], [2, "c", "not_sent"]]);
  assertStrictEquals(await written, error);
  assertEquals(held.calls.length, 2);
  await close();
});

test("inputs that cannot be serialized fail, and were not sent", async () => {
  const { client, close } = pair({ Echo: { echo: (value: unknown) => value } });
  const results: unknown[] = [];
  const error = await failureOf(
    ReadableStream.from([1, 2n, 3])
      .pipeThrough(client.stage("Echo.echo", { window: 1 }))
      .pipeTo(collect(results)),
  );
  assertEquals([error.index, outcomes(error)[0]], [1, [1, 2n, "not_sent"]]);
  assertEquals(results, [1]);
  await close();
});

for (const ordered of [true, false]) {
  test(`with onError: "yield" failures are items (ordered: ${ordered})`, async () => {
    const { client, close } = pair(numbers);
    const items: (number | StageItem<number> | StageError<number>)[] = [];
    await ReadableStream.from(range(4))
      .pipeThrough(client.stage("Math.even", { ordered, onError: "yield" }))
      .pipeTo(collect(items));
    const shown = items.map((item) =>
      item instanceof StageError
        ? [(item.cause as RpcError).code, item.index, outcomes(item)]
        : item
    );
    const even = (n: number) => ordered ? n : { index: n, value: n };
    const odd = (n: number) => ["odd", n, [[n, n, "executed"]]];
    assertEquals<unknown>(shown, [even(0), odd(1), even(2), odd(3)]);
    await close();
  });
}

test("a signal ends its stage at once, whatever it waits for, and no listener is left", async () => {
  const reason = new Error("enough");
  for (const taken of [0, 1, 3]) {
    const signals = new SignalCount();
    const controller = signals.make();
    const { held, writer, reader, close } = heldStage({
      signal: controller.signal,
      window: 3,
    });
    const writes = range(taken).map((n) => writer.write(n).catch(() => {}));
    await settle();
    held.calls[1]?.resolve();
    await settle();
    const closed = failureOf(writer.closed);
    controller.abort(reason);
    const error = await failureOf(reader.read());
    assertStrictEquals(await closed, error);
    assertStrictEquals(error.cause, reason);
    assertEquals(error.index, 0);
    const known: Outcome[] = ["unknown", "executed", "unknown"];
    assertEquals(
      outcomes(error),
      range(taken).map((n) => [n, n, known[n]]),
    );
    assertEquals(signals.listeners, 0);
    await Promise.all(writes);
    held.release();
    await close();
  }
});

test("a stage whose signal has fired already takes no input", async () => {
  const { client, close } = pair(numbers);
  const signals = new SignalCount();
  const source = new Source();
  const error = await failureOf(
    source.stream
      .pipeThrough(client.stage("Math.square", { signal: signals.aborted() }))
      .pipeTo(collect([])),
  );
  assertEquals([error.index, error.unacknowledged], [0, []]);
  assertEquals((error.cause as Error).message, "aborted before");
  assertEquals(client.stats().chunksWritten <= 1, true);
  await close();
});

test("an error of the source cancels the calls in flight", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const broken = new Error("the source broke");
  const source = new ReadableStream({
    async start(controller) {
      controller.enqueue("a");
      controller.enqueue("b");
      await settle(8);
      controller.error(broken);
    },
  });
  const error = await failureOf(
    source.pipeThrough(client.stage("Held.work", { window: 3 }))
      .pipeTo(collect([])),
  );
  assertStrictEquals(error.cause, broken);
  assertEquals(outcomes(error)[0], [0, "a", "unknown"]);
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  await close();
});

test("an abort of the writable ends the stage while a write waits, and does not reject", async () => {
  const { held, writer, reader, close } = heldStage({ window: 1 });
  const written = failureOf(writer.write("a"));
  await settle();
  const reason = new Error("given up");
  await writer.abort(reason);
  const error = await failureOf(reader.read());
  assertStrictEquals(error.cause, reason);
  assertStrictEquals(await written, error);
  assertEquals(outcomes(error), [[0, "a", "unknown"]]);
  held.release();
  await close();
});

test("when the reader cancels, the calls in flight are cancelled and the source gets the list of undelivered inputs", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const source = new Source();
  const reader = source.stream
    .pipeThrough(client.stage("Held.work", { window: 3 })).getReader();
  await settle();
  held.calls[0].resolve("first");
  assertEquals((await reader.read()).value, "first");
  await settle();
  await reader.cancel(new Error("seen enough"));
  await settle();
  assertInstanceOf(source.cancelled, StageError);
  assertEquals(
    outcomes(source.cancelled).map(([index]) => index),
    [1, 2, 3],
  );
  assertEquals(
    held.calls.slice(1).map(({ ctx }) => ctx.signal.aborted),
    [true, true, true],
  );
  held.release();
  await close();
});

test("when the sink fails, the pipe rejects with the sink's error, and the stage ends", async () => {
  const { client, close } = pair(numbers);
  const source = new Source();
  const full = new Error("the sink is full");
  const error = await assertRejects(() =>
    source.stream.pipeThrough(client.stage("Math.square")).pipeTo(
      new WritableStream({
        write(n) {
          if (n === 100) throw full;
        },
      }),
    )
  );
  assertStrictEquals(error, full);
  await settle();
  assertInstanceOf(source.cancelled, StageError);
  await close();
});

test("a lost connection fails the stage with the outcome of every call", async () => {
  const { client, held, writer, reader, close } = heldStage();
  await writer.write("a");
  await settle();
  const read = failureOf(reader.read());
  writer.write("b");
  client.abort(new Error("lost"));
  const error = await read;
  assertEquals(error.index, 0);
  assertEquals((error.cause as RpcError).code, "unavailable");
  assertEquals(outcomes(error), [[0, "a", "unknown"], [1, "b", "not_sent"]]);
  held.release();
  await close();
});

test("call options apply to each call; the signal of ctx ends the stage", async () => {
  const { client, close } = pair({
    Meta: {
      get: (_: number, ctx: { metadata: ReadonlyMap<string, string> }) =>
        ctx.metadata.get("who") ?? "",
    },
  });
  const results: string[] = [];
  await ReadableStream.from([1, 2])
    .pipeThrough(client.stage("Meta.get", { metadata: { who: "me" } }))
    .pipeTo(collect(results));
  assertEquals(results, ["me", "me"]);
  const late = await failureOf(
    ReadableStream.from([1]).pipeThrough(
      client.stage("Meta.get", { timeout: 0 }),
    ).pipeTo(collect([])),
  );
  assertEquals((late.cause as RpcError).code, "deadline_exceeded");
  const outer = new AbortController();
  const ctx = { signal: outer.signal, remaining: Infinity };
  const { readable } = client.stage("Meta.get", { ctx });
  outer.abort(new Error("the outer call is over"));
  const error = await failureOf(readable.getReader().read());
  assertEquals((error.cause as Error).message, "the outer call is over");
  await close();
});

test("params that end the stage while they are serialized are not sent", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const controller = new AbortController();
  const { signal } = controller;
  const nasty = { toJSON: () => (controller.abort(new Error("now")), 1) };
  const error = await failureOf(
    ReadableStream.from([nasty])
      .pipeThrough(client.stage("Held.work", { signal }))
      .pipeTo(collect([])),
  );
  assertEquals(outcomes(error), [[0, nasty, "not_sent"]]);
  await settle();
  assertEquals(held.calls.length, 0);
  await close();
});

test("a stage of a reconnecting client continues over the next connection", async () => {
  const ends = new Reconnecting(["peer", "peer"]);
  const { writable, readable } = ends.client.stage("m", { window: 4 });
  const writer = writable.getWriter();
  const reader = readable.getReader();
  await writer.write("a");
  await writer.write("b");
  ends.lose();
  await ends.advance(100);
  const peer = await ends.ready();
  await peer.send(reply(1, "A"));
  await peer.send(reply(2, "B"));
  await settle();
  assertEquals((await reader.read()).value, "A");
  assertEquals((await reader.read()).value, "B");
  await writer.close();
  await ends.over();
});

test("an invalid window or windowBytes throws a RangeError that names it", () => {
  const { client } = pair(numbers);
  for (const bad of [0, -1, NaN]) {
    const made = () => client.stage("Math.square", { window: bad });
    assertThrows(made, RangeError, "Cannot use window: ");
    const mapped = () => client.map("Math.square", [], { windowBytes: bad });
    assertThrows(mapped, RangeError, "Cannot use windowBytes: ");
  }
  client.abort();
});

test("a stage's types follow from the method and the options", async () => {
  const { client, close } = pair({
    At: { plus: (ms: number) => new Date(ms) },
  });
  const plain = client.stage("At.plus");
  holds<Equal<typeof plain, Stage<number, string>>>();
  const free = client.stage("At.plus", { ordered: false, window: 2 });
  holds<Equal<typeof free, Stage<number, StageItem<string>>>>();
  const all = client.stage("At.plus", { onError: "yield", timeout: 5 });
  holds<Equal<typeof all, Stage<number, string | StageError<number>>>>();
  const mapped = client.map("At.plus", [1], { ordered: true });
  holds<Equal<typeof mapped, AsyncIterableIterator<string>>>();
  // @ts-expect-error There is no such method.
  client.stage("At.minus");
  // @ts-expect-error Its params are numbers.
  client.map("At.plus", ["1"]);
  // @ts-expect-error There is no such option.
  client.stage("At.plus", { widow: 5 });
  await close();
});
