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

import type { Clock, Tick } from "../base/clock.ts";
import { Admission } from "./receive_window.ts";
import { Answers, type AnswersContext } from "./responder.ts";
import type { Connection } from "../connection/connection.ts";
import type { ServedNumbers } from "../types/stats.ts";
import { Serving, type ServingOwner } from "./incoming_call.ts";
import type { Deadlines } from "../base/timers.ts";
import {
  ConnectionError,
  type ErrorCode,
  quote,
  RpcError,
} from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CameRequest } from "../types/observe.ts";
import type { Registry } from "./method.ts";
import { Runner, type RunnerContext } from "./runner.ts";
import { ServedCalls } from "./open_calls.ts";
import { StartGate, type StartGateContext } from "./scheduler.ts";
import { CalleeStreams } from "../streams/call_streams.ts";

/** What the dispatch needs of its connection. */
export interface DispatchContext
  extends AnswersContext, RunnerContext, StartGateContext {
  readonly deadlines: Deadlines;
  readonly tick: Tick;
  readonly registry: Registry;
}

/** The served calls of one connection. */
export class Dispatch implements ServingOwner {
  readonly #context: DispatchContext;
  readonly #admission: Admission;
  readonly #answers: Answers;
  readonly #calls: ServedCalls;
  readonly #gate: StartGate;
  readonly #runner: Runner;
  /** No request is served any more: we said GOAWAY, or it is over. */
  #draining = false;
  /** Why the calls that run should come to their end, if an end of the connection drains, or it is over. */
  #leaving: string | undefined;
  #leavingError: RpcError | undefined;

