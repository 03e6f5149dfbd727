/**
 * The calls the peer makes, as its messages tell of them.
 *
 * Invariants owned here:
 * - A call is let in, or refused: what of it is wrong before its params are
 *   looked at is answered in the turn it came.
 * - A call not started is answered as soon as its caller cancels, or its
 *   deadline passes; one that runs has its signal fired, and is answered when
 *   it settles. No error of our own making frees a place before.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { ReceiveWindow } from "../connection/receive_window.ts";
import { Responder, type ResponderContext } from "./responder.ts";
import type { Connection } from "../types/connection.ts";
import type {
  IncomingCallStats,
  LiveCall,
  LiveCallContext,
} from "../types/stats.ts";
import { servedCall, ServerCall, type ServerCallHost } from "./server_call.ts";
import {
  ConnectionError,
  type ErrorCode,
  quote,
  RpcError,
} from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { RequestInfo } from "../types/observe.ts";
import type { MethodTable } from "./method.ts";
import { HandlerRunner, type HandlerRunnerContext } from "./runner.ts";
import { OpenCalls } from "./open_calls.ts";
import { Scheduler, type SchedulerContext } from "./scheduler.ts";
import type {
  ConnectionStreams,
  IncomingStreams,
} from "../streams/contract.ts";
import type { ServeContext, ServeSide } from "../connection/contract.ts";

/** What the dispatch needs of its connection. */
export interface DispatcherContext
  extends
    ServeContext,
    ResponderContext,
    HandlerRunnerContext,
    SchedulerContext {
  readonly methodTable: MethodTable;
}

/** The served calls of one connection. */
export class Dispatcher implements ServerCallHost, ServeSide {
  readonly #context: DispatcherContext;
  readonly #receiveWindow: ReceiveWindow;
  readonly #answers: Responder;
  readonly #calls: OpenCalls;
  readonly #gate: Scheduler;
  readonly #runner: HandlerRunner;
  /** No request is served any more: we said GOAWAY, or it is over. */
  #draining = false;
  /** Why the calls that run should come to their end, if an end of the connection drains, or it is over. */
  #leaving: string | undefined;
  #leavingError: RpcError | undefined;

  constructor(context: DispatcherContext) {
    this.#context = context;
    const receiveWindow = new ReceiveWindow(context.codec.features.excess);
    const answers = new Responder(context);
    const calls = new OpenCalls(context, receiveWindow, answers);
    const gate = new Scheduler(context, (call) => runner.start(call));
    const runner = new HandlerRunner(context, calls, gate, answers);
    this.#receiveWindow = receiveWindow;
    this.#answers = answers;
    this.#calls = calls;
    this.#gate = gate;
    this.#runner = runner;
  }

  get clock(): Clock {
    return this.#context.clock;
  }

  get connection(): Connection {
    return this.#context.connection;
  }

