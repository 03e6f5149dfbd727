/**
 * Middleware around the calls that a client makes.
 *
 * A call with middleware is the promise of its outermost middleware, raced with
 * the call's signal and deadline. Each `next()` that reaches the innermost layer
 * sends an ordinary call; its handle answers every other question.
 *
 * Invariants:
 * - A call settles as it does without middleware: at once when its signal fires
 *   or its deadline passes, however long a middleware takes. Its outcome is the
 *   worst of all times it was sent.
 * - Params are serialized when the call is made: later changes to the object
 *   are not sent, unless a middleware passes other params.
 * - A call that has settled is not sent again: `next()` throws.
 * - The caller gets the stream that its middleware returned. Every other stream
 *   that the peer replied with is cancelled.
 *
 * @module
 */

import { AbortListeners } from "../base/abort_listeners.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { checkList, compose } from "../base/compose.ts";
import {
  annotateError,
  type Outcome,
  RpcError,
  worse,
} from "../base/errors.ts";
import { discard, isStream } from "../base/pull_source.ts";
import { type TimerEntry, TimerHeap } from "../base/timers.ts";
import { isInstanceOf } from "../base/user_code.ts";
import type {
  Caller,
  CallHandle,
  CallOptions,
  Metadata,
  ParentCall,
} from "../types/call.ts";
import {
  type CallEnding,
  CallEndingCell,
  type ClientMiddleware,
  type Middleware,
  type OutgoingCall,
  type OutgoingChange,
} from "../types/middleware.ts";
import { toRecord } from "../wire/metadata.ts";
import { snapshot, snapshotSize } from "../wire/values/payload.ts";
import { deadlineError } from "../call/errors.ts";
import { callOf } from "../call/handle.ts";
import { dueTime, isAbort, type SentOptions } from "../call/options.ts";
import type { MiddlewareSettings, MiddlewareStack } from "./service_client.ts";

/**
 * Makes the value of a client's `use` from middleware: functions that run around
 * every call. The first one is outermost: it sees a call first, and its result
 * last. Each may change params and metadata, send the call several times, or
 * return a result without sending it.
 *
 * A call ends at once when its signal fires or its deadline passes, however long
 * a middleware takes; its outcome is the worst of all times it was sent.
 *
 * @throws {TypeError} If one of them is not a function.
 *
 * @example Send a token with every call
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, clientMiddleware, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Who: { am: (_: null, ctx: CallContext) => ctx.metadata.get("token") ?? "" } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near, {
 *   use: clientMiddleware((call, next) => next({ metadata: { ...call.metadata, token: "t1" } })),
 * });
 * assertEquals(await client.call("Who.am", null), "t1");
 * await client.close();
 * await server.close();
 * ```
 *
 * @example Send a call again that certainly did not run
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, RpcError, Server } from "@sluice/rpc";
 * import { Client, clientMiddleware, type ClientMiddleware } from "@sluice/rpc/client";
 *
 * let busy = true;
 * const [near, far] = memoryPair();
 * const services = { add: ([a, b]: [number, number]) => a + b };
 * const server = new Server(services, {
 *   use: [(_call, next) => {
 *     if (!busy) return next();
 *     busy = false;
 *     throw new RpcError("busy", "try again");
 *   }],
 * });
 * server.accept(far);
 *
 * const retryOnce: ClientMiddleware = (_call, next) =>
 *   next().catch((error) => error.outcome === "refused" ? next() : Promise.reject(error));
 * const client = new Client<typeof services>(near, { use: clientMiddleware(retryOnce) });
 * assertEquals(await client.call("add", [1, 2]), 3);
 * await client.close();
 * await server.close();
 * ```
 */
export function clientMiddleware(...list: ClientMiddleware[]): MiddlewareStack {
  checkList(list);
  return {
    wrap: (caller, settings) =>
      list.length === 0 ? caller : new MiddlewareCaller(caller, list, settings),
  };
}

/** Makes the calls of one client through its middleware. */
class MiddlewareCaller implements Caller {
  readonly caller: Caller;
  readonly clock: Clock;
  readonly settings: MiddlewareSettings;
  readonly deadlines: TimerHeap;
  readonly signals = new AbortListeners<WrappedCall>({
    abort: (call, reason) => call.end(reason),
  });
  /** Runs all middleware, the first one outermost, and sends the call. */
  readonly run: (view: CallView) => Promise<unknown>;

  constructor(
    caller: Caller,
    list: readonly ClientMiddleware[],
    settings: MiddlewareSettings,
  ) {
    this.caller = caller;
    this.clock = settings.clock ?? systemClock;
    this.settings = settings;
    this.deadlines = new TimerHeap(this.clock);
    // Whether a call keeps the process alive is up to its connection; see `unref`.
    this.deadlines.hold(false);
    this.run = compose<CallView, OutgoingChange>(
      list as readonly Middleware<CallView, OutgoingChange>[],
      (view, change) => view.with(change),
      (view) => view.call.send(view),
    );
  }

  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    return this.go(method, params, options).reply;
  }

  go(method: string, params?: unknown, options: CallOptions = {}): CallHandle {
    return new WrappedCall(this, method, params, options);
  }
}

