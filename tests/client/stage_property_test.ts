// Stages under random bounds, delays, failures and endings. On a failure
// fast-check prints the seed and the smallest case.

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { type Client, RpcError, StageError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { type Pair, pair } from "../support/pair.ts";
import { Held } from "../support/services.ts";
import { SignalCount } from "../support/signal_count.ts";

/** Replies with `n` after as many turns as `delays` says. */
function delayed(delays: readonly number[]) {
  return {
    Slow: {
      echo: async (n: number) => {
        const turns = delays[n % delays.length];
        if (turns > 0) await settle(turns);
        return n;
      },
    },
  };
}

const anyDelays = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 8 });

test("each input has one result, in order or with its index", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 60 }),
      fc.integer({ min: 1, max: 20 }),
      anyDelays,
      fc.boolean(),
      async (count, window, delays, ordered) => {
        const { client, close } = pair(delayed(delays));
        const inputs = Array.from({ length: count }, (_, i) => i);
        const items = await Array.fromAsync(
          client.map("Slow.echo", inputs, { window, ordered }),
        );
        if (ordered) assertEquals<unknown>(items, inputs);
        else {
          const found = items as { index: number; value: number }[];
          found.sort((a, b) => a.index - b.index);
          assertEquals(found, inputs.map((n) => ({ index: n, value: n })));
        }
        await close();
      },
    ),
    { numRuns: 40 },
  );
});

/** What can end a stage, at any moment. */
const ENDINGS = ["call", "signal", "abort", "cancel", "client"] as const;

/** One thing that may happen to a stage while it takes inputs. */
type Move = { answer: number } | "read" | "turn";
const anyMove: fc.Arbitrary<Move> = fc.oneof(
  fc.record({ answer: fc.nat({ max: 7 }) }),
  fc.constant("read" as const),
  fc.constant("turn" as const),
);

/** A stage that the test drives step by step. */
class Driven {
  readonly held: Held = new Held();
  readonly ends: Pair<Held["services"]>;
  readonly signals: SignalCount = new SignalCount();
  readonly controller: AbortController;
  readonly writer: WritableStreamDefaultWriter<unknown>;
  readonly reader: ReadableStreamDefaultReader<unknown>;
  /** Errors that either side was told. */
  readonly told = new Set<unknown>();
  readonly delivered: number[] = [];
  readonly #open = new Set<number>();
  readonly #under: Promise<void>[] = [];

  constructor(window: number, ordered: boolean, inputs: number) {
    this.ends = pair(this.held.services);
    this.controller = this.signals.make();
    const stage = (this.ends.client as Client<Held["services"]>).stage(
      "Held.work",
      { window, ordered, signal: this.controller.signal },
    );
    this.writer = stage.writable.getWriter();
    this.reader = stage.readable.getReader();
    this.#watch(this.writer.closed);
    this.#watch(this.reader.closed);
    for (let i = 0; i < inputs; i++) this.#watch(this.writer.write(i));
  }

  #watch(promise: Promise<unknown>): void {
    const tell = (error: unknown) => void this.told.add(error);
    this.#under.push(promise.then(() => {}, tell));
  }

  async move(move: Move): Promise<void> {
    if (move === "turn") await settle(1);
    else if (move === "read") this.#watch(this.reader.read().then(this.#got));
    else {
      this.#open.add(move.answer);
      const call = this.held.calls[move.answer];
      call?.resolve(call.params);
    }
  }

  readonly #got = (result: ReadableStreamReadResult<unknown>) => {
    if (result.done) return;
    const item = result.value as number | { index: number };
    this.delivered.push(typeof item === "number" ? item : item.index);
  };

  async end(how: typeof ENDINGS[number]): Promise<void> {
    const reason = new Error(how);
    switch (how) {
      case "call": {
        const open = this.held.calls.findIndex((_, i) => !this.#open.has(i));
        this.held.calls[open]?.reject(new RpcError("no", how));
        await settle();
        this.#readAll();
        break;
      }
      case "signal":
        this.controller.abort(reason);
        break;
      case "abort":
        this.#watch(this.writer.abort(reason));
        break;
      case "cancel":
        this.#watch(this.reader.cancel(reason));
        break;
      case "client":
        this.#watch(this.ends.client.abort(reason));
        this.#readAll();
        break;
    }
    await settle();
    // There was no call left that could fail.
    this.controller.abort(reason);
    await settle();
  }

  /** Results that had come before the end are there to be read. */
  #readAll(): void {
    for (let i = 0; i < 20; i++) {
      this.#watch(this.reader.read().then(this.#got));
    }
  }

  async over(): Promise<void> {
    this.held.release();
    await settle();
    await Promise.all(this.#under);
    assertEquals(this.signals.listeners, 0);
    await this.ends.close();
  }
}

test("whatever ends a stage at whatever moment, every input taken is delivered or listed in the error, and nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 6 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 8 }),
      fc.array(anyMove, { maxLength: 12 }),
      fc.constantFrom(...ENDINGS),
      async (window, ordered, inputs, moves, ending) => {
        const driven = new Driven(window, ordered, inputs);
        for (const move of moves) await driven.move(move);
        await settle();
        const begun = driven.held.calls.length;
        assert(begun - driven.delivered.length <= window);
        await driven.end(ending);
        const { held, delivered, told } = driven;
        const errors = Array.from(told).filter((e) => e instanceof StageError);
        checkError(errors, delivered, begun, ordered);
        for (const { params, ctx } of held.calls) {
          const cancelled = ctx.signal.aborted;
          const answered = delivered.includes(params as number);
          assert(!(cancelled && answered));
        }
        await driven.over();
      },
    ),
    { numRuns: 150 },
  );
});

function checkError(
  errors: readonly unknown[],
  delivered: readonly number[],
  begun: number,
  ordered: boolean,
): void {
  assertEquals(errors.length, 1);
  const [error] = errors;
  assertInstanceOf(error, StageError);
  const left = error.unacknowledged;
  const named = left.map(({ index }) => index);
  assertEquals(named, named.toSorted((a, b) => a - b));
  for (const { index, input } of left) assertEquals(input, index);
  const all = [...delivered, ...named].sort((a, b) => a - b);
  assertEquals(all, all.map((_, i) => i));
  assert(all.length >= begun);
  if (ordered) assertEquals(delivered, all.slice(0, delivered.length));
}