  /** What is served, in numbers. */
  get numbers(): IncomingCallStats {
    const { calls: held, bytes: heldBytes } = this.#receiveWindow;
    const { running, waiting, ordered } = this.#gate;
    const served = { ...this.#answers.counts };
    return {
      receiving: held,
      receivingBytes: heldBytes,
      running,
      waiting,
      ordered,
      served,
    };
  }

  /** What the calls that are not answered take: their bytes, what was decoded from them, and a charge each. */
  get heldBytes(): number {
    return this.#receiveWindow.heldBytes;
  }

  calls(context: LiveCallContext): LiveCall[] {
    return this.#calls.all().map((call) => servedCall(call, context));
  }

  /** Calls that hold a place in the window we granted. */
  get held(): number {
    return this.#receiveWindow.calls;
  }

  /** Whether the peer's calls are as many as we hold, on a wire that does not tell it how many. */
  get full(): boolean {
    return this.#receiveWindow.full;
  }

  /** The latest id seen, or undefined. */
  get lastId(): number | undefined {
    return this.#receiveWindow.lastId;
  }

  /** The call whose handler is on the stack right now. */
  get current(): ServerCall | undefined {
    return this.#calls.current;
  }

  /** Handlers and waiting calls, those of `except` left out. */
  busy(except: ReadonlySet<unknown> = NOBODY): number {
    let busy = this.#gate.running + this.#gate.waiting;
    for (const call of except) {
      const { state } = call as ServerCall;
      if (state === "running" || state === "streaming") busy--;
    }
    return busy;
  }

  /** A call has come; its payload is the codec's current one. */
  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    const receiveWindow = this.#receiveWindow;
    receiveWindow.checkId(id, this.#calls);
    // A call that finds no place is not noted: our GOAWAY then refuses it.
    const { codec, methodTable, clock, tick, observe } = this.#context;
    const { valueIsStream } = codec;
    if (!this.#draining) {
      receiveWindow.reserve(size);
      if (valueIsStream) this.#context.streams()?.checkRoom();
    }
    receiveWindow.recordId(id);
    if (this.#draining) {
      // Past our GOAWAY's id, the caller has settled it as refused by itself.
      if (!codec.features.goaway) {
        const { connection } = this;
        const request = { connection, method, id, size, block: metadata };
        this.#answers.refuse(request, "unavailable", GOING);
      }
      return;
    }
    const target = methodTable.get(method);
    if (target === undefined || remaining === 0) {
      const { connection } = this;
      const request = { connection, method, id, size, block: metadata };
      if (target === undefined) {
        const text = `there is no method ${quote(method)}`;
        this.#refuse(request, "not_found", text);
      } else this.#refuse(request, "deadline_exceeded", LATE);
      return;
    }
    const due = remaining < 0 ? Infinity : clock.now() + remaining;
    const began = tick.now();
    const call = new ServerCall(
      this,
      target,
      id,
      size,
      due,
      metadata,
      began,
    );
    if (valueIsStream) this.#acceptStream(call);
    if (observe !== undefined && observe.active) {
      observe.onIncoming(call, clock);
    }
    if (this.#gate.tryAcquire()) this.#runner.start(call);
    else {
      call.retained = codec.retain();
      this.#calls.keep(call);
      this.#gate.wait(call);
    }
  }

  /** The params are a stream. */
  #acceptStream(call: ServerCall): void {
    // A codec tells of streams only where there is support for them.
    const table = this.#context.streams() as ConnectionStreams;
    call.streams = table.incoming(call, this.#runner);
    call.streams.openParams();
  }

  #refuse(request: RequestInfo, code: ErrorCode, message: string): void {
    this.#answers.refuse(request, code, message);
    this.#receiveWindow.answered(request.size);
  }

  /** The peer cancels call `id`. */
  cancel(id: number): void {
    const call = this.#calls.get(id);
    // A running call may be older than serial arithmetic reaches.
    if (call === undefined && !this.#receiveWindow.seen(id)) {
      throw new ConnectionError(
        "protocol_error",
        `CANCEL for call ${id}, which was never made`,
      );
    }
    // Answered already: the CANCEL crossed the answer.
    if (call === undefined) return;
    this.#withdraw(call, "cancelled", CANCELLED);
  }

  /** A deadline has passed before the answer. */
  expire(call: ServerCall): void {
    this.#withdraw(call, "deadline_exceeded", LATE);
  }

  /** Ends a call early: one not started is answered at once, a running one when it settles. */
  #withdraw(call: ServerCall, code: ErrorCode, text: string): void {
    // An error with its stack costs more than all else here: a flood of cancels must not make one each.
    const reason = () => gone(code, text);
    switch (call.state) {
      case "waiting":
        this.#gate.remove(call);
        this.#calls.rejectUnstarted(call, code, text);
        this.#gate.passTurn(call);
        this.#context.settled();
        return;
      case "validating":
        this.#calls.rejectUnstarted(call, code, text);
        call.abort(reason);
        return;
      case "running":
      case "streaming":
        this.#context.deadlines.remove(call);
        call.abort(reason);
        call.streams?.cancel(call.aborted?.reason);
        return;
      case "done":
        return;
    }
  }

