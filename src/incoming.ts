/**
 * Middleware around handlers.
 *
 * Invariants owned here:
 * - A handler counts as started when it is called, not before: what middleware
 *   or a schema refuses is answered `refused`.
 * - Middleware is outside of validation, and a handler never sees params that
 *   its schema did not return.
 * - Once a call has been given up, its handler is not started any more.
 * - A result that is a stream is read in the async context in which it was
 *   asked for: what a middleware holds around `next` holds around its items.
 *
 * @module
 */

import { invalid, NotStarted } from "./answers.ts";
import { outside, type Scope, scopeOfNow } from "./async_context.ts";
import type { Metadata } from "./codec.ts";
import type { CallContext, Serving } from "./context.ts";
import {
  type CallChange,
  checkList,
  compose,
  type Middleware,
  type MiddlewareCall,
} from "./middleware.ts";
import type { Method, Registry } from "./registry.ts";
import { isStream } from "./streams/source.ts";

/** What a server's middleware knows of a call. */
export interface IncomingCall extends MiddlewareCall {
  /** What its caller sent along. */
  readonly metadata: Metadata;
  /** What its handler gets: this very object, so a `WeakMap` can carry things from here to there. */
  readonly ctx: CallContext;
}

/** Middleware of a server. */
export type ServerMiddleware = Middleware<IncomingCall, CallChange>;

/** How far a call has come; shared by all that stand for it. */
interface Progress {
  /** Whether the handler has been called. */
  started: boolean;
  /** The stream that was returned last, and its context. */
  stream: unknown;
  scope: Scope | undefined;
}

/** Keeps the context of a result that is a stream; what passes it on changes nothing. */
function keep({ progress }: Incoming, result: unknown): unknown {
  if (result !== progress.stream && isStream(result)) {
    progress.stream = result;
    progress.scope = scopeOfNow();
  }
  return result;
}

/** A call on its way to its handler. */
class Incoming implements IncomingCall {
  readonly params: unknown;
  readonly ctx: Serving;
  readonly progress: Progress;

  constructor(params: unknown, ctx: Serving, progress: Progress) {
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
}

/**
 * `registry` with middleware around each handler.
 *
 * @throws {TypeError} If one of the list is no function.
 */
export function wrapAll(
  registry: Registry,
  list: readonly ServerMiddleware[],
): Registry {
  checkList(list);
  if (list.length === 0) return registry;
  const wrapped = [...registry.values()].map((method) => wrap(method, list));
  return new Map(wrapped.map((method) => [method.name, method]));
}

function wrap(
  { name, schema, order, run }: Method,
  list: readonly ServerMiddleware[],
): Method {
  const way = compose<Incoming, CallChange>(
    list as readonly Middleware<Incoming, CallChange>[],
    (call, change) =>
      "params" in change
        ? new Incoming(change.params, call.ctx, call.progress)
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
      return run(value, ctx);
    },
    keep,
  );
  const whole = async (call: Incoming): Promise<unknown> => {
    const { ctx, progress } = call;
    try {
      const result = await way(call);
      if (result === progress.stream) ctx.scope = progress.scope;
      return result;
    } catch (error) {
      throw progress.started ? error : new NotStarted(error);
    }
  };
  return {
    name,
    schema: undefined,
    order,
    run: (params, ctx) => {
      const progress = { started: false, stream: undefined, scope: undefined };
      // What a middleware enters for good is not for the calls behind this one.
      return outside(whole, new Incoming(params, ctx as Serving, progress));
    },
  };
}
