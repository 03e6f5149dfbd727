/**
 * The calls this end made: table, window, queue, abort, deadlines.
 *
 * Invariants owned here:
 * - A call is in exactly one place: waiting in the queue, sent in the table,
 *   or done. Taking it out of its place is the only way to settle it.
 * - A call holds its place in the window from entering the batch until its
 *   answer is read, whatever its caller was told meanwhile. One that was taken
 *   back holds it until its batch is handed over.
 * - Requests are written in the order of `call` and `go`.
 * - The queue holds at most `maxQueuedCalls` and `maxQueuedBytes`, outside the
 *   shared write buffer.
 *
 * @module
 */

import { Call, CallHandle, type CallOwner, type Extra } from "./call.ts";
import type { Clock } from "./clock.ts";
import type { Codec, Hello, Metadata } from "./codec.ts";
import type { Deadlines } from "./deadlines.ts";
import { ConnectionError, type Outcome, RpcError } from "./errors.ts";
import { List } from "./list.ts";
import type { Limits } from "./limits.ts";
import { type CallOptions, dueTime, toMetadata } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { ReadyGate } from "./ready.ts";
import { Ring } from "./ring.ts";
import { Signals } from "./signals.ts";
import { Window } from "./window.ts";

/** What the table needs of its connection. */
export interface PendingContext {
  readonly codec: Codec;
  readonly outbox: Outbox;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Called when the last call has left the table and the queue. */
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

/** The pending table of one connection. */
export class Pending implements CallOwner {
  /** Replies that came for calls whose callers had been told otherwise. */
  lateReplies = 0;

  readonly #context: PendingContext;
  readonly #window = new Window();
  readonly #sent: Ring<Call>;
  readonly #waiting = new List<Call>();
  #waitingBytes = 0;
  readonly #signals = new Signals((call, reason) => this.abort(call, reason));
  readonly #ready = new ReadyGate();
  /** Set once the peer's HELLO is read. */
  #greeted = false;
  /** Why no new call is taken: we are closing, the peer went away, or it is over. */
  #refusal: ConnectionError | undefined;
  /** Places of taken-back requests in the batch that is filling. */
  #retractedCalls = 0;
  #retractedBytes = 0;
  /** Calls of the batch that is filling whose hand-over somebody awaits. */
  #handOverWaiters: Call[] = [];

  constructor(context: PendingContext, firstId: number) {
    this.#context = context;
    this.#sent = new Ring(firstId);
  }

  /** Calls in the window, taken-back ones in the batch included. */
  get inFlight(): number {
    return this.#window.calls;
  }

  /** Bytes in the window. */
  get inFlightBytes(): number {
    return this.#window.bytes;
  }

  /** Calls that wait for the window. */
  get queued(): number {
    return this.#waiting.length;
  }

  /** Listeners on abort signals. */
  get listeners(): number {
    return this.#signals.size;
  }

  /** Whether nothing is waiting, sent or abandoned. */
  get empty(): boolean {
    return this.#waiting.length === 0 && this.#sent.size === 0;
  }

  /** What the peer accepts as a message body, in bytes. */
  get maxMessage(): number {
    return this.#window.granted.maxMessage;
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
    call.resolvers = { resolve: resolveNext, reject: rejectNext };
    this.#begin(call, params, options);
    return promise;
  }

  go(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): CallHandle {
    const call = new Call(method);
    this.#begin(call, params, options);
    return new CallHandle(call, this);
  }

  // A call's way out, in the order it travels.

  #begin(
    call: Call,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    const { codec, limits } = this.#context;
    try {
      if (options !== undefined) this.#apply(call, options);
      // Runs user code (toJSON, a serializer), which may abort the call or
      // close the connection: so what they decide is looked at afterwards.
      codec.prepare(params, options?.transfer === true);
      const { extra } = call;
      const timed = extra !== undefined && extra.due !== Infinity;
      call.size = codec.requestSize(call.method, timed, extra?.metadata);
      this.#checkAdmission(call);
    } catch (error) {
      this.#settle(call, "not_sent", true, error);
      return;
    }
    if (this.#waiting.length === 0 && this.#admits(call)) this.#send(call);
    else if (
      this.#waiting.length >= limits.maxQueuedCalls ||
      this.#waitingBytes + call.size > limits.maxQueuedBytes
    ) {
      this.#fail(call, "resource_exhausted", "too many calls are waiting");
      return;
    } else this.#enqueue(call);
    if (call.extra !== undefined) this.#watch(call);
  }

