/**
 * What an end of a connection lets the other call.
 *
 * Invariants owned here:
 * - Services are read once, when they are made callable: what the other end can
 *   reach does not change under it, however many connections there are.
 * - What `onError` itself throws, or rejects with, ends nothing.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import type { CallInfo } from "../connection/contract.ts";
import { type ServerMiddleware, wrapAll } from "./incoming.ts";
import type { Serializer } from "../wire/payload.ts";
import { toRegistry } from "./method_table.ts";
import type { Checked, WireMap } from "../types/services.ts";
import { tellHook } from "../base/user_code.ts";

/** Where an error that `onError` is told came from; all undefined for one of accepting. */
export interface ErrorInfo extends Partial<CallInfo> {
  /** The connection it came by. */
  readonly connection?: Connection | undefined;
}

/** How services are served. */
export interface CallableOptions<M extends WireMap = "json"> {
  /** What stands around every handler, the first one outermost. */
  use?: readonly ServerMiddleware[] | undefined;
  /** Whether callers see the message of what a handler throws that is no `RpcError`. Default false. */
  exposeErrors?: boolean | undefined;
  /** Told what `internal` hides from callers. What it throws is lost. */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
  /** The connection's, if it is not JSON: one that says `wire: "exact"` turns off the check of what JSON can carry. */
  serializer?: Serializer & { readonly wire?: M } | undefined;
}

/** Services that the other end of a client's connection may call; made by {@linkcode callable}. */
export interface Callable {
  /** By dotted name; what a method is, is the library's own business. */
  readonly methods: ReadonlyMap<string, object>;
  /** Whether callers see the message of what a handler throws. */
  readonly exposeErrors: boolean;
  /** Told what callers are not; never throws. */
  readonly onError: (error: unknown, info: ErrorInfo) => void;
}

/**
 * Services for the other end to call: a client's `services`, for its server to
 * call it back by `ctx.connection`. All that holds of a {@linkcode Server}'s
 * services holds of these; the client's limits are theirs.
 *
 * (A function, so that their types are checked, and that a program whose
 * clients serve nothing does not carry the code for it.)
 *
 * @throws {TypeError} If something in them is no plain object of functions, or
 *   a middleware is no function.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { callable, type CallContext, callsOf, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const mine = { Progress: { percent: (n: number) => void seen.push(n) } };
 * const seen: number[] = [];
 * const theirs = {
 *   Work: {
 *     run: async (_: undefined, ctx: CallContext) => {
 *       const caller = callsOf<typeof mine>(ctx.connection);
 *       await caller.call("Progress.percent", 50, { ctx });
 *       return "done";
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(theirs);
 * server.accept(far);
 * const client = new Client<typeof theirs>(near, { services: callable(mine) });
 * assertEquals(await client.call("Work.run"), "done");
 * assertEquals(seen, [50]);
 * await client.close();
 * await server.close();
 * ```
 */
export function callable<L extends object, M extends WireMap = "json">(
  services: L & Checked<L, M>,
  options: CallableOptions<M> = {},
): Callable {
  return toCallable(services, options);
}

/** The same without types. */
export function toCallable(
  services: object,
  { use = [], exposeErrors = false, onError }: CallableOptions<WireMap>,
): Callable {
  return {
    methods: wrapAll(toRegistry(services), use),
    exposeErrors,
    onError: (error, info) => tellHook({ onError }, "onError", error, info),
  };
}
