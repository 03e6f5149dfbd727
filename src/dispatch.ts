/**
 * The calls the peer makes: admission, handlers, answers.
 *
 * Invariants owned here:
 * - Every call is answered exactly once, cancelled or not.
 * - Handlers start in the order their requests came, none before the dispatch
 *   is opened, at most `maxRunning` at once, and only while the outbox is below
 *   its high-water mark. No error of
 *   our own making frees a place before its handler settles.
 * - An ordered call enters that line again when its turn comes, and until then
 *   holds up nobody but those of its own order.
 * - STARTED is set by `#run`, just before the handler is called, and by
 *   nothing else.
 * - Params stay bytes until their handler starts: where an order has a key,
 *   they are decoded to find it when they first could be started, and again at
 *   their turn.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { Admission } from "./admission.ts";
import { Answers, type AnswersContext, invalid } from "./answers.ts";
import type { Metadata } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { Serving, type ServingOwner } from "./context.ts";
import type { Deadlines } from "./deadlines.ts";
import { ConnectionError, type ErrorCode, quote, RpcError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import type { SchemaResult } from "./method.ts";
import type { CameRequest } from "./observe.ts";
import type { Order } from "./order.ts";
import type { OrderLines } from "./order_lines.ts";
import type { Method, Registry } from "./registry.ts";
import type { ServedCounts } from "./stats.ts";
import {
  CalleeStreams,
  type CalleeTable,
  callOver,
} from "./streams/call_streams.ts";
import {
  isStream,
  type Source,
  type StreamValue,
  toSource,
} from "./streams/source.ts";
import type { Streams } from "./streams/streams.ts";
import { adopt, isThenable } from "./thenable.ts";
import type { Tick } from "./tick.ts";
import type { Turn, Turns } from "./turns.ts";
import { WaitingCalls } from "./waiting_calls.ts";

/** What the dispatch needs of its connection. */
export interface DispatchContext extends AnswersContext {
  readonly deadlines: Deadlines;
  readonly limits: Limits;
  readonly tick: Tick;
  readonly registry: Registry;
  /** The connection's streams, made when they are asked for. */
  streams(): Streams;
  /** The running handlers of all connections, at a server. */
  readonly turns: Turns | undefined;
  /** Called when a handler or a waiting call has gone, otherwise than in the turn it came. */
  settled(): void;
}

/** The served calls of one connection. */
export class Dispatch implements ServingOwner, CalleeTable {
  readonly #context: DispatchContext;
  readonly #admission: Admission;
  readonly #answers: Answers;
  /** Calls that wait, or whose handlers have not settled, by id. Those answered in the turn they came never enter. */
  readonly #active = new Map<number, Serving>();
  readonly #waiting = new WaitingCalls();
  readonly #turn: Turn | undefined;
  /** Of ordered calls; made when the first one starts. */
  #lines: OrderLines | undefined;
  /** Handlers and validations that have not settled. */
  #running = 0;
  /** Handlers that may run at once: none before the peer has been let in. */
  #maxRunning = 0;
  /** No request is served any more: we said GOAWAY, or it is over. */
  #draining = false;
  /** The call whose handler is on the stack. */
  #current: Serving | undefined;

  constructor(context: DispatchContext) {
    this.#context = context;
    this.#admission = new Admission(context.codec.features.excess);
    this.#answers = new Answers(context);
    this.#turn = context.turns?.turn(() => this.#next());
  }

  get clock(): Clock {
    return this.#context.clock;
  }

  get connection(): Connection {
    return this.#context.connection;
  }

  /** Handlers that have not settled. */
  get running(): number {
    return this.#running;
  }

  /** Calls that wait to be started. */
  get waiting(): number {
    return this.#waiting.length + this.ordered;
  }

  /** Those of them that wait for an earlier one of their order. */
  get ordered(): number {
    return this.#lines?.waiting ?? 0;
  }