  constructor(context: DispatchContext) {
    this.#context = context;
    const admission = new Admission(context.codec.features.excess);
    const answers = new Answers(context);
    const calls = new ServedCalls(context, admission, answers);
    const gate = new StartGate(context, (serving) => runner.start(serving));
    const runner = new Runner(context, calls, gate, answers);
    this.#admission = admission;
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
  get numbers(): ServedNumbers {
    const { calls: held, bytes: heldBytes } = this.#admission;
    const { running, waiting, ordered } = this.#gate;
    const served = { ...this.#answers.counts };
    return { held, heldBytes, running, waiting, ordered, served };
  }

  /** What the calls that are not answered take: their bytes, what was decoded from them, and a charge each. */
  get heldBytes(): number {
    return this.#admission.heldBytes;
  }

  /** Every call that has not been answered, in the order they came. */
  all(): Serving[] {
    return this.#calls.all();
  }

  /** Calls that hold a place in the window we granted. */
  get held(): number {
    return this.#admission.calls;
  }

  /** Whether the peer's calls are as many as we hold, on a wire that does not tell it how many. */
  get full(): boolean {
    return this.#admission.full;
  }

  /** The latest id seen, or undefined. */
  get lastId(): number | undefined {
    return this.#admission.lastId;
  }

  /** The call whose handler is on the stack right now. */
  get current(): Serving | undefined {
    return this.#calls.current;
  }

  /** Handlers and waiting calls, those of `except` left out. */
  busy(except: ReadonlySet<unknown> = NOBODY): number {
    let busy = this.#gate.running + this.#gate.waiting;
    for (const serving of except) {
      const { state } = serving as Serving;
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
    const admission = this.#admission;
    admission.checkId(id, this.#calls);
    // A call that finds no place is not noted: our GOAWAY then refuses it.
    const { codec, registry, clock, tick, observe } = this.#context;
    const { streamed } = codec;
    if (!this.#draining) {
      admission.hold(size);
      if (streamed) this.#context.streams().checkRoom();
    }
    admission.note(id);
    if (this.#draining) {
      // Past our GOAWAY's id, the caller has settled it as refused by itself.
      if (!codec.features.goaway) {
        const { connection } = this;
        const request = { connection, method, id, size, block: metadata };
        this.#answers.refuse(request, "unavailable", GOING);
      }
      return;
    }
    const target = registry.get(method);
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
    const serving = new Serving(this, target, id, size, due, metadata, began);
    if (streamed) this.#acceptStream(serving);
    if (observe !== undefined && observe.active) observe.came(serving, clock);
    if (this.#gate.ask()) this.#runner.start(serving);
    else {
      serving.kept = codec.keep();
      this.#calls.keep(serving);
      this.#gate.wait(serving);
    }
  }

  /** The params are a stream. */
  #acceptStream(serving: Serving): void {
    const hub = this.#context.streams();
    serving.streams = new CalleeStreams(hub, serving, this.#runner);
    serving.streams.accept();
  }

  #refuse(request: CameRequest, code: ErrorCode, message: string): void {
    this.#answers.refuse(request, code, message);
    this.#admission.answered(request.size);
  }

  /** The peer cancels call `id`. */
  cancel(id: number): void {
    const serving = this.#calls.get(id);
    // A running call may be older than serial arithmetic reaches.
    if (serving === undefined && !this.#admission.seen(id)) {
      throw new ConnectionError(
        "protocol_error",
        `CANCEL for call ${id}, which was never made`,
      );
    }
    // Answered already: the CANCEL crossed the answer.
    if (serving === undefined) return;
    this.#withdraw(serving, "cancelled", CANCELLED);
  }

  /** A deadline has passed before the answer. */
  expire(serving: Serving): void {
    this.#withdraw(serving, "deadline_exceeded", LATE);
  }

  /** Ends a call early: one not started is answered at once, a running one when it settles. */
  #withdraw(serving: Serving, code: ErrorCode, text: string): void {
    // An error with its stack costs more than all else here: a flood of cancels must not make one each.
    const reason = () => gone(code, text);
    switch (serving.state) {
      case "waiting":
        this.#gate.remove(serving);
        this.#calls.turnDown(serving, code, text);
        this.#gate.passTurn(serving);
        this.#context.settled();
        return;
      case "validating":
        this.#calls.turnDown(serving, code, text);
        serving.abort(reason);
        return;
      case "running":
      case "streaming":
        this.#context.deadlines.remove(serving);
        serving.abort(reason);
        serving.streams?.cancel(serving.aborted?.reason);
        return;
      case "done":
        return;
    }
  }

  /** The streams of call `id`; see {@linkcode Replies.streamsOf}. */
  streamsOf(id: number): CalleeStreams | null | undefined {
    const serving = this.#calls.get(id);
    if (serving !== undefined) return serving.streams ?? null;
    if (this.#admission.seen(id)) return undefined;
    throw new ConnectionError(
      "protocol_error",
      `a frame of a stream for call ${id}, which was never made`,
    );
  }

  /** The peer has been let in, and is granted its window: handlers may start. */
  open(): void {
    this.#admission.grant(this.#context.limits);
    this.#gate.open();
  }

  /** Starts what waits and may start. */
  pump(): void {
    this.#gate.pump();
  }

  /** A batch has gone: the calls answered in it free their places. */
  batchHandedOver(): void {
    this.#answers.batchHandedOver();
    this.#admission.batchHandedOver();
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
    for (const serving of this.#calls.all()) serving.drain();
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
    for (const serving of this.#calls.entered()) {
      serving.streams?.inlet?.lose(lost);
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
    for (const serving of this.#calls.all().reverse()) {
      const { state, id } = serving;
      const started = state !== "waiting" && state !== "validating";
      if (started) excluded = false;
      else if (excluded) last = (id - 1) >>> 0;
      else this.#turnDown(serving);
    }
    return last;
  }

  #turnDown(serving: Serving): void {
    const { state } = serving;
    if (state === "waiting") this.#gate.remove(serving);
    this.#calls.turnDown(serving, "unavailable", GOING);
    if (state === "validating") serving.abort(() => gone("unavailable", GOING));
  }

  /** It is over: signals fire, and nobody is answered any more. */
  end(reason: ConnectionError): void {
    this.#gate.shut();
    this.#draining = true;
    this.tellDraining(reason.message);
    let lost: RpcError | undefined;
    const why = () => lost ??= gone("unavailable", reason.message, reason);
    for (const serving of this.#calls.all()) {
      if (serving.state === "waiting") this.#gate.remove(serving);
      this.#calls.lose(serving, why);
      serving.abort(why);
      serving.streams?.lose(serving.aborted?.reason);
    }
    this.#admission.end();
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
