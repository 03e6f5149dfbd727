// Ordered calls under random orders, keys, limits, aborts, endings and passed
// turns. On a failure fast-check prints the seed and the smallest case.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import {
  type CallContext,
  type CallHandle,
  ordered,
  RpcError,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { type Pair, pair } from "../support/pair.ts";

const METHODS = ["Free.m", "Alone.m", "Keyed.m", "All.a", "All.b"] as const;
type Name = (typeof METHODS)[number];

/** The params of a call; its number tells when it was made. */
interface Params {
  readonly n: number;
  readonly key: string;
}

/** One call, as its caller and its handler see it. */
interface Made {
  readonly n: number;
  /** Which calls it must not overlap before it has passed its turn; undefined if it may all. */
  readonly lane: string | undefined;
  readonly handle: CallHandle<unknown>;
  settled: boolean;
  passed: boolean;
  /** Of a handler that runs. */
  pass: (() => void) | undefined;
  end: ((fail: boolean) => void) | undefined;
}

type Step =
  | { readonly do: "call"; readonly name: Name; readonly key: string }
  | { readonly do: "abort" | "end" | "fail" | "pass"; readonly which: number }
  | { readonly do: "turn" };
const which = fc.nat({ max: 1000 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("call" as const),
      name: fc.constantFrom(...METHODS),
      key: fc.constantFrom("a", "b", "c"),
    }),
  },
  fc.record({ do: fc.constantFrom("abort", "end", "fail", "pass"), which }),
  fc.record({ do: fc.constant("turn" as const) }),
);

/** A server with all kinds of orders, and the calls that run on it. */
class Play {
  readonly made: Made[] = [];
  /** Handlers that have neither ended nor passed their turn, by lane. */
  readonly #busy = new Map<string, number>();
  /** The latest started, by lane. */
  readonly #latest = new Map<string, number>();
  readonly #problems: string[] = [];
  readonly #maxRunning: number;
  #running = 0;
  readonly #pair: Pair<ReturnType<Play["services"]>>;

  constructor(maxRunning: number) {
    this.#maxRunning = maxRunning;
    this.#pair = pair(this.services(), { server: { maxRunning } });
  }

  services() {
    const m = ({ n }: Params, ctx: CallContext) => this.#enter(n, ctx);
    return {
      Free: { m },
      Alone: { m: ordered(m) },
      Keyed: { m: ordered(m, { key: ({ key }) => key }) },
      All: ordered({
        a: m,
        b: (params: Params, ctx: CallContext) => m(params, ctx),
      }),
    };
  }

  #enter(n: number, ctx: CallContext): Promise<number> | number {
    const call = this.made[n];
    const { lane } = call;
    this.#running++;
    if (lane !== undefined) {
      const latest = this.#latest.get(lane) ?? -1;
      // Reported at the end: what a handler throws reaches only its caller.
      if (this.#busy.has(lane)) this.#problems.push(`two at once in ${lane}`);
      if (latest >= n) this.#problems.push(`${n} behind ${latest} in ${lane}`);
      this.#busy.set(lane, n);
      this.#latest.set(lane, n);
    }
    const pass = () => {
      ctx.passTurn();
      this.#pass(call);
    };
    // At once, and some of these return at once, too.
    if (n % 7 === 3 || n % 20 === 0) pass();
    if (n % 5 === 0) {
      this.#leave(call);
      return n;
    }
    return new Promise((resolve, reject) => {
      call.pass = pass;
      call.end = (fail) => {
        call.end = call.pass = undefined;
        this.#leave(call);
        if (fail) reject(new RpcError("told", "as planned"));
        else resolve(n);
      };
    });
  }

  #leave(call: Made): void {
    this.#running--;
    this.#pass(call);
  }

  #pass(call: Made): void {
    const { lane, n } = call;
    call.passed = true;
    if (lane !== undefined && this.#busy.get(lane) === n) {
      this.#busy.delete(lane);
    }
  }

  async step(step: Step): Promise<void> {
    if (step.do === "turn") {
      await settle(2);
      this.#judge();
    } else if (step.do === "call") this.#call(step.name, step.key);
    else if (step.do === "abort") {
      const open = this.made.filter(({ settled }) => !settled);
      open[step.which % open.length]?.handle.abort();
    } else if (step.do === "pass") {
      // Those that have passed, too: a second time does nothing.
      const running = this.made.filter(({ pass }) => pass !== undefined);
      running[step.which % running.length]?.pass?.();
    } else {
      const open = this.made.filter(({ end }) => end !== undefined);
      open[step.which % open.length]?.end?.(step.do === "fail");
    }
  }

  #call(name: Name, key: string): void {
    const n = this.made.length;
    const handle = this.#pair.client.go(name, { n, key });
    const [service] = name.split(".");
    const lanes: Record<string, string | undefined> = {
      Free: undefined,
      Keyed: `Keyed ${key}`,
    };
    const lane = service in lanes ? lanes[service] : service;
    const made: Made = {
      ...{ n, lane, handle, settled: false, passed: false },
      ...{ pass: undefined, end: undefined },
    };
    handle.settled.then(() => made.settled = true);
    this.made.push(made);
  }

  /** While there is room, somebody's turn it is in every lane, and nobody free waits. */
  #judge(): void {
    const { waiting, ordered, running } = this.#pair.connection.stats();
    assertEquals(running, this.#running);
    assert(running <= this.#maxRunning);
    if (running === this.#maxRunning) return;
    assertEquals(waiting, ordered, "a call waits though there is room");
    for (const { n, lane, settled, passed } of this.made) {
      if (settled || passed) continue;
      const busy = lane === undefined || this.#busy.has(lane);
      assert(busy, `${n} waits for nobody in ${lane}`);
    }
  }

  /** Ends every handler until every call has been answered. */
  async finish(): Promise<void> {
    while (this.made.some(({ settled }) => !settled)) {
      await settle(2);
      const open = this.made.filter(({ end }) => end !== undefined);
      for (const { end } of open) end?.(false);
      await settle(2);
      this.#judge();
      assert(open.length > 0 || this.made.every((made) => made.settled));
    }
    assertEquals(this.#problems, []);
    await this.#pair.close();
  }
}

test("ordered calls never overlap or overtake in their order, and never wait without need, whatever is aborted, however handlers end and whenever they pass their turn", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(1, 2, 3, 8),
      fc.array(anyStep, { minLength: 10, maxLength: 200 }),
      async (maxRunning, steps) => {
        const play = new Play(maxRunning);
        for (const step of steps) await play.step(step);
        await play.finish();
        for (const { n, handle } of play.made) {
          const got = await handle.reply.catch((error) => error);
          if (!(got instanceof Error)) assertEquals(got, n);
        }
      },
    ),
    { numRuns: 60 },
  );
});
