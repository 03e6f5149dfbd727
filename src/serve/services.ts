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

import type {
  ErrorInfo,
  Serializer,
  ServiceDefinition,
  WireMap,
} from "../types/connection.ts";

import {
  type CallChange,
  type CallEnding,
  CallEndingCell,
  type IncomingCall,
  type Middleware,
  type ServerMiddleware,
} from "../types/middleware.ts";
import type { IncomingCalls, ServeContext } from "../connection/contract.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { FairShare } from "./fair_share.ts";
import { toRegistry } from "./method_table.ts";
import type { Checked } from "../types/services.ts";
import { tellHook } from "../base/user_code.ts";
import { invalid, PreHandlerError } from "./responder.ts";
import { isolated, type Scope, scopeOfNow } from "../base/async_context.ts";
import type { Metadata } from "../types/call.ts";
import type { ServerCall } from "./server_call.ts";
import { RpcError } from "../base/errors.ts";
import { checkList, compose } from "../base/compose.ts";
import type { MethodEntry, MethodTable } from "./method.ts";
import { discard, isStream, type StreamValue } from "../base/pull_source.ts";

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
 * import { callable, type CallContext, clientOf, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const mine = { Progress: { percent: (n: number) => void seen.push(n) } };
 * const seen: number[] = [];
 * const theirs = {
 *   Work: {
 *     run: async (_: undefined, ctx: CallContext) => {
 *       const caller = clientOf<typeof mine>(ctx.connection);
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
): ServiceDefinition {
  return toCallable(services, options);
}

/** A service definition as a server uses it: `turns` limits the handlers of all its connections. */
export interface ServedServices extends ServiceDefinition {
  readonly serve: (context: ServeContext, turns?: FairShare) => IncomingCalls;
}

/** The same without types. */
export function toCallable(
  services: object,
  { use = [], exposeErrors = false, onError }: CallableOptions<WireMap>,
): ServedServices {
  const methodTable = wrapAll(toRegistry(services), use);
  const report = (error: unknown, info: ErrorInfo) =>
    tellHook({ onError }, "onError", error, info);
  return {
    methods: methodTable,
    onError: report,
    serve(context: ServeContext, turns?: FairShare) {
      const { codec, sendBuffer, deadlines, clock, tick, limits } = context;
      const { connection, observe, largeReads } = context;
      return new Dispatcher({
        ...{ codec, sendBuffer, deadlines, clock, tick, limits },
        ...{ connection, observe, largeReads },
        streams: () => context.streams(),
        settled: () => context.settled(),
        peerMaxMessage: () => context.peerMaxMessage(),
        ...{ methodTable, exposeErrors, turns },
        onError: (error, { method, id, connection }) =>
          report(error, { method, id, connection }),
      });
    },
  };
}

/** A call that its middleware can ask how it ended. */
type Ended = ServerCall & { ending: CallEndingCell };

/** How far a call has come; shared by all that stand for it. */
class HandlerProgress {
  /** Whether the handler has been called. */
  started = false;
  /** The stream that was returned last, and its context. */
  stream: unknown = undefined;
  scope: Scope | undefined = undefined;
  /** Streams that the handler returned. */
  #streams: StreamValue[] | undefined;
  #over = false;

  /** What the handler returned; too late, nobody takes it. */
  returned(result: unknown): unknown {
    if (!isStream(result)) return result;
    if (this.#over) discard(result, unused());
    else (this.#streams ??= []).push(result);
    return result;
  }

  /** What becomes of it is known: streams that nobody takes are cancelled. Another stream in their place may be made of them. */
  end(result: unknown): void {
    this.#over = true;
    const streams = this.#streams;
    if (streams === undefined) return;
    if (isStream(result) && !streams.includes(result)) return;
    for (const stream of streams) {
      if (stream !== result) discard(stream, unused());
    }
  }
}

function unused(): RpcError {
  return new RpcError("cancelled", "the call's middleware dropped the stream");
}

/** Keeps the context of a result that is a stream; what passes it on changes nothing. */
function keep({ progress }: ServerMiddlewareStack, result: unknown): unknown {
  if (result !== progress.stream && isStream(result)) {
    progress.stream = result;
    progress.scope = scopeOfNow();
  }
  return result;
}

/** A call on its way to its handler. */
class ServerMiddlewareStack implements IncomingCall {
  readonly params: unknown;
  readonly ctx: ServerCall;
  readonly progress: HandlerProgress;

  constructor(params: unknown, ctx: ServerCall, progress: HandlerProgress) {
    this.params = params;
    this.ctx = ctx;
    this.progress = progress;
  }

  get method(): string {
    return this.ctx.method;
  }

  get signal(): AbortSignal {
    return this.ctx.signal;
  }

  get remaining(): number {
    return this.ctx.remaining;
  }

  get metadata(): Metadata {
    return this.ctx.metadata;
  }

  get ended(): Promise<CallEnding> {
    return (this.ctx as Ended).ending.promise;
  }
}

/**
 * `registry` with middleware around each handler.
 *
 * @throws {TypeError} If one of the list is no function.
 */
export function wrapAll(
  methodTable: MethodTable,
  list: readonly ServerMiddleware[],
): MethodTable {
  checkList(list);
  if (list.length === 0) return methodTable;
  const wrapped = [...methodTable.values()].map((method) => wrap(method, list));
  return new Map(wrapped.map((method) => [method.name, method]));
}

function wrap(
  { name, schema, order, run }: MethodEntry,
  list: readonly ServerMiddleware[],
): MethodEntry {
  const way = compose<ServerMiddlewareStack, CallChange>(
    list as readonly Middleware<ServerMiddlewareStack, CallChange>[],
    (call, change) =>
      "params" in change
        ? new ServerMiddlewareStack(change.params, call.ctx, call.progress)
        : call,
    async ({ params, ctx, progress }) => {
      let value = params;
      if (schema !== undefined) {
        const result = await schema["~standard"].validate(params);
        if (result.issues !== undefined) throw invalid(result.issues);
        value = result.value;
      }
      ctx.signal.throwIfAborted();
      progress.started = true;
      return progress.returned(await run(value, ctx));
    },
    keep,
  );
  const whole = async (call: ServerMiddlewareStack): Promise<unknown> => {
    const { ctx, progress } = call;
    try {
      const result = await way(call);
      if (result === progress.stream) ctx.scope = progress.scope;
      progress.end(result);
      return result;
    } catch (error) {
      progress.end(undefined);
      throw progress.started ? error : new PreHandlerError(error);
    }
  };
  return {
    name,
    schema: undefined,
    order,
    run: (params, ctx) => {
      const progress = new HandlerProgress();
      (ctx as Ended).ending = new CallEndingCell();
      // What a middleware enters for good is not for the calls behind this one.
      return isolated(
        whole,
        new ServerMiddlewareStack(params, ctx as ServerCall, progress),
      );
    },
  };
}
