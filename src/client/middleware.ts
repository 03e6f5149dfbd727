/**
 * Middleware around the calls a client makes.
 *
 * Invariants owned here:
 * - Middleware stands around calls of all kinds, and a call looks to its caller
 *   as it does without: it ends at once when its signal fires or its time is
 *   up, however long a middleware takes, and tells its outcome.
 * - Params are encoded when the call is made: later changes to the object do
 *   not show, unless a middleware gives other params.
 * - A call given up goes no further: the way on is closed to its middleware.
 *
 * @module
 */

import { Call } from "../call/call.ts";
import { callOf, type CallOwner, Handle } from "../call/handle.ts";
import type { CallHandle } from "../types/call.ts";
import type { MiddlewareSettings, MiddlewareStack } from "./service_client.ts";
import type {
  Caller,
  CallOptions,
  Metadata,
  ParentCall,
} from "../types/call.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { TimerHeap } from "../base/timers.ts";
import { type Outcome, RpcError, worse } from "../base/errors.ts";
import { CallSettler } from "../call/settle.ts";
import {
  type CallEnding,
  CallEndingCell,
  type ClientMiddleware,
  type Middleware,
  type OutgoingCall,
  type OutgoingChange,
} from "../types/middleware.ts";
import { checkList, compose } from "../base/compose.ts";
import {
  dueTime,
  isAbort,
  notePlace,
  type SentOptions,
} from "../call/options.ts";
import { toRecord } from "../wire/metadata.ts";
import { snapshot, snapshotSize } from "../wire/payload.ts";
import { deadlineError } from "../call/errors.ts";
import type { OutgoingStreams } from "../streams/contract.ts";
import { discard, isStream } from "../base/pull_source.ts";

/**
 * Middleware for a client's `use`, the first one outermost. (A function, so
 * that a program whose clients use none does not carry the code for it.)
 *
 * @throws {TypeError} If one of them is no function.
 *
 * @example A token with every call
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, clientMiddleware, Server } from "@sluice/rpc";
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
 */
export function clientMiddleware(...list: ClientMiddleware[]): MiddlewareStack {
  checkList(list);
  return {
    wrap: (caller, settings) =>
      list.length === 0 ? caller : new MiddlewareCaller(caller, list, settings),
  };
}

/** One call of the caller's, however often its middleware sends it. */
class MiddlewareRun extends Call {
  options: SentOptions = {};
  deadline = Infinity;
  /** Fires when the call is given up; made when a middleware asks. */
  controller: AbortController | undefined = undefined;
  /** Why it was given up. */
  end: { readonly reason: unknown } | undefined = undefined;
  /** Every sending of it. */
  readonly sendings: CallHandle[] = [];
  readonly ending = new CallEndingCell();
  /** What its caller gave; its own to cancel if it is a stream and never sent. */
  params: unknown = undefined;

  /** Whether its caller has been told. */
  get settled(): boolean {
    return this.state === "abandoned" || this.state === "done";
  }

  /** What is known of all its sendings. */
  get whole(): Outcome {
    return this.sendings.reduce<Outcome>(
      (worst, { outcome }) => worse(worst, outcome),
      "not_sent",
    );
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.end !== undefined) this.controller.abort(this.end.reason);
    }
    return this.controller.signal;
  }
}

/** A call as one middleware sees it. */
class CallView implements OutgoingCall {
  readonly params: unknown;
  readonly metadata: Readonly<Record<string, string>>;
  /** What is sent for the params. */
  readonly sent: unknown;
  readonly call: MiddlewareRun;
  readonly #clock: Clock;

  constructor(
    call: MiddlewareRun,
    params: unknown,
    sent: unknown,
    metadata: Readonly<Record<string, string>>,
    clock: Clock,
  ) {
    this.call = call;
    this.params = params;
    this.sent = sent;
    this.metadata = metadata;
    this.#clock = clock;
  }

  get method(): string {
    return this.call.method;
  }

  get signal(): AbortSignal {
    return this.call.signal;
  }

  get remaining(): number {
    const { deadline: due } = this.call;
    return due === Infinity ? due : Math.max(0, due - this.#clock.now());
  }

  get replyMetadata(): Metadata | undefined {
    return this.call.sendings.at(-1)?.metadata;
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
      this.#clock,
    );
  }
}

/** Its latest sending, if its result is a stream that has not ended. */
function streamOf({ sendings }: MiddlewareRun): Call | undefined {
  const last = sendings.at(-1);
  const call = last && callOf(last);
  return call?.state === "streaming" ? call : undefined;
}

/** How the stream of a result ended; asked when what ended it has told its reader. */
function endingOf({ reader: streamReader }: OutgoingStreams): CallEnding {
  return { items: streamReader?.items, error: streamReader?.failure?.error };
}

/** Ends the streams of results that the caller does not get; a stream of another making may be made of one of them. */
function dropStreams({ sendings }: MiddlewareRun, kept: unknown): void {
  const streams = sendings.map((sending) => resultOf(sending));
  if (isStream(kept) && !streams.includes(kept)) return;
  for (const [i, stream] of streams.entries()) {
    if (stream !== undefined && stream !== kept) sendings[i].abort();
  }
}

/** The stream that answered a sending and has not ended. */
function resultOf(sending: CallHandle): unknown {
  const call = callOf(sending);
  return call.state === "streaming"
    ? call.extra?.streams?.reader?.readable
    : undefined;
}

