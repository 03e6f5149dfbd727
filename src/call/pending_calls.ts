/**
 * The calls that this side makes, from `call` to settled.
 *
 * - A call is in exactly one place: it waits in the send queue, is in flight,
 *   or is done. Taking it out of its place is the only way to settle it, and
 *   the settler is the only place where a caller is notified.
 * - What a caller changes once the call is made, params or options, has no
 *   effect.
 *
 * @module
 */

import type { Tick } from "../base/clock.ts";
import {
  type ConnectionError,
  type Outcome,
  RpcError,
} from "../base/errors.ts";
import { isStream } from "../base/pull_source.ts";
import { references } from "../base/references.ts";
import type { TimerHeap } from "../base/timers.ts";
import type { CallHandle, CallOptions } from "../types/call.ts";
import type { Connection } from "../types/connection.ts";
import type { CallObserverHub } from "../types/observe.ts";
import type { OutgoingCallStats } from "../types/stats.ts";
import { CALL_CHARGE } from "../wire/connection_limits.ts";
import { toMetadata } from "../wire/metadata.ts";
import { GONE, type SnapshotSettings } from "../wire/values/payload.ts";
import { unserializable } from "../wire/values/to_json.ts";
import { CallAborter } from "./abort.ts";
import { Call, type CallExtras, sizeOf } from "./call.ts";
import { deadlineError } from "./errors.ts";
import { type CallOwner, Handle, promiseOf } from "./handle.ts";
import { InFlightCalls, type InFlightCallsContext } from "./in_flight.ts";
import type { LinkedCalls } from "./links.ts";
import {
  dueTime,
  isAbort,
  isUrgent,
  notePlace,
  type SentOptions,
  throwIfAborted,
} from "./options.ts";
import { ReplyHandler, type ReplyHandlerContext } from "./replies.ts";
import { SendQueue, type SendQueueContext } from "./send_queue.ts";
import { CallSettler } from "./settle.ts";

/** What the table needs of its connection. */
export interface PendingCallsContext
  extends SendQueueContext, InFlightCallsContext, ReplyHandlerContext {
  readonly deadlines: TimerHeap;
  readonly tick: Tick;
  /** Observes calls, if there are observers. */
  readonly observe: CallObserverHub | undefined;
  readonly connection: Connection;
  readonly setup: SnapshotSettings;
  /** Called when no call is waiting or in flight any more. */
  settled(): void;
}

/** The pending table of one connection. */
export class PendingCalls implements CallOwner, LinkedCalls {
  /** The calls that wait. */
  readonly queue: SendQueue;
  /** The calls that were sent and have no reply, abandoned ones included. */
  readonly inFlight: InFlightCalls;
  readonly replies: ReplyHandler;
  readonly settler: CallSettler;
  readonly #context: PendingCallsContext;
  readonly #aborter: CallAborter;

  constructor(context: PendingCallsContext, firstId: number) {
    this.#context = context;
    const inFlight = this.inFlight = new InFlightCalls(
      context,
      firstId,
      () => this.queue.sendWaiting(),
    );
    const settler = this.settler = new CallSettler(context.deadlines, {
      abort: (call, reason) => this.abort(call, reason),
      settled: () => {
        if (this.empty) context.settled();
      },
    });
    const queue = this.queue = new SendQueue(context, inFlight, settler);
    this.#aborter = new CallAborter(context, queue, inFlight, settler);
    this.replies = new ReplyHandler(context, inFlight, settler);
  }

  get numbers(): OutgoingCallStats {
    const { queue, inFlight: { window }, settler, replies } = this;
    return {
      inFlight: window.calls,
      inFlightBytes: window.bytes,
      peerWindowCalls: window.granted.windowCalls,
      peerWindowBytes: window.granted.windowBytes,
      queued: queue.length,
      queuedBytes: queue.bytes,
      settled: { ...settler.counts },
      lateReplies: replies.late,
    };
  }

  /** What the calls without a reply take: the bytes of those that wait, and a charge each. */
  get heldBytes(): number {
    const { queue, inFlight } = this;
    return queue.bytes + CALL_CHARGE * (queue.length + inFlight.size);
  }

  /** Lists the calls that have not ended: those in flight in the order in which they were sent, then those that wait. */
  all(): Call[] {
    const waiting = this.queue.all().map(({ call }) => call);
    return [...this.inFlight.all(), ...waiting];
  }

  /** Whether no call is waiting or in flight. */
  get empty(): boolean {
    return this.queue.length === 0 && this.inFlight.size === 0;
  }

  call(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    const call = new Call(method);
    const promise = promiseOf(call);
    this.#observe(call);
    this.submit(call, params, options);
    return promise;
  }

  go(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): CallHandle {
    const call = new Call(method);
    this.#observe(call);
    this.submit(call, params, options);
    return new Handle(call, this);
  }