  /** Reads the options that are there. */
  #apply(call: Call, options: CallOptions): void {
    const { signal, ctx, metadata } = options;
    const due = dueTime(options, this.#context.clock);
    const extra = call.extras();
    extra.signal = signal;
    extra.inherited = ctx?.signal;
    extra.due = due;
    extra.expire = () => this.#expire(call);
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
    }
    if (this.#greeted) this.#checkFit(call.size);
  }

  /** Throws if a call can never be sent, as things stand. */
  #checkFit(size: number): void {
    const { granted } = this.#window;
    const most = Math.min(
      granted.maxMessage + this.#context.codec.overhead,
      granted.windowBytes,
    );
    if (granted.windowCalls === 0) {
      throw servesNothing();
    }
    if (size > most) {
      throw new RpcError(
        "resource_exhausted",
        `a call of ${size} bytes; the peer accepts at most ${most}`,
        { outcome: "not_sent" },
      );
    }
  }

  #admits(call: Call): boolean {
    const { outbox, codec, limits } = this.#context;
    return this.#window.admits(call.size) &&
      call.size <= this.#window.granted.maxMessage + codec.overhead &&
      outbox.size < limits.maxOutbox / 2;
  }

  #hasRoom(): boolean {
    const { outbox, limits } = this.#context;
    return this.#waiting.length === 0 && this.#window.open &&
      outbox.size < limits.maxOutbox / 2;
  }

  #enqueue(call: Call): void {
    call.draft = this.#context.codec.save();
    this.#waiting.push(call);
    this.#waitingBytes += call.size;
  }

  #dequeue(call: Call): void {
    this.#waiting.remove(call);
    this.#waitingBytes -= call.size;
  }

  /** Registers a call and writes what is prepared. */
  #send(call: Call): void {
    const { codec, outbox, clock } = this.#context;
    const { extra } = call;
    this.#sent.add(call);
    this.#window.take(call.size);
    call.state = "sent";
    call.batch = outbox.batch;
    let remaining = -1;
    let metadata: Metadata | undefined;
    if (extra !== undefined) {
      metadata = extra.metadata;
      if (extra.due !== Infinity) {
        const left = Math.ceil(extra.due - clock.now());
        remaining = Math.min(0xffffffff, Math.max(1, left));
      }
      if (extra.sent !== undefined) this.#handOverWaiters.push(call);
    }
    codec.request(outbox, call.seq >>> 0, call.method, remaining, metadata);
    call.place = outbox.place;
  }

  #watch(call: Call): void {
    const extra = call.extras();
    const { signal, inherited } = extra;
    if (signal !== undefined) this.#signals.add(signal, call);
    if (inherited !== undefined) this.#signals.add(inherited, call);
    this.#context.deadlines.add(extra);
  }

  #unwatch(call: Call): void {
    const { extra } = call;
    if (extra === undefined) return;
    const { signal, inherited } = extra;
    if (signal !== undefined) this.#signals.remove(signal, call);
    if (inherited !== undefined) this.#signals.remove(inherited, call);
    this.#context.deadlines.remove(extra);
  }

  /** Sends what waits and now fits, and wakes `ready`. Called once per chunk read, not once per reply. */
  pump(): void {
    const { codec, clock } = this.#context;
    let call: Call | undefined;
    while ((call = this.#waiting.first) !== undefined && this.#admits(call)) {
      this.#dequeue(call);
      if (call.extra !== undefined && call.extra.due <= clock.now()) {
        this.#settle(call, "not_sent", true, late("not_sent"));
        continue;
      }
      codec.load(call.draft);
      call.draft = undefined;
      this.#send(call);
    }
    if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();
  }

  /** A batch has gone: what was taken back in it frees its places. */
  batchHandedOver(): void {
    if (this.#retractedCalls > 0) {
      this.#window.free(this.#retractedCalls, this.#retractedBytes);
      this.#retractedCalls = this.#retractedBytes = 0;
    }
    if (this.#handOverWaiters.length > 0) {
      for (const call of this.#handOverWaiters) call.extra?.sent?.resolve(true);
      this.#handOverWaiters = [];
    }
  }

  // Answers.

  /** The result of call `id` is the codec's current payload. */
  reply(id: number): void {
    const call = this.#take(id);
    if (call === undefined) return;
    if (call.state === "abandoned") this.#refine(call, "executed");
    else {
      let value: unknown;
      try {
        value = this.#context.codec.value();
      } catch (cause) {
        const message = "the reply's payload does not parse";
        this.#fail(call, "invalid_reply", message, "executed", cause);
        return;
      }
      this.#settle(call, "executed", false, value);
    }
  }

  /** Call `id` failed; the error's data is the codec's current payload. */
  failure(id: number, started: boolean, code: string, message: string): void {
    const call = this.#take(id);
    if (call === undefined) return;
    const outcome = started ? "executed" : "refused";
    if (call.state === "abandoned") this.#refine(call, outcome);
    else {
      let data: unknown;
      try {
        data = this.#context.codec.value();
      } catch {
        // The failure is what counts; data that does not parse is no data.
      }
      this.#settle(
        call,
        outcome,
        true,
        new RpcError(code, message, { outcome, data }),
      );
    }
  }

  /**
   * Takes an answered call out and frees its place. There is none if the id
   * was never used, is not handed over yet, or was answered before: the peer
   * breaks the rules, unless its wire knows of silent cancels.
   */
  #take(id: number): Call | undefined {
    const { codec, outbox } = this.#context;
    const call = this.#sent.get(id);
    if (call !== undefined && call.batch < outbox.batch) {
      this.#sent.remove(call);
      this.#window.free(1, call.size);
      return call;
    }
    this.lateReplies++;
    if (codec.features.unknownReply === "drop") return undefined;
    throw new ConnectionError(
      "protocol_error",
      `an answer to call ${id}, which is not in flight`,
    );
  }

  #refine(call: Call, outcome: Outcome): void {
    this.lateReplies++;
    call.finish(outcome);
    this.#checkEmpty();
  }

  // Abort and deadline.

  abort(call: Call, reason: unknown): void {
    this.#abandon(call, () => reason);
  }

  handedOver(call: Call): boolean {
    return call.batch >= 0 && call.batch < this.#context.outbox.batch;
  }

  awaitHandOver(call: Call): void {
    if (call.state !== "waiting") this.#handOverWaiters.push(call);
  }

  #expire(call: Call): void {
    this.#abandon(call, late);
  }

  /** Tells the caller now, and the peer where it may know of the call. */
  #abandon(call: Call, reason: (outcome: Outcome) => unknown): void {
    if (call.state === "waiting") {
      this.#dequeue(call);
      call.draft = undefined;
      this.#settle(call, "not_sent", true, reason("not_sent"));
    } else if (call.state === "sent" && this.#retract(call)) {
      this.#settle(call, "not_sent", true, reason("not_sent"));
    } else if (call.state === "sent") {
      const { codec, outbox } = this.#context;
      call.state = "abandoned";
      this.#unwatch(call);
      if (codec.features.cancel !== "none") {
        codec.cancel(outbox, call.seq >>> 0);
      }
      if (codec.features.cancel === "silent") this.#release(call);
      call.settle("unknown", true, reason("unknown"));
      if (codec.features.cancel === "silent") this.#refine(call, "unknown");
    }
  }

  /** Takes a request back that is still in the batch; its place is freed with the batch. */
  #retract(call: Call): boolean {
    const { codec, outbox } = this.#context;
    if (call.batch < outbox.batch) return false;
    if (!codec.retract(outbox, call.place)) return false;
    this.#release(call);
    return true;
  }

  /** Takes a call out of the table; its place is freed when the batch is handed over. */
  #release(call: Call): void {
    this.#sent.remove(call);
    this.#retractedCalls++;
    this.#retractedBytes += call.size;
  }

  // Openings and endings.

  /** The peer has said what it grants. Calls that can never fit are settled. */
  greet(hello: Hello): void {
    this.#greeted = true;
    this.#window.granted = hello;
    for (const call of this.#waitingCalls()) {
      try {
        this.#checkFit(call.size);
      } catch (error) {
        this.#dequeue(call);
        this.#settle(call, "not_sent", true, error);
      }
    }
    if (hello.windowCalls === 0) {
      this.#ready.close(servesNothing());
    }
    this.pump();
  }

  /** Takes no new call from now on, and says why. The first reason stays. */
  refuseNew(reason: ConnectionError): void {
    this.#refusal ??= reason;
    this.#ready.close(unavailable(this.#refusal));
  }

  /** The peer serves nothing above `lastId`: those calls are settled, the others go on. */
  goaway(lastId: number | undefined, reason: ConnectionError): number {
    const last = lastId === undefined ? -Infinity : this.#sent.widen(lastId);
    this.refuseNew(reason);
    this.#settleWaiting(reason);
    for (const call of this.#sent.all()) {
      if (call.seq <= last) continue;
      if (this.#retract(call)) this.#lose(call, "not_sent", reason);
      else {
        this.#sent.remove(call);
        this.#window.free(1, call.size);
        this.#lose(call, "refused", reason);
      }
    }
    return last;
  }

  /** It is over: whatever is left is settled with its true outcome. */
  end(reason: ConnectionError): void {
    this.refuseNew(reason);
    this.#settleWaiting(reason);
    for (const call of this.#sent.all()) {
      if (this.#retract(call)) this.#lose(call, "not_sent", reason);
      else {
        this.#sent.remove(call);
        this.#window.free(1, call.size);
        this.#lose(call, "unknown", reason);
      }
    }
  }

  #waitingCalls(): Call[] {
    const calls: Call[] = [];
    for (let c = this.#waiting.first; c !== undefined; c = c.after) {
      calls.push(c);
    }
    return calls;
  }

  #settleWaiting(reason: ConnectionError): void {
    for (const call of this.#waitingCalls()) {
      this.#dequeue(call);
      this.#lose(call, "not_sent", reason);
    }
  }

  /** Settles a call that its connection takes with it; an abandoned one only learns its outcome. */
  #lose(call: Call, outcome: Outcome, reason: ConnectionError): void {
    if (call.state === "abandoned") {
      call.finish(outcome);
      this.#checkEmpty();
    } else this.#settle(call, outcome, true, unavailable(reason, outcome));
  }

  #fail(
    call: Call,
    code: string,
    message: string,
    outcome: Outcome = "not_sent",
    cause?: unknown,
  ): void {
    const error = new RpcError(code, message, { outcome, cause });
    this.#settle(call, outcome, true, error);
  }

  /** The one place where a caller is told. */
  #settle(
    call: Call,
    outcome: Outcome,
    failed: boolean,
    result: unknown,
  ): void {
    this.#unwatch(call);
    call.settle(outcome, failed, result);
    call.finish(outcome);
    this.#checkEmpty();
  }

  #checkEmpty(): void {
    if (this.empty) this.#context.emptied();
  }
}

function throwIfAborted(extra: Extra): void {
  if (extra.signal?.aborted) throw extra.signal.reason;
  if (extra.inherited?.aborted) throw extra.inherited.reason;
}

function late(outcome: Outcome): RpcError {
  return new RpcError("deadline_exceeded", "the call's deadline has passed", {
    outcome,
  });
}

function servesNothing(): RpcError {
  const outcome = "not_sent";
  return new RpcError("unavailable", "the peer serves no calls", { outcome });
}

/** What a call rejects with when its connection takes it along. */
function unavailable(
  cause: ConnectionError,
  outcome: Outcome = "not_sent",
): RpcError {
  // A denial is of use to the caller; every other code tells of the
  // connection, and stays in the cause.
  const code = cause.code === "unauthenticated" ? cause.code : "unavailable";
  return new RpcError(code, cause.message, { outcome, cause });
}