/** Makes calls by way of middleware. */
class MiddlewareCaller implements Caller, CallOwner {
  readonly #caller: Caller;
  readonly #clock: Clock;
  readonly #settings: MiddlewareSettings;
  readonly #settler: CallSettler;
  readonly #way: (view: CallView) => Promise<unknown>;

  constructor(
    caller: Caller,
    list: readonly ClientMiddleware[],
    settings: MiddlewareSettings,
  ) {
    this.#caller = caller;
    this.#clock = settings.clock ?? systemClock;
    this.#settings = settings;
    this.#settler = new CallSettler(new TimerHeap(this.#clock), {
      abort: (call, reason) => this.abort(call, reason),
      settled: () => {},
    });
    this.#way = compose<CallView, OutgoingChange>(
      list as readonly Middleware<CallView, OutgoingChange>[],
      (view, change) => view.with(change),
      (view) => this.#send(view),
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
    const call = new MiddlewareRun(method);
    call.params = params;
    notePlace(call, options);
    try {
      const view = this.#begin(call, params, options);
      this.#way(view).then(
        (value) => this.#settle(call, false, value),
        (error) => this.#settle(call, true, error),
      );
    } catch (error) {
      if (call.extra !== undefined) this.#settler.unwatch(call, call.extra);
      if (!isAbort(options, error)) call.blame(error);
      call.settle("not_sent", true, error);
      call.finish("not_sent");
      discard(params, error);
    }
    return new Handle(call, this);
  }

  #begin(call: MiddlewareRun, params: unknown, options: CallOptions): CallView {
    const { signal, ctx, metadata } = options;
    if (signal?.aborted) throw signal.reason;
    if (ctx?.signal.aborted) throw ctx.signal.reason;
    call.options = { ...options };
    call.deadline = dueTime(options, this.#clock);
    const transfer = options.transfer === true;
    const sent = snapshot(params, transfer, this.#settings);
    call.size = snapshotSize(sent);
    const extra = call.extras();
    extra.expiresAt = call.deadline;
    extra.signal = signal;
    extra.inherited = ctx?.signal;
    extra.onTimeout = () =>
      this.abort(
        call,
        call.blame(deadlineError(call.whole, this.#caller.away)),
      );
    this.#settler.watch(call, extra);
    const record = metadata === undefined ? {} : toRecord(metadata);
    return new CallView(call, params, sent, record, this.#clock);
  }

  /** The innermost: what the call is without middleware. */
  #send({ call, sent, metadata, remaining }: CallView): Promise<unknown> {
    if (call.settled) {
      const text = "the call has ended: its middleware may not go on";
      const ended = new RpcError("cancelled", text, { outcome: "not_sent" });
      const reason = call.end === undefined
        ? call.blame(ended)
        : call.end.reason;
      discard(sent, reason);
      throw reason;
    }
    const { idempotent, transfer, notification, calledAt } = call.options;
    const timeout = remaining === Infinity ? undefined : remaining;
    const options: SentOptions = {
      idempotent,
      transfer,
      timeout,
      notification,
      calledAt,
    };
    if (Object.keys(metadata).length > 0) options.metadata = metadata;
    const handle = this.#caller.go(call.method, sent, options);
    call.sendings.push(handle);
    call.state = "sent";
    call.seq = handle.id ?? -1;
    if (call.extra?.sent !== undefined) this.#watchSent(call, handle);
    return handle.reply;
  }

  /** Its middleware is done. */
  #settle(call: MiddlewareRun, failed: boolean, result: unknown): void {
    if (!call.settled) this.#tell(call, failed, result);
  }

  #tell(call: MiddlewareRun, failed: boolean, result: unknown): void {
    const extra = call.extras();
    const unwatch = () => this.#settler.unwatch(call, extra);
    const streams = streamOf(call)?.extra?.streams;
    // What ends the call ends its stream, too.
    if (streams === undefined || call.end !== undefined) unwatch();
    if (streams === undefined) {
      const error = failed ? result : undefined;
      call.ending.end({ items: undefined, error });
    } else {
      streams.closed = () => {
        unwatch();
        queueMicrotask(() => call.ending.end(endingOf(streams)));
      };
    }
    if (call.sendings.length === 0) discard(call.params, result);
    call.params = undefined;
    const last = call.sendings.at(-1);
    extra.replyMetadata = last && callOf(last).extra?.replyMetadata;
    call.settle(call.whole, failed, result);
    call.state = "abandoned";
    const kept = failed ? undefined : result;
    dropStreams(call, kept);
    const ends = call.sendings.map(({ settled }) => settled);
    Promise.all(ends).then(() => {
      // One that its middleware did not wait for may be answered by a stream now.
      dropStreams(call, kept);
      call.finish(call.whole);
    });
  }

  // What a handle asks.

  abort(given: Call, reason: unknown): void {
    const call = given as MiddlewareRun;
    if (call.settled) {
      // Its stream may still be under way.
      if (streamOf(call) !== undefined) call.sendings.at(-1)?.abort(reason);
      return;
    }
    call.end = { reason };
    // Its sendings first: what they are is what is told.
    for (const handle of call.sendings) handle.abort(reason);
    this.#tell(call, true, reason);
    call.controller?.abort(reason);
  }

  flushed(call: Call): boolean {
    return (call as MiddlewareRun).whole !== "not_sent";
  }

  resolveOnFlush(given: Call): void {
    const call = given as MiddlewareRun;
    for (const handle of call.sendings) this.#watchSent(call, handle);
  }

  #watchSent(call: MiddlewareRun, handle: CallHandle): void {
    handle.sent.then((sent) => {
      if (sent) call.extra?.sent?.resolve(true);
    });
  }
}