  /** The streams of call `id`; see {@linkcode ReplyHandler.streamsOf}. */
  streamsOf(id: number): IncomingStreams | null | undefined {
    const call = this.#calls.get(id);
    if (call !== undefined) return call.streams ?? null;
    if (this.#receiveWindow.seen(id)) return undefined;
    throw new ConnectionError(
      "protocol_error",
      `a frame of a stream for call ${id}, which was never made`,
    );
  }

  /** The peer has been let in, and is granted its window: handlers may start. */
  open(): void {
    this.#receiveWindow.grant(this.#context.limits);
    this.#gate.open();
  }

  /** Starts what waits and may start. */
  startWaiting(): void {
    this.#gate.startWaiting();
  }

  /** A batch has gone: the calls answered in it free their places. */
  onFlush(): void {
    this.#answers.onFlush();
    this.#receiveWindow.onFlush();
  }

  /** The reply to call `id` has lost its bytes before it was handed over. */
  spoiled(id: number): void {
    this.#answers.spoiled(id);
  }

  /** Serves no request that comes from now on. */
  drain(why: string): void {
    this.#draining = true;
    this.tellDraining(why);
  }

  /** Tells the calls that are served, and those that come, that an end of the connection drains. */
  tellDraining(why: string): void {
    if (this.#leaving !== undefined) return;
    this.#leaving = why;
    for (const call of this.#calls.all()) call.drain();
  }

  /** Why the connection drains, if it does; made for who asks. */
  get leaving(): RpcError | undefined {
    if (this.#leaving === undefined) return undefined;
    return this.#leavingError ??= gone("unavailable", this.#leaving);
  }

  /** The peer sends nothing any more: params that have not ended never will. */
  halfClosed(reason: ConnectionError): void {
    this.drain(reason.message);
    const lost = gone("unavailable", reason.message, reason);
    for (const call of this.#calls.entered()) {
      call.streams?.reader?.onConnectionLost(lost);
    }
  }

  /**
   * Refuses the calls that were not started, and never will be. Of those up to
   * `lastId` that came last our GOAWAY tells: returns the id that it has to
   * name. The others are answered; they stand before one that was started, or
   * the wire has no GOAWAY.
   */
  refuseUnstarted(lastId: number | undefined): number | undefined {
    // What ends from here on must not start what the peer is told was not.
    this.#gate.shut();
    let last = lastId;
    let excluded = this.#context.codec.features.goaway;
    for (const call of this.#calls.all().reverse()) {
      const { state, id } = call;
      const started = state !== "waiting" && state !== "validating";
      if (started) excluded = false;
      else if (excluded) last = (id - 1) >>> 0;
      else this.#rejectUnstarted(call);
    }
    return last;
  }

  #rejectUnstarted(call: ServerCall): void {
    const { state } = call;
    if (state === "waiting") this.#gate.remove(call);
    this.#calls.rejectUnstarted(call, "unavailable", GOING);
    if (state === "validating") call.abort(() => gone("unavailable", GOING));
  }

  /** It is over: signals fire, and nobody is answered any more. */
  end(reason: ConnectionError): void {
    this.#gate.shut();
    this.#draining = true;
    this.tellDraining(reason.message);
    let lost: RpcError | undefined;
    const why = () => lost ??= gone("unavailable", reason.message, reason);
    for (const call of this.#calls.all()) {
      if (call.state === "waiting") this.#gate.remove(call);
      this.#calls.onConnectionLost(call, why);
      call.abort(why);
      call.streams?.onConnectionLost(call.aborted?.reason);
    }
    this.#receiveWindow.end();
    this.#gate.end();
  }
}

const NOBODY: ReadonlySet<unknown> = new Set();

const CANCELLED = "the caller cancelled the call";
const LATE = "the call's deadline has passed";
const GOING = "this end is closing the connection";

/**
 * Why a handler's signal fires. Calls that the handler makes reject with the
 * very same error, which must not say of them that they were executed.
 */
function gone(code: ErrorCode, message: string, cause?: unknown): RpcError {
  return new RpcError(code, message, { outcome: "unknown", cause });
}
