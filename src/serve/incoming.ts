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

import { invalid, NotStarted } from "./responder.ts";
import { isolated, type Scope, scopeOfNow } from "../base/async_context.ts";
import type { Metadata } from "../wire/codec.ts";
import type { CallContext, Serving } from "./incoming_call.ts";
import { RpcError } from "../base/errors.ts";
import {
  type CallChange,
  type CallEnding,
  checkList,
  compose,
  EndingCell,
  type Middleware,
  type MiddlewareCall,
} from "../types/middleware.ts";
import type { Method, Registry } from "./method_table.ts";
import { discard, isStream, type StreamValue } from "../base/pull_source.ts";

/** What a server's middleware knows of a call. */
export interface IncomingCall extends MiddlewareCall {
  /** What its caller sent along. */
  readonly metadata: Metadata;
  /** What its handler gets: this very object, so a `WeakMap` can carry things from here to there. */
  readonly ctx: CallContext;
}

/** Middleware of a server. */
export type ServerMiddleware = Middleware<IncomingCall, CallChange>;

/** A call that its middleware can ask how it ended. */
type Ended = Serving & { ending: EndingCell };

/** How far a call has come; shared by all that stand for it. */
class Progress {
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
      return progress.returned(await run(value, ctx));
    },
    keep,
  );
  const whole = async (call: Incoming): Promise<unknown> => {
    const { ctx, progress } = call;
    try {
      const result = await way(call);
      if (result === progress.stream) ctx.scope = progress.scope;
      progress.end(result);
      return result;
    } catch (error) {
      progress.end(undefined);
      throw progress.started ? error : new NotStarted(error);
    }
  };
  return {
    name,
    schema: undefined,
    order,
    run: (params, ctx) => {
      const progress = new Progress();
      (ctx as Ended).ending = new EndingCell();
      // What a middleware enters for good is not for the calls behind this one.
      return isolated(whole, new Incoming(params, ctx as Serving, progress));
    },
  };
}
