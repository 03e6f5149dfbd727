// Whole connections under random messages, splits, orders and limits. On a
// failure fast-check prints the seed and the smallest case.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import {
  type CallContext,
  type CallHandle,
  type Connection,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import {
  frame,
  KIND,
  readAnswer,
  readGoaway,
  request,
} from "../conformance/bytes.ts";
import { settle } from "../support/clock.ts";
import {
  assertLost,
  faceClient,
  faceServer,
  type Facing,
  greet,
} from "../support/facing.ts";
import { chunked } from "../support/frames.ts";
import { assertNothingLeft, type Pair, pair } from "../support/pair.ts";
import { failure, goaway, join, reply } from "../support/raw_peer.ts";
import { Held, type HeldCall } from "../support/services.ts";

const anyValue = fc.oneof(
  fc.constant(undefined),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.uint8Array({ maxLength: 40 }),
  fc.jsonValue({ maxDepth: 2 }),
);

/** Text that has a form in UTF-8. */
const anyText = fc.string({ unit: "grapheme", maxLength: 12 });

/** A legal frame of a caller; ids are given to them in order. */
type Said = (id: number) => Uint8Array;
const anySaid: fc.Arbitrary<Said> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      method: fc.oneof(fc.constant("Echo.echo"), anyText),
      value: anyValue,
      deadline: fc.option(fc.constantFrom(0, 60_000), { nil: undefined }),
      metadata: fc.option(
        fc.uniqueArray(fc.tuple(anyText, anyText), {
          selector: ([name]) => name,
          maxLength: 3,
        }),
        { nil: undefined },
      ),
    }).map(({ method, value, deadline, metadata }) => (id: number) =>
      request(id, method, value, { deadline, metadata })
    ),
  },
  fc.constant(() => frame(KIND.CANCEL, 1)),
  fc.constant((id: number) => frame(KIND.PING, id)),
  fc.uint8Array({ maxLength: 30 }).map((body) => (id: number) =>
    frame(KIND.PAD, id, body, 0xff)
  ),
  fc.integer({ min: 0x80, max: 0xff }).map((kind) => (id: number) =>
    frame(kind, id, [1, 2, 3], 0x5a)
  ),
);

const anyCuts = fc.array(fc.nat({ max: 3000 }), { maxLength: 40 });

/** What a server answers to bytes that arrive in these chunks, without PONGs. */
async function answers(chunks: Uint8Array[]): Promise<unknown[]> {
  const facing = faceServer({
    Echo: {
      echo: (value: unknown, { metadata }: CallContext) => [value, ...metadata],
    },
  });
  await greet(facing);
  // A first call, so that any CANCEL is for an earlier one.
  await facing.peer.send(request(1, "Echo.echo"));
  for (const chunk of chunks) await facing.peer.send(chunk);
  await facing.peer.send(goaway(undefined));
  await facing.peer.end();
  const frames = await facing.peer.rest();
  assertEquals((await facing.connection.closed)?.code, undefined);
  assertNothingLeft(facing.connection);
  return frames.filter(({ kind }) => kind !== KIND.PONG).map((got) =>
    got.kind === KIND.GOAWAY ? readGoaway(got) : readAnswer(got)
  );
}

test("[B1] any messages, however they are cut, get the same replies", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anySaid, { maxLength: 20 }),
      anyCuts,
      async (said, cuts) => {
        const bytes = join(...said.map((make, i) => make(i + 2)));
        const whole = await answers([bytes]);
        const sorted = cuts.toSorted((a, b) => a - b);
        assertEquals(await answers(chunked(bytes, sorted)), whole);
      },
    ),
    { numRuns: 60 },
  );
});

/** How a hand-made peer ends each of a client's calls. */
const anyAnswers = fc.array(
  fc.record({
    ok: fc.boolean(),
    started: fc.boolean(),
    at: fc.nat({ max: 1000 }),
  }),
  { minLength: 1, maxLength: 30 },
);