/** What a caller gets for a call. */
interface Settled {
  readonly failed: boolean;
  /** The result, or the error. */
  readonly value: unknown;
}

/** One call of a client with middleware, however often that sends it; also the handle of the call. */
class WrappedCall implements CallHandle, TimerEntry {
  readonly method: string;
  readonly client: MiddlewareCaller;
  /** The caller's options, without metadata and times. */
  options: SentOptions = {};
  readonly ending = new CallEndingCell();
  expiresAt = Infinity;
  heapIndex = -1;
  #size = 0;
  /** Undefined once the call has settled. */
  #params: unknown;
  /** The signals that abort the call. */
  readonly #signals: AbortSignal[] = [];
  /** One handle for each time that the middleware sent the call. */
  readonly #handles: CallHandle[] = [];
  /** The streams that the peer has replied with, and the handles they belong to. */
  #streams: Map<unknown, CallHandle> | undefined;
  /** Made when a middleware reads `signal`. */
  #controller: AbortController | undefined;
  /** Why the call was aborted, or that its deadline has passed. */
  #aborted: { readonly reason: unknown } | undefined;
  #settled: Settled | undefined;
  /** Resolves when the call has settled. */
  readonly #whenSettled = Promise.withResolvers<void>();
  #replyPromise: Promise<unknown> | undefined;
  #outcomePromise: Promise<Outcome> | undefined;
  #sentPromise: PromiseWithResolvers<boolean> | undefined;

