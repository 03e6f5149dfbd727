/**
 * The calls this end made, from `call` to settled.
 *
 * Invariants owned here:
 * - A call is in exactly one place: waiting at the gate, sent in the table,
 *   or done. Taking it out of its place is the only way to settle it, and
 *   the ledger the only place where a caller is told.
 * - What a call's user changes once it is made, params or options, does not
 *   show.
 *
 * @module
 */

import { CALL_CHARGE } from "../wire/limits.ts";
import { Call } from "./call.ts";
import { type CallOwner, Handle, promiseOf } from "./handle.ts";
import type { CallHandle } from "../types/call.ts";
import type { PeerHello } from "../types/connection.ts";
import type { Connection } from "../types/connection.ts";
import type { OutgoingCallStats } from "../types/stats.ts";
import type { TimerHeap } from "../base/timers.ts";
import {
  type ConnectionError,
  type Outcome,
  RpcError,
} from "../base/errors.ts";
import { CallSettler } from "./settle.ts";
import type { CallObserverHub } from "../types/observe.ts";
import { dueTime, isAbort, notePlace, type SentOptions } from "./options.ts";
import { toMetadata } from "../wire/metadata.ts";
import type { CallOptions } from "../types/call.ts";
import { deadlineError } from "./errors.ts";
import { ReplyHandler, type ReplyHandlerContext } from "./replies.ts";
import {
  SendQueue,
  type SendQueueContext,
  throwIfAborted,
} from "./send_queue.ts";
import { InFlightCalls } from "./in_flight.ts";
import { isStream, type StreamValue } from "../base/pull_source.ts";
import type { Tick } from "../base/clock.ts";
import { GONE } from "../wire/payload.ts";
import { unserializable } from "../wire/to_json.ts";

/** What the table needs of its connection. */
export interface PendingCallsContext
  extends SendQueueContext, ReplyHandlerContext {
  readonly deadlines: TimerHeap;
  readonly tick: Tick;
  /** Tells somebody of calls, if anybody wants to know. */
  readonly observe: CallObserverHub | undefined;
  readonly connection: Connection;
  /** Called when nothing is waiting or sent any more. */
  emptied(): void;
}

/** The pending table of one connection. */
export class PendingCalls implements CallOwner {
  /** Takes what the peer answers. */
  readonly replies: ReplyHandler;
  readonly #context: PendingCallsContext;
  readonly #gate: SendQueue;
  readonly #sent: InFlightCalls;
  readonly #settler: CallSettler;
  /** It is over, and the peer is told of each call that it has: an abandoned one it has been told of. */
  #cancels = false;