  /** Bytes of those. */
  get waitingBytes(): number {
    return this.#waiting.bytes + (this.#lines?.bytes ?? 0);
  }

  /** Calls that have ended, by how. */
  get served(): ServedCounts {
    return this.#answers.counts;
  }

  /** Every call that has not been answered, in the order they came. */
  all(): Serving[] {
    const all = [...this.#active.values()];
    const current = this.#current;
    if (current !== undefined && !current.done && !all.includes(current)) {
      all.push(current);
    }
    return all;
  }

  /** Calls that hold a place in the window we granted. */
  get held(): number {
    return this.#admission.calls;
  }

  /** Their bytes. */
  get heldBytes(): number {
    return this.#admission.bytes;
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
    return this.#current;
  }

  /** Handlers and waiting calls, those of `except` left out. */
  busy(except: ReadonlySet<unknown>): number {
    let busy = this.#running + this.waiting;
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
    metadata: Metadata | undefined,
  ): void {
    const admission = this.#admission;
    admission.checkId(id);
    // A call that finds no place is not noted: our GOAWAY then refuses it.
    const { codec, registry, clock, deadlines, tick, observe } = this.#context;
    if (!this.#draining) {
      admission.hold(size);
      if (codec.streamed) this.#context.streams().checkRoom();
    }
    admission.note(id);
    if (this.#draining) {
      // Past our GOAWAY's id, the caller has settled it as refused by itself.
      if (!codec.features.goaway) {
        const { connection } = this;
        const request = { connection, method, id, size, metadata };
        this.#answers.refuse(request, "unavailable", GOING);
      }
      return;
    }
    const target = registry.get(method);
    if (target === undefined) {
      const text = `there is no method ${quote(method)}`;
      const { connection } = this;
      const request = { connection, method, id, size, metadata };
      this.#refuse(request, "not_found", text);
      return;
    }
    if (remaining === 0) {
      const { connection } = this;
      const request = { connection, method, id, size, metadata };
      this.#refuse(request, "deadline_exceeded", LATE);
      return;
    }
    const due = remaining < 0 ? Infinity : clock.now() + remaining;
    const began = tick.now();
    const serving = new Serving(this, target, id, size, due, metadata, began);
    if (codec.streamed) {
      serving.streams = new CalleeStreams(
        this.#context.streams(),
        serving,
        this,
      );
      serving.streams.accept();
    }
    if (observe !== undefined && observe.active) observe.came(serving, clock);
    if (this.#waiting.length === 0 && this.#mayStart()) this.#start(serving);
    else {
      serving.kept = codec.keep();
      this.#active.set(id, serving);
      this.#waiting.push(serving);
      deadlines.add(serving);
    }
  }

  /** The peer cancels call `id`. */
  cancel(id: number): void {
    const serving = this.#active.get(id);
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

  /** The peer has been let in, and is granted its window: handlers may start, those of the calls that wait for it first. */
  open(): void {
    const { limits } = this.#context;
    this.#admission.grant(limits);
    this.#maxRunning = limits.maxRunning;
    this.pump();
  }

  /** Starts what waits and may start. */
  pump(): void {
    let serving: Serving | undefined;
    while (
      (serving = this.#waiting.first) !== undefined && this.#mayStart()
    ) {
      this.#waiting.remove(serving);
      this.#start(serving);
    }
  }

  /** A batch has gone: the calls answered in it free their places. */
  batchHandedOver(): void {
    this.#admission.batchHandedOver();
  }

  /** Serves no request that comes from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** It is over: signals fire, and nobody is answered any more. */
  end(reason: ConnectionError): void {
    this.#draining = true;
    let lost: RpcError | undefined;
    const why = () => lost ??= gone("unavailable", reason.message, reason);
    for (const serving of this.all()) {
      // The one on the stack waits in no line: its key is being asked for.
      const queued = serving !== this.#current;
      if (queued && serving.state === "waiting") this.#unqueue(serving);
      this.#leave(serving);
      this.#answers.lost(serving, why);
      serving.abort(why);
      serving.streams?.lose(serving.aborted?.reason);
    }
    this.#admission.end();
    this.#turn?.end();
  }

  /** Whether this connection's own limits let another handler start. */
  get #room(): boolean {
    const { limits, outbox } = this.#context;
    return this.#running < this.#maxRunning &&
      outbox.size < limits.highWaterMark;
  }

  #mayStart(): boolean {
    return this.#room && (this.#turn === undefined || this.#turn.ask());
  }

  /** This connection's turn has come: starts one call; returns whether there is another to start. */
  #next(): boolean {
    const serving = this.#waiting.first;
    if (serving === undefined || !this.#room) return false;
    this.#waiting.remove(serving);
    this.#start(serving);
    return this.#waiting.length > 0 && this.#room;
  }

  // A served call, in the order it lives.

  #start(serving: Serving): void {
    const { codec } = this.#context;
    const { order } = serving.target;
    const asks = order !== undefined && serving.line === undefined;
    // Without a key nobody needs to look at the params yet.
    if (asks && !order.keyed && !this.#takeTurn(serving, order)) return;
    let params: unknown = serving.streams?.inlet?.readable;
    try {
      params ??= serving.kept === undefined
        ? codec.value()
        : codec.open(serving.kept);
    } catch {
      serving.kept = undefined;
      this.#fail(serving, false, new RpcError("invalid_argument", UNREADABLE));
      this.#passTurn(serving);
      return;
    }
    if (asks && order.keyed && !this.#takeTurn(serving, order, params)) return;
    serving.kept = undefined;
    if (serving.target.schema === undefined) this.#run(serving, params);
    else this.#validate(serving, params);
  }

  #validate(serving: Serving, params: unknown): void {
    const schema = serving.target.schema as NonNullable<Method["schema"]>;
    serving.state = "validating";
    this.#running++;
    let result: unknown;
    try {
      result = schema["~standard"].validate(params);
      if (isThenable(result)) {
        this.#keep(serving);
        this.#turn?.took();
        adopt(result).then((result) => {
          this.#turn?.gave();
          this.#validated(serving, result);
        }, (error) => {
          this.#turn?.gave();
          this.#notValidated(serving, error);
        }).then(() => this.#settled());
        return;
      }
    } catch (error) {
      this.#notValidated(serving, error);
      return;
    }
    this.#validated(serving, result);
  }

  /** What a schema returned may be no result at all, or throw on being looked at. */
  #validated(serving: Serving, result: unknown): void {
    let value: unknown;
    let refusal: RpcError | undefined;
    try {
      const { issues } = result as SchemaResult<unknown>;
      if (issues !== undefined) refusal = invalid(issues);
      else value = (result as { value: unknown }).value;
    } catch (error) {
      this.#notValidated(serving, error);
      return;
    }
    this.#running--;
    // Cancelled meanwhile, it is answered already, and never to be started.
    if (serving.state === "validating" && refusal === undefined) {
      this.#run(serving, value);
      return;
    }
    if (refusal !== undefined) this.#fail(serving, false, refusal);
    this.#passTurn(serving);
  }

  #notValidated(serving: Serving, error: unknown): void {
    this.#running--;
    this.#report(serving, false, error);
    this.#passTurn(serving);
  }

  #run(serving: Serving, params: unknown): void {
    const outer = this.#current;
    this.#current = serving;
    serving.state = "running";
    this.#running++;
    let result: unknown;
    let thenable = false;
    try {
      result = serving.target.run(params, serving);
      thenable = isThenable(result);
    } catch (error) {
      this.#current = outer;
      this.#ran(serving, false, error);
      return;
    }
    this.#current = outer;
    if (thenable) this.#await(serving, result as PromiseLike<unknown>);
    else this.#ran(serving, true, result);
  }