test("[I7] replies in any order, however they are cut, reach their own callers", async () => {
  await fc.assert(
    fc.asyncProperty(anyAnswers, anyCuts, async (plan, cuts) => {
      const facing = faceClient();
      await greet(facing);
      const handles = plan.map((_, i) => facing.connection.go("m", i));
      await settle();
      const order = plan.map((entry, i) => ({ ...entry, id: i + 1 }))
        .sort((a, b) => a.at - b.at);
      const bytes = join(
        ...order.map(({ ok, started, id }) =>
          ok ? reply(id, `for ${id}`) : failure(id, `code ${id}`, "", started)
        ),
      );
      const sorted = cuts.toSorted((a, b) => a - b);
      for (const chunk of chunked(bytes, sorted)) await facing.peer.send(chunk);
      for (const [i, { ok, started }] of plan.entries()) {
        const got = await handles[i].reply.catch((error: RpcError) =>
          error.code
        );
        assertEquals(got, ok ? `for ${i + 1}` : `code ${i + 1}`);
        const outcome = ok || started ? "executed" : "refused";
        assertEquals(await handles[i].settled, outcome);
      }
      await assertLost(facing);
    }),
    { numRuns: 60 },
  );
});

const GIVEN_UP = new Error("given up");

/** One step of a user, on either side. */
type Step =
  | { readonly do: "call"; readonly size: number }
  | { readonly do: "abort" | "end" | "fail"; readonly which: number }
  | { readonly do: "turn" };
const which = fc.nat({ max: 1000 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("call" as const),
      size: fc.nat({ max: 300 }),
    }),
  },
  fc.record({ do: fc.constantFrom("abort", "end", "fail"), which }),
  fc.record({ do: fc.constant("turn" as const) }),
);

/** Limits of a server. */
interface AnyLimits {
  windowCalls: number;
  windowBytes: number;
  maxRunning: number;
  maxMessage: number;
  highWaterMark: number;
}
const anyLimits: fc.Arbitrary<AnyLimits> = fc.record({
  windowCalls: fc.integer({ min: 1, max: 200 }),
  windowBytes: fc.integer({ min: 400, max: 200_000 }),
  maxRunning: fc.integer({ min: 1, max: 10 }),
  maxMessage: fc.integer({ min: 16_384, max: 100_000 }),
  highWaterMark: fc.integer({ min: 1, max: 5000 }),
});

/** What the server enforces: what it granted, or the protocol's constants. */
const EARLY = { calls: 64, bytes: 65_536 };

/** The windows of both sides, in any state a user can bring about. */
function checkWindows(
  caller: Connection,
  callee: Connection,
  limits: AnyLimits,
  handlers: number,
): void {
  const { inFlight, inFlightBytes } = caller.stats();
  const { receiving: held, running, waiting } = callee.stats();
  assert(handlers <= running, `${handlers} handlers go on, ${running} counted`);
  const calls = Math.max(limits.windowCalls, EARLY.calls);
  assert(inFlight <= calls, `${inFlight} calls in flight of ${calls}`);
  const bytes = Math.max(limits.windowBytes, EARLY.bytes);
  assert(inFlightBytes <= bytes, `${inFlightBytes} bytes of ${bytes}`);
  assert(held <= inFlight, `${held} held of ${inFlight} in flight`);
  assert(running <= limits.maxRunning, `${running} running`);
  assert(running + waiting <= held, "a place was freed before its call ended");
}

/** A client and a server whose handlers end when a step says so. */
class Play {
  readonly handles: CallHandle<unknown>[] = [];
  readonly #limits: AnyLimits;
  readonly #held = new Held();
  readonly #ended = new Set<HeldCall>();
  readonly #pair: Pair<Held["services"]>;

  constructor(limits: AnyLimits) {
    this.#limits = limits;
    this.#pair = pair(this.#held.services, { server: limits });
  }