  constructor(context: PendingCallsContext, firstId: number) {
    this.#context = context;
    this.#sent = new InFlightCalls(context.codec, context.sendBuffer, firstId);
    this.#settler = new CallSettler(context.deadlines, {
      abort: (call, reason) => this.abort(call, reason),
      settled: () => {
        if (this.empty) context.emptied();
      },
    });
    this.#gate = new SendQueue(context, this.#sent, this.#settler);
    this.replies = new ReplyHandler(context, this.#sent, this.#settler);
  }

  /** What was called, in numbers. */
  get numbers(): OutgoingCallStats {
    const { calls: inFlight, bytes: inFlightBytes } = this.#sent.window;
    const { length: queued, bytes: queuedBytes } = this.#gate;
    const settled = { ...this.#settler.counts };
    const { late: lateReplies } = this.replies;
    const counts = { inFlight, inFlightBytes, queued, queuedBytes };
    return { ...counts, settled, lateReplies };
  }

  /** Calls in the window, taken-back ones in the batch included. */
  get inFlight(): number {
    return this.#sent.window.calls;
  }

  /** The count of the latest call sent. */
  get lastSent(): number {
    return this.#sent.last;
  }

  /** What the calls that are not answered take: the bytes of those that wait, and a charge each. */
  get heldBytes(): number {
    const { length, bytes } = this.#gate;
    return bytes + CALL_CHARGE * (length + this.#sent.size);
  }

  /** Listeners on abort signals. */
  get listeners(): number {
    return this.#settler.listeners;
  }

  /** Every call that has not ended: those sent in that order, then those that wait. */
  all(): Call[] {
    return [...this.#sent.all(), ...this.#gate.all()];
  }

  /** Whether nothing is waiting, sent or abandoned. */
  get empty(): boolean {
    return this.#gate.length === 0 && this.#sent.size === 0;
  }

  /** What the peer's HELLO says; undefined before it is read. */
  get peer(): PeerHello | undefined {
    return this.#sent.window.helloReceived;
  }

  /** What the peer accepts as a message body, in bytes. */
  get maxMessage(): number {
    return this.#sent.window.granted.maxMessage;
  }

  /** How many calls the window has room for; negative by those that wait for it already. */
  get desiredSize(): number {
    return this.#gate.desiredSize;
  }

  /** Resolves when the window has room; rejects once no call is taken any more. */
  get ready(): Promise<void> {
    return this.#gate.ready;
  }

  call(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    const call = new Call(method);
    const promise = promiseOf(call);
    this.#observe(call);
    this.#begin(call, params, options);
    return promise;
  }

  go(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): CallHandle {
    const call = new Call(method);
    this.#observe(call);
    this.#begin(call, params, options);
    return new Handle(call, this);
  }

  /** As `call`, for a call that was made elsewhere, by somebody who hears of its end from the call itself. */
  submit(
    call: Call,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    this.#begin(call, params, options);
  }

  #observe(call: Call): void {
    const { observe } = this.#context;
    if (observe === undefined || !observe.active) return;
    const { clock, connection } = this.#context;
    observe.onOutgoing(call, clock, () => connection);
  }

  #begin(
    call: Call,
    params: unknown,
    options: SentOptions | undefined,
  ): void {
    const { codec, tick } = this.#context;
    // One that was sent before, by another connection, is as old as it is.
    if (call.startedAt === 0) call.startedAt = tick.now();
    try {
      if (typeof call.method !== "string") throw noMethod(call.method);
      if (options !== undefined) notePlace(call, options);
      const streamed = isStream(params);
      if (streamed) this.#offer(call, params);
      if (options !== undefined) this.#apply(call, options);
      // Runs user code (toJSON, a serializer), which may abort the call or
      // close the connection: so the gate looks at what they decide afterwards.
      if (streamed) codec.streams?.prepare();
      else {
        const transfer = options?.transfer === true;
        codec.prepare(params, transfer, call.method, "params");
      }
      if (options?.notification) codec.markNotification?.();
      const { extra } = call;
      const timed = extra !== undefined && extra.expiresAt !== Infinity;
      call.size = codec.requestSize(call.method, timed, extra?.metadata);
      if (extra !== undefined) {
        // First: a signal that is none throws, and then nothing is sent.
        throwIfAborted(extra);
        this.#settler.watch(call, extra);
      }
      this.#gate.enter(call);
    } catch (error) {
      // Lets go of what is prepared and will not be written.
      codec.prepare(undefined, false);
      if (!isAbort(options, error)) call.blame(error);
      this.#settler.settle(call, "not_sent", true, error);
    }
  }

  /** The params are a stream: it is this call's from now on. */
  #offer(call: Call, params: StreamValue): void {
    const table = this.#context.streams();
    if (table === undefined) {
      throw new RpcError("invalid_argument", NO_STREAM_SUPPORT, {
        outcome: "not_sent",
      });
    }
    const streams = table.outgoing(
      call,
      () => this.replies.streamEnded(call),
    );
    try {
      streams.setParams(params);
    } catch (cause) {
      const text = "the params are a stream that is in use already";
      const outcome = "not_sent";
      throw new RpcError("invalid_argument", text, { outcome, cause });
    }
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
      this.#abandon(call, (outcome) => call.blame(deadlineError(outcome)));
    extra.metadata = metadata && toMetadata(metadata);
    // Aborted already: nothing is even encoded.
    throwIfAborted(extra);
  }

  /** Sends what waits and now fits. */
  flushQueue(): void {
    this.#gate.flushQueue();
  }

  /** A batch has gone. */
  onFlush(): void {
    this.#sent.onFlush();
  }

  /** No batch will go any more. */
  batchLost(): void {
    this.#sent.freeRetracted();
  }

  /** Request `id` is handed over without the bytes that were its params: it has not been sent. */
  spoiled(id: number): void {
    const call = this.#sent.spoil(id);
    if (call === undefined) return;
    // From here on nothing else ends it.
    const { state } = call;
    call.state = "abandoned";
    queueMicrotask(() => {
      const error = unserializable(`params: ${GONE}`);
      if (state === "sent") this.#settler.settle(call, "not_sent", true, error);
      else this.#settler.finish(call, "not_sent");
    });
  }

  // Abort and deadline.

  abort(call: Call, reason: unknown): void {
    this.#abandon(call, () => reason);
  }

  flushed(call: Call): boolean {
    return this.#sent.handedOver(call);
  }

  resolveOnFlush(call: Call): void {
    const waits = call.state === "sent" || call.state === "abandoned";
    if (waits) this.#sent.awaitHandOver(call);
  }

  /** Tells the caller now, and the peer where it may know of the call. */
  #abandon(call: Call, reason: (outcome: Outcome) => unknown): void {
    switch (call.state) {
      case "waiting":
        this.#gate.remove(call);
        this.#settler.settle(call, "not_sent", true, reason("not_sent"));
        return;
      case "sent":
        if (this.#sent.retract(call)) {
          this.#settler.settle(call, "not_sent", true, reason("not_sent"));
        } else this.#cancel(call, reason("unknown"));
        return;
      case "streaming":
        this.#abandonStream(call, reason("executed"));
        return;
      case "abandoned":
      case "done":
        return;
    }
  }

  #cancel(call: Call, reason: unknown): void {
    const { codec, sendBuffer } = this.#context;
    const { cancel } = codec.features;
    call.state = "abandoned";
    if (call.extra !== undefined) this.#settler.unwatch(call, call.extra);
    if (cancel !== "none") codec.cancel(sendBuffer, call.seq >>> 0);
    call.settle("unknown", true, reason);
    if (cancel === "silent") {
      this.#sent.release(call);
      this.#settler.finish(call, "unknown");
    }
    call.extra?.streams?.release(reason);
  }

  /** Fails the stream that the caller has. The call keeps its place until the peer has ended it. */
  #abandonStream(call: Call, reason: unknown): void {
    const { codec, sendBuffer } = this.#context;
    const { extra, seq } = call;
    call.state = "abandoned";
    codec.cancel(sendBuffer, seq >>> 0);
    if (extra === undefined) return;
    this.#settler.unwatch(call, extra);
    extra.streams?.release(reason);
  }

  // Openings and endings.

  /** The peer has said what it grants. Calls that can never fit are settled. */
  onHello(hello: PeerHello): void {
    this.#gate.onHello(hello);
  }

  /** Takes no new call from now on, and says why. The first reason stays. */
  refuseNew(reason: ConnectionError): void {
    this.#gate.refuseNew(reason);
  }

  /** The 53-bit count that an id of a GOAWAY stands for; before all others if it serves none. */
  widen(lastId: number | undefined): number {
    return lastId === undefined ? -Infinity : this.#sent.widen(lastId);
  }

  /** The peer serves nothing after the call with the count `last`: those calls are settled, the others go on. */
  goaway(last: number, reason: ConnectionError): void {
    this.#loseAbove(last, "refused", reason);
  }

  /**
   * It is over: whatever is left is settled with its true outcome. With
   * `cancel` the peer is told, so that it does not work for nobody.
   */
  end(reason: ConnectionError, cancel = false): void {
    this.#cancels = cancel && this.#context.codec.features.cancel !== "none";
    this.#loseAbove(-Infinity, "unknown", reason);
  }

  /** Settles what waits, and what was sent after `last`: `not_sent` where its frame could be taken back, else `outcome`. */
  #loseAbove(last: number, outcome: Outcome, reason: ConnectionError): void {
    this.#gate.failOnConnectionLoss(reason);
    for (const call of this.#sent.after(last)) {
      if (this.#sent.retract(call)) {
        this.#settler.failOnConnectionLoss(call, "not_sent", reason);
      } else {
        if (this.#cancels && call.state !== "abandoned") {
          this.#context.codec.cancel(this.#context.sendBuffer, call.seq >>> 0);
        }
        this.#sent.drop(call);
        this.#settler.failOnConnectionLoss(call, outcome, reason);
      }
    }
  }
}

const NO_STREAM_SUPPORT =
  "the params are a stream; pass `streams: streams()` to the client to send one";

function noMethod(method: unknown): TypeError {
  return new TypeError(
    `Cannot call: a method's name is a string, received ${typeof method}`,
  );
}
