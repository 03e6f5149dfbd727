/**
 * Middleware around the handlers of a server, or of a client's services.
 *
 * - Methods are wrapped once, when the services are read. Without middleware
 *   nothing is wrapped, and a call costs nothing more.
 * - A stream that the handler returned and that no middleware passes on is
 *   cancelled.
 *
 * @module
 */

import { isolated, type Scope, scopeOfNow } from "../base/async_context.ts";
import { checkList, compose } from "../base/compose.ts";
import { RpcError } from "../base/errors.ts";
import { discard, isStream, type StreamValue } from "../base/pull_source.ts";
import type { Metadata } from "../types/call.ts";
import {
  type CallChange,
  type CallEnding,
  CallEndingCell,
  type IncomingCall,
  type Middleware,
  type ServerMiddleware,
} from "../types/middleware.ts";
import {
  type MethodEntry,
  type MethodTable,
  validationError,
} from "./method.ts";
import { PreHandlerError } from "./responder.ts";
import type { ServerCall } from "./server_call.ts";

/**
 * Puts middleware around each method of a table, the first one outermost.
 *
 * @throws {TypeError} If one of them is not a function.
 */
export function withMiddleware(
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
  const throughAll = compose<IncomingCallView, CallChange>(
    list as readonly Middleware<IncomingCallView, CallChange>[],
    (call, change) =>
      "params" in change
        ? new IncomingCallView(change.params, call.ctx, call.progress)
        : call,
    async ({ params, ctx, progress }) => {
      let value = params;
      if (schema !== undefined) {
        const result = await schema["~standard"].validate(params);
        if (result.issues !== undefined) throw validationError(result.issues);
        value = result.value;
      }
      ctx.signal.throwIfAborted();
      progress.started = true;
      return progress.returned(await run(value, ctx));
    },
    noteScope,
  );
  const handle = async (call: IncomingCallView): Promise<unknown> => {
    const { ctx, progress } = call;
    try {
      const result = await throughAll(call);
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
    // The innermost step validates, behind all middleware.
    schema: undefined,
    order,
    run: (params, ctx) => {
      const progress = new HandlerProgress();
      (ctx as CallWithEnding).ending = new CallEndingCell();
      // A context that a middleware enters for good must not reach later calls.
      return isolated(
        handle,
        new IncomingCallView(params, ctx as ServerCall, progress),
      );
    },
  };
}

/** A call whose middleware can ask how it ended. */
type CallWithEnding = ServerCall & { ending: CallEndingCell };

/** A call as a middleware sees it. One that changes the params makes another view for the next. */
class IncomingCallView implements IncomingCall {
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
    return (this.ctx as CallWithEnding).ending.promise;
  }
}

/** How far a call has come; all of its views share it. */
class HandlerProgress {
  /** Whether the handler was called. */
  started = false;
  /** The stream that a middleware or the handler returned last, and the async context in which it did. */
  stream: unknown = undefined;
  scope: Scope | undefined = undefined;
  /** The streams that the handler has returned: more than one if a middleware calls it again. */
  #streams: StreamValue[] | undefined;
  #over = false;

  /** The handler has returned. A stream that comes after the end is cancelled. */
  returned(result: unknown): unknown {
    if (!isStream(result)) return result;
    if (this.#over) discard(result, droppedError());
    else (this.#streams ??= []).push(result);
    return result;
  }

  /** The call ends with `result`: cancels the other streams of the handler; unless the result is a stream of a middleware's own, which may read them. */
  end(result: unknown): void {
    this.#over = true;
    const streams = this.#streams;
    if (streams === undefined) return;
    if (isStream(result) && !streams.includes(result)) return;
    for (const stream of streams) {
      if (stream !== result) discard(stream, droppedError());
    }
  }
}

function droppedError(): RpcError {
  return new RpcError("cancelled", "the call's middleware dropped the stream");
}

/** Notes the async context of a result that is a new stream. */
function noteScope({ progress }: IncomingCallView, result: unknown): unknown {
  if (result !== progress.stream && isStream(result)) {
    progress.stream = result;
    progress.scope = scopeOfNow();
  }
  return result;
}