  constructor(
    client: MiddlewareCaller,
    method: string,
    params: unknown,
    options: CallOptions,
  ) {
    this.client = client;
    this.method = method;
    this.#params = params;
    try {
      client.run(this.#begin(params, options)).then(
        (value) => this.#settle(false, value),
        (error) => this.#settle(true, error),
      );
    } catch (error) {
      this.#settle(
        true,
        isAbort(options, error) ? error : this.#annotate(error),
      );
    }
  }

  #begin(params: unknown, options: SentOptions): CallView {
    const { signal, ctx, priority, idempotent, transfer } = options;
    const { body, trailers, notification, calledAt } = options;
    this.options = {
      ...{ signal, ctx, priority, idempotent, transfer, body, trailers },
      ...{ notification, calledAt },
    };
    if (signal?.aborted) throw signal.reason;
    if (ctx?.signal.aborted) throw ctx.signal.reason;
    const { client } = this;
    this.expiresAt = dueTime(options, client.clock);
    const sent = snapshot(params, transfer === true, client.settings);
    this.#size = snapshotSize(sent);
    const metadata = toRecord(options.metadata ?? {});
    for (const each of [signal, ctx?.signal]) {
      if (each === undefined) continue;
      client.signals.add(each, this);
      this.#signals.push(each);
    }
    client.deadlines.add(this);
    return new CallView(this, params, sent, metadata);
  }

  /** The innermost layer: sends the call as it is sent without middleware. */
  send({ sent, metadata, remaining }: CallView): Promise<unknown> {
    if (this.#settled !== undefined) {
      const text = "the call has settled: its middleware cannot send it";
      const late = new RpcError("cancelled", text, { outcome: "not_sent" });
      const reason = this.#aborted
        ? this.#aborted.reason
        : this.#annotate(late);
      discard(sent, reason);
      discard(this.options.body, reason);
      throw reason;
    }
    // The signals are passed on: they abort the stream of a result, too.
    const handle = this.client.caller.go(this.method, sent, {
      ...this.options,
      timeout: remaining,
      metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
    });
    this.#handles.push(handle);
    if (this.#sentPromise !== undefined) this.#resolveOnSend(handle);
    // Serializing other params runs code of the user, which may abort the call.
    if (this.#aborted !== undefined) handle.abort(this.#aborted.reason);
    const { reply } = handle;
    reply.then((value) => this.#noteStream(value, handle), () => {});
    return reply;
  }

  /** Keeps a stream that the peer replied with, to cancel it if the caller does not get it. */
  #noteStream(value: unknown, handle: CallHandle): void {
    if (!isStream(value)) return;
    this.#streams ??= new Map();
    this.#streams.set(value, handle);
    // The middleware did not wait for it.
    if (this.#settled !== undefined) this.#cancelStreams(this.#settled);
  }

  /** Cancels the streams that the caller does not get. */
  #cancelStreams({ failed, value }: Settled): void {
    const streams = this.#streams ?? new Map<unknown, CallHandle>();
    // A stream that the middleware made may read from one of these.
    if (!failed && isStream(value) && !streams.has(value)) return;
    for (const [stream, handle] of streams) {
      if (failed || stream !== value) handle.abort();
    }
  }

  #settle(failed: boolean, value: unknown): void {
    if (this.#settled !== undefined) return;
    this.#settled = { failed, value };
    const { signals, deadlines } = this.client;
    for (const signal of this.#signals) signals.remove(signal, this);
    deadlines.remove(this);
    if (this.#handles.length === 0) {
      discard(this.#params, value);
      discard(this.options.body, value);
    }
    this.#params = undefined;
    this.#cancelStreams(this.#settled);
    this.#noteEnding(this.#settled);
    this.#whenSettled.resolve();
  }

  /** Resolves `ended`: now, or when the stream that the caller gets has ended. */
  #noteEnding({ failed, value }: Settled): void {
    const last = this.#handles.at(-1);
    const call = last && !failed && isStream(value) ? callOf(last) : undefined;
    const streams = call?.extra?.streams;
    const end = () => {
      const { items, failure } = streams?.reader ?? {};
      const error = failed ? value : failure?.error;
      this.ending.end({ items, error });
    };
    if (streams === undefined || call?.state !== "streaming") end();
    // The reader of the stream is notified first.
    else streams.closed = () => queueMicrotask(end);
  }

  /** Aborts the call, for the reason of its user or of a signal, or because its deadline has passed. */
  end(reason: unknown): void {
    if (this.#settled !== undefined) {
      // The stream that its caller got may still be open.
      this.#streams?.forEach((handle) => handle.abort(reason));
      return;
    }
    this.#aborted = { reason };
    // First, as the outcome depends on how far each of them got.
    for (const handle of this.#handles) handle.abort(reason);
    this.#settle(true, reason);
    this.#controller?.abort(reason);
  }

  onTimeout(): void {
    const { away } = this.client.caller;
    this.end(this.#annotate(deadlineError(this.outcome, away)));
  }

  #annotate(error: unknown): unknown {
    if (isInstanceOf(error, RpcError)) {
      annotateError(error, this.method, this.options.calledAt);
    }
    return error;
  }

  /** The signal that middleware sees. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** The metadata of the latest reply, also before the call has settled. */
  get replyMetadata(): Metadata | undefined {
    return this.#handles.at(-1)?.metadata;
  }

  // What its caller asks the handle.

  get id(): number | undefined {
    return this.#handles.at(-1)?.id;
  }

  get size(): number {
    return this.#handles.at(-1)?.size ?? this.#size;
  }

  get metadata(): Metadata | undefined {
    return this.#settled && this.replyMetadata;
  }

  get trailers(): Metadata | undefined {
    return this.#handles.at(-1)?.trailers;
  }

  get outcome(): Outcome {
    return this.#handles.reduce<Outcome>(
      (worst, { outcome }) => worse(worst, outcome),
      "not_sent",
    );
  }

  get reply(): Promise<unknown> {
    return this.#replyPromise ??= this.#whenSettled.promise.then(() => {
      const { failed, value } = this.#settled as Settled;
      if (failed) throw value;
      return value;
    });
  }

  get settled(): Promise<Outcome> {
    return this.#outcomePromise ??= this.#whenSettled.promise.then(async () => {
      await Promise.all(this.#handles.map(({ settled }) => settled));
      return this.outcome;
    });
  }

  get sent(): Promise<boolean> {
    if (this.#sentPromise === undefined) {
      this.#sentPromise = Promise.withResolvers();
      const { resolve } = this.#sentPromise;
      for (const handle of this.#handles) this.#resolveOnSend(handle);
      this.settled.then((outcome) => resolve(outcome !== "not_sent"));
    }
    return this.#sentPromise.promise;
  }

  #resolveOnSend(handle: CallHandle): void {
    handle.sent.then((sent) => {
      if (sent) this.#sentPromise?.resolve(true);
    });
  }

  abort(reason?: unknown): void {
    this.end(reason ?? new DOMException("The call was aborted", "AbortError"));
  }
}

/** A call as one middleware sees it: each layer can have other params and metadata. */
class CallView implements OutgoingCall {
  readonly call: WrappedCall;
  readonly params: unknown;
  /** The params as they are sent. */
  readonly sent: unknown;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    call: WrappedCall,
    params: unknown,
    sent: unknown,
    metadata: Readonly<Record<string, string>>,
  ) {
    this.call = call;
    this.params = params;
    this.sent = sent;
    this.metadata = metadata;
  }

  get method(): string {
    return this.call.method;
  }

  get signal(): AbortSignal {
    return this.call.signal;
  }

  get remaining(): number {
    const { expiresAt, client } = this.call;
    return Math.max(0, expiresAt - client.clock.now());
  }

  get replyMetadata(): Metadata | undefined {
    return this.call.replyMetadata;
  }

  get ended(): Promise<CallEnding> {
    return this.call.ending.promise;
  }

  get idempotent(): boolean {
    return this.call.options.idempotent === true;
  }

  get ctx(): ParentCall | undefined {
    return this.call.options.ctx;
  }

  with(change: OutgoingChange): CallView {
    const other = "params" in change;
    return new CallView(
      this.call,
      other ? change.params : this.params,
      other ? change.params : this.sent,
      change.metadata === undefined ? this.metadata : toRecord(change.metadata),
    );
  }
}
