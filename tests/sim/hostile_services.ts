/**
 * The handlers that hostile peers call. They finish at once, later, when their
 * signal fires, or only when the run ends. They stream, validate, run in order,
 * call back, and close their own connection.
 *
 * @module
 */

import {
  type CallContext,
  type Connection,
  method,
  ordered,
  RpcError,
  type StandardSchema,
} from "../../mod.ts";
import type { TestClock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";

/** A handler, or the body of a stream that it returned, that has not ended. */
export interface Entered {
  readonly ctx: CallContext;
  readonly name: string;
}

/** What the handlers share. */
export interface HostileHost {
  readonly random: Random;
  readonly clock: TestClock;
  /** Handlers that have not ended. */
  readonly entered: Set<Entered>;
  /** Resolves to end the handlers that ignore their signals. */
  readonly released: Promise<void>;
  /** Handlers started so far. */
  started: number;
  /** Aborts a random connection, whatever it is doing. */
  breakOne(): void;
  /** Calls the peer that made this call. */
  callBack(ctx: CallContext): Promise<unknown>;
  /** Whether this is the connection of the honest client. */
  isCanary(connection: Connection): boolean;
}

type Params = AsyncIterable<unknown> | unknown;

/** The services that hostile peers call. */
export function hostileServices(host: HostileHost): object {
  const { random, clock } = host;
  const later = (ms: number) =>
    new Promise<void>((resolve) => clock.setTimeout(resolve, ms));
  const fired = ({ signal }: CallContext) =>
    new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
  /** Waits for nothing, for a while, or for the signal. */
  const pause = (ctx: CallContext) =>
    random.pick<() => Promise<void>>([
      () => Promise.resolve(),
      () => later(random.pick([1, 100, 4000])),
      () => fired(ctx),
    ])();

  /** Wraps a handler: it counts as running until it has settled. */
  const handler =
    (name: string, work: (params: Params, ctx: CallContext) => unknown) =>
    (params: Params, ctx: CallContext): unknown => {
      const entry = { ctx, name };
      const leave = () => void host.entered.delete(entry);
      host.started++;
      host.entered.add(entry);
      let result: unknown;
      try {
        result = work(params, ctx);
      } catch (error) {
        leave();
        throw error;
      }
      if (!(result instanceof Promise)) leave();
      else result.then(leave, leave);
      return result;
    };
  /** Wraps a stream: it counts as running from its first item on. */
  const rows = (name: string, most: number) =>
    handler(name, (params, ctx) => produce({ ctx, name }, params, most));
  async function* produce(entry: Entered, params: Params, most: number) {
    host.entered.add(entry);
    try {
      if (isStream(params)) {
        for await (const item of params) yield item;
      } else {
        for (let i = 0; i < most; i++) {
          yield random.pick<unknown>([i, "text", new Uint8Array(2000)]);
          if (random.oneIn(3)) await pause(entry.ctx);
          if (entry.ctx.signal.aborted) return;
        }
      }
    } finally {
      if (random.oneIn(4)) await later(50);
      host.entered.delete(entry);
    }
  }

  const wait = handler("wait", async (_, ctx) => {
    await fired(ctx);
    if (random.oneIn(2)) throw ctx.signal.reason;
    return "cancelled";
  });
  const line = handler("line", (_, ctx) => pause(ctx).then(() => 1));
  const schema = schemaOf((value) => {
    if (random.oneIn(20)) host.breakOne();
    return later(random.below(200)).then(() => {
      if (random.oneIn(4)) throw new Error("the schema fails");
      return { value };
    });
  });
  const strict = schemaOf((value) => {
    if (random.oneIn(20)) host.breakOne();
    if (typeof value === "number") return { value };
    return { issues: [{ message: "not a number" }] };
  });
  const key = (n: unknown) => {
    if (random.oneIn(20)) host.breakOne();
    return `${n}`;
  };
  const up = handler("up", async (params, ctx) => {
    if (!isStream(params)) return "no stream";
    if (random.oneIn(4)) return "not read";
    if (random.oneIn(4)) await fired(ctx);
    let n = 0;
    for await (const _ of params) {
      if (random.oneIn(5)) await pause(ctx);
      if (++n === 20 || random.oneIn(9)) break;
    }
    return n;
  });
  return {
    T: {
      now: handler("now", () => "at once"),
      soon: handler("soon", () => later(random.pick([0, 20, 3000]))),
      wait,
      late: handler("late", async (_, ctx) => {
        await fired(ctx);
        await later(random.pick([1, 500, 5000]));
      }),
      deaf: handler("deaf", () => host.released),
      crash: handler("crash", () => {
        throw random.oneIn(2) ? undefined : new Error("hidden");
      }),
      fail: handler("fail", async (_, ctx) => {
        ctx.setReplyMetadata({ why: "it fails" });
        await pause(ctx);
        throw new RpcError("sorry", "no", { data: [1] });
      }),
      down: rows("down", 5),
      endless: rows("endless", Infinity),
      both: rows("both", 3),
      up,
      checked: method(schema, wait),
      strict: method(strict, wait),
      back: handler("back", (_, ctx) => host.callBack(ctx)),
      bye: handler("bye", (_, ctx) => {
        if (host.isCanary(ctx.connection)) return;
        if (random.oneIn(3)) void ctx.connection.abort();
        else void ctx.connection.close({ ctx, timeout: random.below(2000) });
      }),
      big: handler("big", () => new Uint8Array(random.pick([300, 40_000]))),
      hold: handler("hold", (_, ctx) => fired(ctx)),
    },
    Line: ordered({ a: line, b: wait }),
    Keyed: ordered({ a: line }, { key }),
  };
}

function schemaOf(
  validate: StandardSchema["~standard"]["validate"],
): StandardSchema {
  return { "~standard": { version: 1, vendor: "sim", validate } };
}

function isStream(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null &&
    Symbol.asyncIterator in value;
}