  async step(step: Step): Promise<void> {
    const { calls } = this.#held;
    if (step.do === "call") {
      const params = { n: this.handles.length, pad: "x".repeat(step.size) };
      this.handles.push(this.#pair.client.go("Held.work", params));
    } else if (step.do === "turn") await settle(1);
    else if (step.do === "abort") {
      this.handles[step.which % this.handles.length]?.abort(GIVEN_UP);
    } else this.#end(calls[step.which % calls.length], step.do === "fail");
    this.#check();
  }

  #end(call: HeldCall | undefined, fail: boolean): void {
    if (call === undefined) return;
    this.#ended.add(call);
    if (fail) call.reject(new RpcError("told", "as planned"));
    else call.resolve(call.params);
  }

  #check(): void {
    const { client, connection } = this.#pair;
    const open = this.#held.calls.length - this.#ended.size;
    checkWindows(client.connection, connection, this.#limits, open);
  }

  /** Ends every handler until every call has been answered. */
  async finish(): Promise<void> {
    const { client, connection, close } = this.#pair;
    for (let i = 0; client.stats().inFlight + client.stats().queued > 0; i++) {
      assert(i < 2000, "it does not come to an end");
      for (const call of this.#held.calls) this.#end(call, false);
      await settle(1);
      this.#check();
    }
    await settle();
    const { receiving: held, state } = connection.stats();
    assertEquals([held, state], [0, "open"]);
    await close();
  }
}

test("[F13] [I8] a client with any limits, calls, aborts and orders of replies never breaks the protocol", async () => {
  const anySteps = fc.array(anyStep, { minLength: 20, maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(anyLimits, anySteps, async (limits, steps) => {
      const play = new Play(limits);
      for (const step of steps) await play.step(step);
      await play.finish();
      for (const [n, handle] of play.handles.entries()) {
        const got = await handle.reply.catch((error) => error);
        if (got instanceof Error) continue;
        assertEquals((got as { n: number }).n, n, "somebody else's answer");
        assertEquals(await handle.settled, "executed");
      }
    }),
    { numRuns: 40 },
  );
});

test("[F7] [I7] both sides call each other in any order, and each call gets its own reply", async () => {
  const anyCalls = fc.array(
    fc.record({
      a: fc.boolean(),
      wait: fc.nat({ max: 5 }),
      turn: fc.boolean(),
    }),
    { maxLength: 100 },
  );
  await fc.assert(
    fc.asyncProperty(anyCalls, anyLimits, async (calls, limits) => {
      const services = {
        Test: {
          late: async ({ n, wait }: { n: number; wait: number }) => {
            for (let i = 0; i < wait; i++) await Promise.resolve();
            return n;
          },
        },
      };
      const [near, far] = memoryPair({ highWaterMark: 1000 });
      const server = new Server(services, limits);
      const [a, b] = [server.accept(near), server.accept(far)];
      const replies: Promise<unknown>[] = [];
      for (const [n, { a: fromA, wait, turn }] of calls.entries()) {
        replies.push((fromA ? a : b).call("Test.late", { n, wait }));
        if (turn) await settle(1);
      }
      assertEquals(await Promise.all(replies), calls.map((_, n) => n));
      await server.close();
      for (const connection of [a, b]) assertNothingLeft(connection);
    }),
    { numRuns: 40 },
  );
});

/** Bytes that go wrong somewhere: a valid session with some of them overwritten. */
test("[B10] with any bytes of a session overwritten or cut, the server's connection closes", async () => {
  const damage = fc.array(
    fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })),
    {
      minLength: 1,
      maxLength: 6,
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(anySaid, { minLength: 1, maxLength: 10 }),
      damage,
      anyCuts,
      async (said, damage, cuts) => {
        const bytes = join(...said.map((make, i) => make(i + 1)));
        for (const [at, byte] of damage) bytes[at % bytes.length] = byte;
        const facing: Facing = faceServer({
          Echo: { echo: (v: unknown) => v },
        });
        await greet(facing);
        const sorted = cuts.toSorted((a, b) => a - b);
        for (const chunk of chunked(bytes, sorted)) {
          await facing.peer.send(chunk);
        }
        await facing.peer.end();
        await facing.peer.rest();
        await facing.connection.closed;
        assertNothingLeft(facing.connection);
      },
    ),
    { numRuns: 100 },
  );
});
