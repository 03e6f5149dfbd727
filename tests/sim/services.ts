/**
 * The handlers of a simulated world. Each reports its start and its end to the
 * call log and to the side on which it runs.
 *
 * @module
 */

import { type CallContext, RpcError } from "../../mod.ts";
import { isDependent, numberOf } from "./chance.ts";
import type { End, Running } from "./link.ts";
import type { World } from "./world.ts";

/** A call that is served. */
interface Served {
  readonly n: number;
  readonly end: End;
  readonly params: unknown;
  readonly ctx: CallContext;
  /** Called when nothing of the call runs any more, its streams included. */
  readonly over: () => void;
}

/** What a handler does. */
type Work = (served: Served) => unknown;

/** The services of a server. */
export function services(world: World): object {
  const entered = (work: Work) => (params: unknown, ctx: CallContext) =>
    enter(world, work, params, ctx);
  const streaming = (answers: boolean) =>
    entered(({ n, end, ctx, params, over }) => {
      const hold = () => world.hold(end, () => "read");
      return world.streams.serve(n, end, ctx, params, answers, hold, over);
    });
  return {
    T: {
      echo: entered(({ params }) => params),
      held: entered(({ end, params }) => world.hold(end, () => params)),
      fail: entered(() => {
        throw new RpcError("sorry", "no", { data: [1] });
      }),
      crash: entered(() => {
        throw new Error("hidden");
      }),
      big: entered(() => new Uint8Array(world.random.pick([300, 20_000]))),
      // Calls back before it waits; the call inherits signal and deadline.
      nested: entered(({ end, ctx }) => {
        world.call(end, { ctx }, world.random.pick(["echo", "held"]));
        return world.hold(end, () => "nested");
      }),
      closer: entered(({ params, ctx }) => {
        if (world.random.oneIn(8)) ctx.connection.close({ ctx });
        return params;
      }),
      down: streaming(true),
      up: streaming(false),
      both: streaming(true),
    },
  };
}

function enter(
  world: World,
  work: Work,
  params: unknown,
  ctx: CallContext,
): unknown {
  const [end, peer] = world.endsOf(ctx.connection);
  const n = numberOf(params, ctx);
  const { signal } = ctx;
  world.callLog.started(n, peer.name, ctx);
  // A call that refers to others may start after later ones.
  if (!isDependent(params)) end.started(ctx.id);
  const running: Running = { id: ctx.id, aborted: () => signal.aborted };
  end.running.add(running);
  const over = () => void end.running.delete(running);
  const done = (result: unknown) => {
    world.callLog.finished(n, peer.name, ctx.id);
    if (!isStream(result)) over();
  };
  let result: unknown;
  try {
    result = work({ n, end, params, ctx, over });
  } catch (error) {
    done(error);
    throw error;
  }
  if (result instanceof Promise) result.then(done, done);
  else done(result);
  return result;
}

function isStream(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    Symbol.asyncIterator in value;
}
