/**
 * Runs handlers: a call from its start until nothing of it goes on.
 *
 * Invariants owned here:
 * - STARTED is set by `#run`, just before the handler is called, and by
 *   nothing else.
 * - Params stay bytes until their handler starts: where an order has a key,
 *   they are decoded to find it when they first could be started, and again at
 *   their turn.
 * - A call runs until its handler has settled, the stream that this returned
 *   has ended and its cleanup is over, whatever its caller was told meanwhile:
 *   no error of our own making frees its place before.
 *
 * @module
 */

import { type Answers, invalid } from "./responder.ts";
import type { Codec } from "../wire/codec.ts";
import type { Serving } from "./incoming_call.ts";
import { RpcError } from "../base/errors.ts";
import type { SchemaResult } from "../types/schema.ts";
import type { Order } from "./ordered.ts";
import type { OrderKey } from "../base/inspect.ts";
import type { Method } from "./method.ts";
import type { ServedCalls } from "./open_calls.ts";
import type { StartGate } from "./scheduler.ts";
import { CalleeStreams, type CalleeTable } from "../streams/call_streams.ts";
import {
  isStream,
  type Source,
  type StreamValue,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import type { Streams } from "../streams/stream_table.ts";
import { isThenable, whenSettled } from "../base/promises.ts";

/** What the runner needs of its connection. */
export interface RunnerContext {
  readonly codec: Codec;
  /** The connection's streams, made when they are asked for. */
  streams(): Streams;
  /** Tells the operator what the caller is not told. */
  readonly onError: (error: unknown, serving: Serving) => void;
  /** Called when a handler or a waiting call has gone, otherwise than in the turn it came. */
  settled(): void;
}

/** The handlers of one connection. */
export class Runner implements CalleeTable {
  readonly #context: RunnerContext;
  readonly #calls: ServedCalls;
  readonly #gate: StartGate;
  readonly #answers: Answers;

  constructor(
    context: RunnerContext,
    calls: ServedCalls,
    gate: StartGate,
    answers: Answers,
  ) {
    this.#context = context;
    this.#calls = calls;
    this.#gate = gate;
    this.#answers = answers;
  }

  // A call, in the order it lives.

  /** Starts a call that the gate lets through; one that finds it is not its turn waits once more. */
  start(serving: Serving): void {
    const calls = this.#calls;
    const outer = calls.current;
    // Serializer, key, schema and handler are the user's, and may end the
    // connection: then this call has to be found, entered or not.
    calls.current = serving;
    this.#start(serving);
    calls.current = outer;
  }

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
      const error = new RpcError("invalid_argument", UNREADABLE);
      this.#calls.fail(serving, false, error);
      this.#gate.passTurn(serving);
      return;
    }
    // So is a serializer.
    if (serving.done) return;
    if (asks && order.keyed && !this.#takeTurn(serving, order, params)) return;
    if (serving.kept !== undefined) {
      this.#calls.weigh(serving);
      serving.kept = undefined;
    }
    if (serving.target.schema === undefined) this.#run(serving, params);
    else this.#validate(serving, params);
  }

  /** Whether the call may go on: not if an earlier one of its order has the turn, or its key fails. */
  #takeTurn(serving: Serving, order: Order, params?: unknown): boolean {
    let key: OrderKey | undefined;
    try {
      key = order.keyOf(params);
    } catch (error) {
      this.#calls.report(serving, false, error);
      return false;
    }
    // The key is the user's code, which may have ended the connection.
    if (serving.done) return false;
    if (this.#gate.takeTurn(serving, order, key)) return true;
    serving.kept ??= this.#context.codec.keep();
    this.#calls.keep(serving);
    return false;
  }

  #validate(serving: Serving, params: unknown): void {
    const schema = serving.target.schema as NonNullable<Method["schema"]>;
    serving.state = "validating";
    this.#gate.running++;
    let result: unknown;
    try {
      result = schema["~standard"].validate(params);
      if (isThenable(result)) {
        this.#calls.keep(serving);
        this.#gate.took();
        whenSettled(result, (result) => {
          this.#gate.gave();
          this.#validated(serving, result);
          this.#settled();
        }, (error) => {
          this.#gate.gave();
          this.#notValidated(serving, error);
          this.#settled();
        });
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
    this.#gate.running--;
    // Cancelled meanwhile, it is answered already, and never to be started.
    if (serving.state === "validating" && refusal === undefined) {
      this.#run(serving, value);
      return;
    }
    if (refusal !== undefined) this.#calls.fail(serving, false, refusal);
    this.#gate.passTurn(serving);
  }

  #notValidated(serving: Serving, error: unknown): void {
    this.#gate.running--;
    this.#calls.report(serving, false, error);
    this.#gate.passTurn(serving);
  }

  #run(serving: Serving, params: unknown): void {
    const calls = this.#calls;
    const outer = calls.current;
    calls.current = serving;
    serving.state = "running";
    this.#gate.running++;
    let result: unknown;
    let thenable = false;
    try {
      result = serving.target.run(params, serving);
      thenable = isThenable(result);
    } catch (error) {
      calls.current = outer;
      this.#ran(serving, false, error);
      return;
    }
    calls.current = outer;
    if (thenable) this.#await(serving, result as PromiseLike<unknown>);
    else this.#ran(serving, true, result);
  }

  #await(serving: Serving, result: PromiseLike<unknown>): void {
    if (serving.state === "running") this.#calls.keep(serving);
    this.#gate.took();
    whenSettled(result, (value) => {
      this.#gate.gave();
      this.#ran(serving, true, value);
      this.#settled();
    }, (error) => {
      this.#gate.gave();
      this.#ran(serving, false, error);
      this.#settled();
    });
  }

  /** A handler has ended, one way or the other; its call goes on if the result is a stream. */
  #ran(serving: Serving, ok: boolean, result: unknown): void {
    this.#gate.running--;
    if (ok && isStream(result)) this.#stream(serving, result);
    else {
      if (ok) this.#calls.reply(serving, result);
      else this.#calls.report(serving, true, result);
      this.#gate.passTurn(serving);
    }
  }

  /** A handler has settled: a waiting one may start. */
  #settled(): void {
    this.#gate.pass();
    this.#context.settled();
  }

  // Results that are streams: the handler runs until they have ended.

  #stream(serving: Serving, value: StreamValue): void {
    let source: Source;
    try {
      source = toScopedSource(value, serving.scope);
    } catch (error) {
      this.#calls.report(serving, true, error);
      this.#gate.passTurn(serving);
      return;
    }
    this.#gate.running++;
    this.#gate.took();
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
    this.#calls.keep(serving);
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
    if (!serving.done) this.#calls.keep(serving);
    this.#answers.cleanedUp(serving, await source.cancel(reason));
    this.#calls.report(serving, true, reason);
    this.#streamed(serving);
  }

  streamDone(serving: Serving, thrown: Thrown | undefined): void {
    this.#answers.cleanedUp(serving, thrown);
    const { streams, aborted } = serving;
    const failure = streams?.told ?? aborted?.reason as RpcError | undefined;
    this.#calls.streamed(serving, failure);
    this.#streamed(serving);
  }

  /** A stream of results is over, and its cleanup: its call holds nothing up any more. */
  #streamed(serving: Serving): void {
    this.#gate.running--;
    this.#gate.gave();
    this.#gate.passTurn(serving);
    this.#settled();
  }

  describeStream(serving: Serving, error: unknown): RpcError {
    return this.#answers.describe(serving, error);
  }

  unsayable(serving: Serving, error: unknown): RpcError {
    return this.#answers.unsayable(serving, error);
  }
}

const UNREADABLE = "the call's payload does not parse";