  #await(serving: Serving, result: PromiseLike<unknown>): void {
    if (serving.state === "running") this.#keep(serving);
    this.#turn?.took();
    adopt(result).then((value) => {
      this.#turn?.gave();
      this.#ran(serving, true, value);
      this.#settled();
    }, (error) => {
      this.#turn?.gave();
      this.#ran(serving, false, error);
      this.#settled();
    });
  }

  /** A handler has ended, one way or the other; its call goes on if the result is a stream. */
  #ran(serving: Serving, ok: boolean, result: unknown): void {
    this.#running--;
    if (ok && isStream(result)) this.#stream(serving, result);
    else {
      if (ok) this.#reply(serving, result);
      else this.#report(serving, true, result);
      this.#passTurn(serving);
    }
  }

  // Ordered calls.

  /** Whether the call may go on: not if an earlier one of its order has the turn, or its key fails. */
  #takeTurn(serving: Serving, order: Order, params?: unknown): boolean {
    const outer = this.#current;
    this.#current = serving;
    let key: ReturnType<Order["keyOf"]>;
    try {
      key = order.keyOf(params);
    } catch (error) {
      this.#report(serving, false, error);
      return false;
    } finally {
      this.#current = outer;
    }
    // The key is the user's code, which may have ended the connection.
    if (serving.done) return false;
    this.#lines ??= order.lines();
    if (this.#lines.take(serving, order, key)) return true;
    serving.kept ??= this.#context.codec.keep();
    this.#keep(serving);
    return false;
  }

  /** If the call had its turn, the next one has it, and may be started once there is room. */
  #passTurn(serving: Serving): void {
    const { line } = serving;
    if (line?.holder !== serving) return;
    serving.line = undefined;
    const next = this.#lines?.pass(line);
    if (next !== undefined) this.#waiting.push(next);
  }

  /** Takes out a call that waits, wherever that is. */
  #unqueue(serving: Serving): void {
    const { line } = serving;
    if (line === undefined || line.holder === serving) {
      this.#waiting.remove(serving);
    } else this.#lines?.remove(serving);
  }

  /** Enters a call that outlives this turn. */
  #keep(serving: Serving): void {
    this.#active.set(serving.id, serving);
    if (serving.slot < 0) this.#context.deadlines.add(serving);
  }

  /** A handler has settled: a waiting one may start. */
  #settled(): void {
    // Those in line before this connection go first.
    this.#turn?.pass();
    this.pump();
    this.#context.settled();
  }

  /** Cancels: a call not started is answered at once, a running one when it settles. */
  #withdraw(serving: Serving, code: ErrorCode, text: string): void {
    // An error with its stack costs more than all else here: a flood of cancels must not make one each.
    const reason = () => gone(code, text);
    switch (serving.state) {
      case "waiting":
        this.#unqueue(serving);
        this.#turnDown(serving, code, text);
        this.#passTurn(serving);
        this.#context.settled();
        return;
      case "validating":
        this.#turnDown(serving, code, text);
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

  // Answers. A call whose connection has ended has nobody to tell.

  #reply(serving: Serving, value: unknown): void {
    if (serving.done) return;
    if (this.#answers.reply(serving, value)) this.#answered(serving);
  }

  #report(serving: Serving, started: boolean, error: unknown): void {
    if (serving.done) return;
    if (this.#answers.report(serving, started, error)) this.#answered(serving);
  }

  #fail(serving: Serving, started: boolean, error: RpcError): void {
    if (serving.done) return;
    if (this.#answers.fail(serving, started, error)) this.#answered(serving);
  }

  /** Answers a call that was not started, and is not to be. */
  #turnDown(serving: Serving, code: ErrorCode, text: string): void {
    this.#answers.turnDown(serving, code, text);
    this.#answered(serving);
  }

  #refuse(request: CameRequest, code: string, message: string): void {
    this.#answers.refuse(request, code, message);
    this.#admission.answered(request.size);
  }

  #answered(serving: Serving): void {
    this.#admission.answered(serving.size);
    this.#leave(serving);
    serving.streams?.release(callOver());
  }

  #leave(serving: Serving): void {
    serving.state = "done";
    if (this.#active.size > 0) this.#active.delete(serving.id);
    this.#context.deadlines.remove(serving);
    serving.streams?.close();
  }

  // Results that are streams: the handler runs until they have ended.

  #stream(serving: Serving, value: StreamValue): void {
    let source: Source;
    try {
      source = toSource(value);
    } catch (error) {
      this.#report(serving, true, error);
      this.#passTurn(serving);
      return;
    }
    this.#running++;
    this.#turn?.took();
    if (serving.done) {
      this.#cleanUp(serving, source, serving.aborted?.reason);
      return;
    }
    const hub = this.#context.streams();
    const streams = serving.streams ??= new CalleeStreams(hub, serving, this);
    const refusal = streams.reply(source) ?? this.#answers.stream(serving);
    if (refusal !== undefined) {
      this.#cleanUp(serving, source, refusal);
      return;
    }
    serving.state = "streaming";
    this.#keep(serving);
    // Cancelled while it ran: its cleanup is still to be waited for.
    const { aborted } = serving;
    if (aborted === undefined) streams.start();
    else streams.cancel(aborted.reason);
  }

  /** Ends a stream that goes nowhere; its call fails when the cleanup is over. */
  async #cleanUp(
    serving: Serving,
    source: Source,
    reason: unknown,
  ): Promise<void> {
    if (!serving.done) this.#keep(serving);
    const error = await source.cancel(reason);
    if (error !== undefined) this.#context.onError(error, serving);
    if (!serving.done) this.#report(serving, true, reason);
    this.#streamed(serving);
  }

  streamDone(serving: Serving, error: unknown): void {
    if (error !== undefined) this.#context.onError(error, serving);
    if (!serving.done) {
      const { streams, aborted } = serving;
      const failure = streams?.told ?? aborted?.reason as RpcError | undefined;
      this.#answers.streamed(serving, failure);
      this.#answered(serving);
    }
    this.#streamed(serving);
  }

  /** A stream of results is over, and its cleanup: its call holds nothing up any more. */
  #streamed(serving: Serving): void {
    this.#running--;
    this.#turn?.gave();
    this.#passTurn(serving);
    this.#settled();
  }

  /** The streams of call `id`; see {@linkcode Pending.streamsOf}. */
  streamsOf(id: number): CalleeStreams | null | undefined {
    const serving = this.#active.get(id);
    if (serving !== undefined) return serving.streams ?? null;
    if (this.#admission.seen(id)) return undefined;
    throw new ConnectionError(
      "protocol_error",
      `a frame of a stream for call ${id}, which was never made`,
    );
  }

  /** The peer sends nothing any more: params that have not ended never will. */
  halfClosed(reason: ConnectionError): void {
    const lost = gone("unavailable", reason.message, reason);
    for (const serving of this.#active.values()) {
      serving.streams?.inlet?.lose(lost);
    }
  }

  describeStream(serving: Serving, error: unknown): RpcError {
    return this.#answers.describe(serving, error);
  }

  unsayable(serving: Serving, error: unknown): RpcError {
    return this.#answers.unsayable(serving, error);
  }
}

const CANCELLED = "the caller cancelled the call";
const LATE = "the call's deadline has passed";
const GOING = "this end is closing the connection";
const UNREADABLE = "the call's payload does not parse";

/**
 * Why a handler's signal fires. Calls that the handler makes reject with the
 * very same error, which must not say of them that they were executed.
 */
function gone(code: ErrorCode, message: string, cause?: unknown): RpcError {
  return new RpcError(code, message, { outcome: "unknown", cause });
}