  #observe(call: Call): void {
    const { observe, clock, connection } = this.#context;
    if (observe?.active) observe.onOutgoing(call, clock, () => connection);
  }

  /** Sends a call or lets it wait. Its caller is notified by the call itself, also where it is not accepted. */
  submit(
    call: Call,
    params: unknown,
    options: SentOptions | undefined,
  ): void {
    const { codec, tick } = this.#context;
    // A call that another connection had sent before keeps its age.
    if (call.startedAt === 0) call.startedAt = tick.now();
    try {
      if (typeof call.method !== "string") throw noMethod(call.method);
      if (options !== undefined) notePlace(call, options);
      const streamed = isStream(params);
      if (streamed || options?.body !== undefined) {
        this.#offer(call, params, options);
      }
      if (options !== undefined) this.#apply(call, options);
      // Runs user code (toJSON, a serializer), which may abort the call or
      // close the connection: so those are checked afterwards.
      if (streamed) codec.streams?.prepare();
      else this.#prepare(call, params, options?.transfer === true);
      if (options?.notification) codec.markNotification?.();
      const { extra } = call;
      call.size = sizeOf(codec, call);
      if (extra === undefined) this.queue.enter(call, false);
      else this.#enter(call, extra);
    } catch (error) {
      // Drops what is prepared and will not be written.
      codec.prepare(undefined, false);
      if (!isAbort(options, error)) call.annotate(error);
      this.settler.settle(call, "not_sent", true, error);
    }
  }

  #prepare(call: Call, params: unknown, transfer: boolean): void {
    const { met } = references;
    this.#context.codec.prepare(params, transfer, call.method, "params");
    if (references.met !== met) references.link?.(call, this, params);
  }

  /** Watches what may end the call before its reply, and sends it. */
  #enter(call: Call, extra: CallExtras): void {
    const size = extra.links?.size;
    call.size += size ?? 0;
    throwIfAborted(extra);
    // Throws if a signal is none, and then nothing is sent.
    this.settler.watch(call, extra);
    this.queue.enter(call, size === 0);
  }

  tableOf(): object {
    return this;
  }

  /** For links. */
  get context(): PendingCallsContext {
    return this.#context;
  }

  /** The params or the body are a stream, which belongs to this call from now on. */
  #offer(
    call: Call,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    const streams = this.replies.streamsFor(call);
    if (streams === undefined) {
      const outcome = "not_sent";
      throw new RpcError("invalid_argument", NO_STREAM_SUPPORT, { outcome });
    }
    streams.setParams(params, options);
    call.extras().streams = streams;
    streams.checkFit();
  }

  /** Reads the options that are there. */
  #apply(call: Call, options: CallOptions): void {
    const { signal, ctx, metadata } = options;
    const extra = call.extras();
    extra.expiresAt = dueTime(options, this.#context.clock);
    extra.signal = signal;
    extra.inherited = ctx?.signal;
    extra.onTimeout = () =>
      this.#aborter.abandon(
        call,
        (outcome) => call.annotate(deadlineError(outcome)),
      );
    extra.metadata = metadata && toMetadata(metadata);
    extra.urgent = isUrgent(options);
    // Aborted already: nothing is even encoded.
    throwIfAborted(extra);
  }

  /** The batch with request `id` is flushed without the bytes that were its params: the call was not sent. */
  spoiled(id: number): void {
    const call = this.inFlight.spoil(id);
    if (call === undefined) return;
    // From here on nothing else ends it.
    const { state } = call;
    call.state = "abandoned";
    queueMicrotask(() => {
      const error = unserializable(`params: ${GONE}`);
      if (state === "sent") this.settler.settle(call, "not_sent", true, error);
      else this.settler.finish(call, "not_sent");
    });
  }

  // Abort and deadline.

  abort(call: Call, reason: unknown): void {
    this.#aborter.abandon(call, () => reason);
  }

  flushed(call: Call): boolean {
    return this.inFlight.flushed(call);
  }

  resolveOnFlush(call: Call): void {
    const waits = call.state === "sent" || call.state === "abandoned";
    if (waits) this.inFlight.resolveOnFlush(call);
  }

  // How a connection ends.

  /** The peer serves no call that was sent after the one with the count `last`: those calls are settled, the others continue. */
  goaway(last: number, reason: ConnectionError): void {
    // No REQUEST follows a GOAWAY, not even one that its id would cover.
    const kept = Math.min(last, this.inFlight.lastFlushed);
    this.#failAfter(kept, "refused", reason, false);
  }

  /**
   * The connection is over: every call is settled with its true outcome. With
   * `cancel` the peer is notified, so that it does not work for nobody.
   */
  end(reason: ConnectionError, cancel = false): void {
    this.#failAfter(-Infinity, "unknown", reason, cancel);
  }

  /** Settles the calls that wait, and those sent after `last`: `not_sent` if the frame could be taken back, else `outcome`. */
  #failAfter(
    last: number,
    outcome: Outcome,
    reason: ConnectionError,
    cancel: boolean,
  ): void {
    this.queue.failOnConnectionLoss(reason);
    for (const call of this.inFlight.after(last)) {
      // User code that ran when another call was settled may have ended it.
      if (this.inFlight.get(call.seq >>> 0) !== call) continue;
      let known: Outcome = "not_sent";
      if (!this.inFlight.retract(call)) {
        known = outcome;
        // The peer knows already that an abandoned call is.
        if (cancel && call.state !== "abandoned") {
          this.#aborter.sendCancel(call);
        }
        this.inFlight.drop(call);
      }
      this.settler.failOnConnectionLoss(call, known, reason);
    }
  }
}

const NO_STREAM_SUPPORT =
  "pass `streams: streams()` to the client to send a stream";

function noMethod(method: unknown): TypeError {
  return new TypeError(
    `Cannot call: a method's name is a string, received ${typeof method}`,
  );
}
