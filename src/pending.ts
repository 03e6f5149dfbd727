/**
 * The calls this end made, from `call` to settled.
 *
 * Invariants owned here:
 * - A call is in exactly one place: waiting in the queue, sent in the table,
 *   or done. Taking it out of its place is the only way to settle it, and
 *   the ledger the only place where a caller is told.
 * - Requests are written in the order of `call` and `go`.
 *
 * @module
 */

import { Call, CallHandle, type CallOwner, type Extra } from "./call.ts";
import type { Clock } from "./clock.ts";
import type { Codec, Hello, Metadata } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Deadlines } from "./deadlines.ts";
import { ConnectionError, type Outcome, RpcError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import type { CallEvents } from "./observe.ts";
import { type CallOptions, dueTime, toMetadata } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { Ledger } from "./ledger.ts";
import { Queue } from "./queue.ts";
import { ReadyGate } from "./ready.ts";
import { late, servesNothing, unavailable } from "./refusals.ts";
import { Sent } from "./sent.ts";
import {
  CallerStreams,
  type CallerTable,
  callOver,
} from "./streams/call_streams.ts";
import { isStream, type StreamValue } from "./streams/source.ts";
import type { Streams } from "./streams/streams.ts";
import type { OutcomeCounts } from "./stats.ts";
import type { Tick } from "./tick.ts";

/** What the table needs of its connection. */
export interface PendingContext {
  readonly codec: Codec;
  readonly outbox: Outbox;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly limits: Limits;
  /** The connection's streams, made when they are asked for. */
  streams(): Streams;
  readonly tick: Tick;
  /** Tells somebody of calls, if anybody wants to know. */
  readonly observe: CallEvents | undefined;
  readonly connection: Connection;
  /** Called when nothing is waiting or sent any more. */
  emptied(): void;
}

/** Hands its two functions out, so that a call's promise costs no closure of ours. */
let resolveNext: (value: unknown) => void;
let rejectNext: (reason: unknown) => void;
const executor = (
  resolve: (value: unknown) => void,
  reject: (reason: unknown) => void,
) => {
  resolveNext = resolve;
  rejectNext = reject;
};

/** Turns of the event loop that a little room is kept for: others may take it meanwhile, and whoever waits must not starve. */
const MAX_PATIENCE = 16;

/** The pending table of one connection. */
export class Pending implements CallOwner, CallerTable {
  /** Answers that came for calls whose callers had been told otherwise. */
  lateReplies = 0;

  readonly #context: PendingContext;
  readonly #queue: Queue;
  readonly #sent: Sent;
  readonly #ledger: Ledger;
  readonly #ready = new ReadyGate();
  /** Why no new call is taken: we are closing, the peer went away, or it is over. */
  #refusal: ConnectionError | undefined;
  /** What waits is given a turn's time for more room to come. */
  #patient = false;

  constructor(context: PendingContext, firstId: number) {
    const { codec, outbox, limits } = context;
    this.#context = context;
    this.#queue = new Queue(limits.maxQueuedCalls, limits.maxQueuedBytes);
    this.#sent = new Sent(codec, outbox, firstId);
    this.#ledger = new Ledger(context.deadlines, {
      abort: (call, reason) => this.abort(call, reason),
      settled: () => {
        if (this.empty) context.emptied();
      },
    });
  }

  /** Calls in the window, taken-back ones in the batch included. */
  get inFlight(): number {
    return this.#sent.window.calls;
  }

  /** Bytes in the window. */
  get inFlightBytes(): number {
    return this.#sent.window.bytes;
  }

  /** The count of the latest call sent. */
  get lastSent(): number {
    return this.#sent.last;
  }

  /** Calls that wait for the window. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Bytes of those. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Calls that have ended, by outcome. */
  get settled(): OutcomeCounts {
    return this.#ledger.counts;
  }

  /** Listeners on abort signals. */
  get listeners(): number {
    return this.#ledger.listeners;
  }

  /** Every call that has not ended: those sent in that order, then those that wait. */
  all(): Call[] {
    return [...this.#sent.all(), ...this.#queue.all()];
  }

  /** Whether nothing is waiting, sent or abandoned. */
  get empty(): boolean {
    return this.#queue.length === 0 && this.#sent.size === 0;
  }

  /** What the peer's HELLO says; undefined before it is read. */
  get peer(): Hello | undefined {
    return this.#sent.window.told;
  }

  /** What the peer accepts as a message body, in bytes. */
  get maxMessage(): number {
    return this.#sent.window.granted.maxMessage;
  }

  /** How many calls the window has room for; negative by those that wait for it already. */
  get desiredSize(): number {
    const { length } = this.#queue;
    if (length > 0) return -length;
    if (this.#refusal !== undefined || !this.#outboxHasRoom()) return 0;
    return this.#sent.window.free;
  }

  /** Resolves when the window has room; rejects once no call is taken any more. */
  get ready(): Promise<void> {
    return this.#ready.wait(this.#hasRoom());
  }

  call(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    const call = new Call(method);
    const promise = new Promise(executor);
    call.resolve = resolveNext;
    call.reject = rejectNext;
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
    return new CallHandle(call, this);
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
    observe.made(call, clock, () => connection);
  }

  // A call's way out, in the order it travels.

  #begin(
    call: Call,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    const { codec, tick } = this.#context;
    // One that was sent before, by another connection, is as old as it is.
    if (call.began === 0) call.began = tick.now();
    try {
      const streamed = isStream(params);
      if (streamed) this.#offer(call, params);
      if (options !== undefined) this.#apply(call, options);
      // Runs user code (toJSON, a serializer), which may abort the call or
      // close the connection: so what they decide is looked at afterwards.
      if (streamed) codec.streams?.prepare();
      else codec.prepare(params, options?.transfer === true, call.method);
      const { extra } = call;
      const timed = extra !== undefined && extra.due !== Infinity;
      call.size = codec.requestSize(call.method, timed, extra?.metadata);
      this.#checkAdmission(call);
      if (this.#queue.length === 0 && this.#admits(call)) this.#send(call);
      else {
        this.#queue.checkRoom(call.size);
        this.#queue.push(call, codec.save());
      }
    } catch (error) {
      this.#ledger.settle(call, "not_sent", true, error);
      return;
    }
    if (call.extra !== undefined) this.#ledger.watch(call, call.extra);
  }

  /** The params are a stream: it is this call's from now on. */
  #offer(call: Call, params: StreamValue): void {
    const streams = new CallerStreams(this.#context.streams(), call, this);
    try {
      streams.offer(params);
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
    extra.due = dueTime(options, this.#context.clock);
    extra.signal = signal;
    extra.inherited = ctx?.signal;
    extra.expire = () => this.#abandon(call, late);
    extra.metadata = metadata && toMetadata(metadata);
    // Aborted already: nothing is even encoded.
    throwIfAborted(extra);
  }

  /** Throws what keeps a call from being taken at all. */
  #checkAdmission(call: Call): void {
    if (this.#refusal !== undefined) throw unavailable(this.#refusal);
    const { extra } = call;
    if (extra !== undefined) {
      throwIfAborted(extra);
      if (extra.due <= this.#context.clock.now()) throw late("not_sent");
      extra.streams?.checkFit();
    }
    this.#sent.window.checkFit(call.size);
  }

  #admits(call: Call): boolean {
    const streams = call.extra?.streams;
    return this.#sent.window.admits(call.size) && this.#outboxHasRoom() &&
      (streams === undefined || streams.admitted);
  }

  #hasRoom(): boolean {
    return this.#queue.length === 0 && this.#sent.window.open &&
      this.#outboxHasRoom();
  }

  /** However large a window the peer grants, our own calls never overflow the outbox. */
  #outboxHasRoom(): boolean {
    const { outbox, limits } = this.#context;
    return outbox.size < limits.maxOutbox / 2;
  }

  /** Writes what is prepared. */
  #send(call: Call): void {
    const { extra } = call;
    let remaining = -1;
    let metadata: Metadata | undefined;
    if (extra !== undefined) {
      metadata = extra.metadata;
      if (extra.due !== Infinity) {
        const left = Math.ceil(extra.due - this.#context.clock.now());
        remaining = Math.min(0xffffffff, Math.max(1, left));
      }
    }
    this.#sent.send(call, remaining, metadata);
  }

  /**
   * Sends what waits and now fits, and wakes `ready`, as soon as there is a good
   * deal of room. Called once per chunk read, not once per reply.
   *
   * A little room is given away only once no answer has come for a turn of the
   * event loop. Else two busy ends settle into passing each other a few calls
   * at a time (measured over TCP on Deno: 18 calls a chunk).
   */
  pump(): void {
    if (this.#queue.length === 0 && !this.#ready.waited) return;
    if (this.#sent.window.roomy) this.#release();
    else if (!this.#patient) this.#waitForMore();
  }

  async #waitForMore(): Promise<void> {
    this.#patient = true;
    const { window } = this.#sent;
    for (let turns = 0; turns < MAX_PATIENCE && !window.roomy; turns++) {
      const { calls } = window;
      await this.#context.clock.turn();
      if (window.calls === calls) break;
    }
    this.#patient = false;
    this.#release();
  }

  #release(): void {
    const { codec, clock } = this.#context;
    let call: Call | undefined;
    while ((call = this.#queue.first) !== undefined && this.#admits(call)) {
      const draft = this.#queue.remove(call);
      const { extra } = call;
      if (extra !== undefined && extra.due <= clock.now()) {
        this.#ledger.settle(call, "not_sent", true, late("not_sent"));
      } else {
        codec.load(draft);
        this.#send(call);
      }
    }
    if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();
  }

  /** A batch has gone. */
  batchHandedOver(): void {
    this.#sent.batchHandedOver();
  }

  /** No batch will go any more. */
  batchLost(): void {
    this.#sent.freeRetracted();
  }

  // Answers.

  /** The result of call `id` is the codec's current payload. */
  reply(id: number, metadata: Metadata | undefined): void {
    if (this.#context.codec.streamed) return this.#stream(id, metadata);
    const call = this.#take(id, metadata);
    if (call === undefined) return;
    if (call.state === "abandoned") {
      this.#refine(call, "executed");
      return;
    }
    let value: unknown;
    try {
      value = this.#context.codec.value();
    } catch (cause) {
      const text = "the reply's payload does not parse";
      const error = new RpcError("invalid_reply", text, { cause });
      this.#ledger.settle(call, "executed", true, error);
      return;
    }
    this.#ledger.settle(call, "executed", false, value);
  }

  /** Call `id` failed; the error's data is the codec's current payload. */
  failure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata: Metadata | undefined,
  ): void {
    const call = this.#take(id, metadata);
    if (call === undefined) return;
    const outcome: Outcome = started === undefined
      ? "unknown"
      : started
      ? "executed"
      : "refused";
    if (call.state === "abandoned") {
      this.#refine(call, outcome);
      return;
    }
    let data: unknown;
    try {
      data = this.#context.codec.value();
    } catch {
      // The failure is what counts; data that does not parse is no data.
    }
    const options = { outcome, data, ...call.extra?.streams?.cause };
    const error = new RpcError(code, message, options);
    this.#ledger.settle(call, outcome, true, error);
  }

  /** The result of call `id` is a stream: its caller is told, and the call lives on. */
  #stream(id: number, metadata: Metadata | undefined): void {
    const call = this.#sent.find(id);
    if (call === undefined) return this.#stray(id);
    const extra = call.extras();
    this.#answered(call, metadata);
    const hub = this.#context.streams();
    hub.checkRoom();
    const streams = extra.streams ??= new CallerStreams(hub, call, this);
    const result = streams.answer(id);
    if (call.state !== "abandoned") {
      this.#ledger.stream(call, result);
      return;
    }
    // Given up: its CANCEL is under way, and the stream's end will come.
    this.#refine(call, "executed");
    call.state = "abandoned";
    streams.release(callOver());
  }

  streamEnded(call: Call): void {
    this.#sent.drop(call);
    this.#ledger.streamed(call);
    call.extra?.streams?.outlet?.release(callOver());
  }

  /**
   * The streams of call `id`: `null` if it has none, undefined if it is over.
   *
   * @throws {ConnectionError} `protocol_error`, if there never was one.
   */
  streamsOf(id: number): CallerStreams | null | undefined {
    const call = this.#sent.live(id);
    if (call !== undefined) return call.extra?.streams ?? null;
    if (this.#sent.used(id)) return undefined;
    throw new ConnectionError(
      "protocol_error",
      `a frame of a stream for call ${id}, which was never made`,
    );
  }

  /**
   * Takes an answered call out. There is none if the id was never used, is not
   * handed over yet, or was answered before: the peer breaks the rules, unless
   * its wire knows of silent cancels.
   */
  #take(id: number, metadata: Metadata | undefined): Call | undefined {
    const call = this.#sent.take(id);
    if (call === undefined) this.#stray(id);
    else this.#answered(call, metadata);
    return call;
  }

  /** An answer has come. */
  #answered(call: Call, metadata: Metadata | undefined): void {
    if (metadata !== undefined) call.extras().answered = metadata;
    call.extra?.observed?.answered(this.#context.codec.answerSize);
  }

  #stray(id: number): void {
    this.lateReplies++;
    if (this.#context.codec.features.unknownReply === "drop") return;
    throw new ConnectionError(
      "protocol_error",
      `an answer to call ${id}, which is not in flight`,
    );
  }

  /** The peer has answered for a call whose caller was told long ago. */
  #refine(call: Call, outcome: Outcome): void {
    this.lateReplies++;
    this.#ledger.finish(call, outcome);
  }

  // Abort and deadline.

  abort(call: Call, reason: unknown): void {
    this.#abandon(call, () => reason);
  }

  handedOver(call: Call): boolean {
    return this.#sent.handedOver(call);
  }

  awaitHandOver(call: Call): void {
    if (call.state === "sent") this.#sent.awaitHandOver(call);
  }

  /** Tells the caller now, and the peer where it may know of the call. */
  #abandon(call: Call, reason: (outcome: Outcome) => unknown): void {
    switch (call.state) {
      case "waiting":
        this.#queue.remove(call);
        this.#ledger.settle(call, "not_sent", true, reason("not_sent"));
        return;
      case "sent":
        if (this.#sent.retract(call)) {
          this.#ledger.settle(call, "not_sent", true, reason("not_sent"));
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
    const { codec, outbox } = this.#context;
    const { cancel } = codec.features;
    call.state = "abandoned";
    if (call.extra !== undefined) this.#ledger.unwatch(call, call.extra);
    if (cancel !== "none") codec.cancel(outbox, call.seq >>> 0);
    call.settle("unknown", true, reason);
    if (cancel === "silent") {
      this.#sent.release(call);
      this.#ledger.finish(call, "unknown");
    }
    call.extra?.streams?.release(reason);
  }

  /** Fails the stream that the caller has. The call keeps its place until the peer has ended it. */
  #abandonStream(call: Call, reason: unknown): void {
    const { codec, outbox } = this.#context;
    const { extra, seq } = call;
    call.state = "abandoned";
    codec.cancel(outbox, seq >>> 0);
    if (extra === undefined) return;
    this.#ledger.unwatch(call, extra);
    extra.streams?.release(reason);
  }

  // Openings and endings.

  /** The peer has said what it grants. Calls that can never fit are settled. */
  greet(hello: Hello): void {
    const { window } = this.#sent;
    window.grant(hello);
    for (const call of this.#queue.all()) {
      try {
        window.checkFit(call.size);
        call.extra?.streams?.checkFit();
      } catch (error) {
        this.#queue.remove(call);
        this.#ledger.settle(call, "not_sent", true, error);
      }
    }
    if (hello.windowCalls === 0) this.#ready.close(servesNothing);
    this.pump();
  }

  /** Takes no new call from now on, and says why. The first reason stays. */
  refuseNew(reason: ConnectionError): void {
    const refusal = this.#refusal ??= reason;
    this.#ready.close(() => unavailable(refusal));
  }

  /** The peer serves nothing above `lastId`: those calls are settled, the others go on. Returns `lastId` as a 53-bit count. */
  goaway(lastId: number | undefined, reason: ConnectionError): number {
    const last = lastId === undefined ? -Infinity : this.#sent.widen(lastId);
    this.#loseAbove(last, "refused", reason);
    return last;
  }

  /** It is over: whatever is left is settled with its true outcome. */
  end(reason: ConnectionError): void {
    this.#loseAbove(-Infinity, "unknown", reason);
  }

  /** Settles what waits, and what was sent after `last`: `not_sent` where its frame could be taken back, else `outcome`. */
  #loseAbove(last: number, outcome: Outcome, reason: ConnectionError): void {
    this.refuseNew(reason);
    for (const call of this.#queue.all()) {
      this.#queue.remove(call);
      this.#ledger.lose(call, "not_sent", reason);
    }
    for (const call of this.#sent.all()) {
      if (call.seq <= last) continue;
      if (this.#sent.retract(call)) this.#ledger.lose(call, "not_sent", reason);
      else {
        this.#sent.drop(call);
        this.#ledger.lose(call, outcome, reason);
      }
    }
  }
}

function throwIfAborted(extra: Extra): void {
  if (extra.signal?.aborted) throw extra.signal.reason;
  if (extra.inherited?.aborted) throw extra.inherited.reason;
}
