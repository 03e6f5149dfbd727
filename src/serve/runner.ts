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

import { invalid, type Responder } from "./responder.ts";
import type { Codec } from "../wire/codec.ts";
import type { ServerCall } from "./server_call.ts";
import { RpcError } from "../base/errors.ts";
import type { SchemaResult } from "../types/schema.ts";
import type { CallOrder } from "./serial_queue.ts";
import type { OrderKey } from "../base/inspect.ts";
import type { MethodEntry } from "./method.ts";
import type { OpenCalls } from "./open_calls.ts";
import type { Scheduler } from "./scheduler.ts";
import type {
  ConnectionStreams,
  IncomingStreamHost,
} from "../streams/contract.ts";
import {
  isStream,
  type PullSource,
  type StreamValue,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import { isThenable, whenSettled } from "../base/promises.ts";

/** What the runner needs of its connection. */
export interface HandlerRunnerContext {
  readonly codec: Codec;
  /** The connection's streams, made when they are asked for. */
  streams(): ConnectionStreams | undefined;
  /** Tells the operator what the caller is not told. */
  readonly onError: (error: unknown, call: ServerCall) => void;
  /** Called when a handler or a waiting call has gone, otherwise than in the turn it came. */
  settled(): void;
}

/** The handlers of one connection. */
export class HandlerRunner implements IncomingStreamHost<ServerCall> {
  readonly #context: HandlerRunnerContext;
  readonly #calls: OpenCalls;
  readonly #gate: Scheduler;
  readonly #answers: Responder;

  constructor(
    context: HandlerRunnerContext,
    calls: OpenCalls,
    gate: Scheduler,
    answers: Responder,
  ) {
    this.#context = context;
    this.#calls = calls;
    this.#gate = gate;
    this.#answers = answers;
  }

  // A call, in the order it lives.

  /** Starts a call that the gate lets through; one that finds it is not its turn waits once more. */
  start(call: ServerCall): void {
    const calls = this.#calls;
    const outer = calls.current;
    // Serializer, key, schema and handler are the user's, and may end the
    // connection: then this call has to be found, entered or not.
    calls.current = call;
    this.#start(call);
    calls.current = outer;
  }

  #start(call: ServerCall): void {
    const { codec } = this.#context;
    const { order } = call.target;
    const asks = order !== undefined && call.line === undefined;
    // Without a key nobody needs to look at the params yet.
    if (asks && !order.keyed && !this.#takeTurn(call, order)) return;
    let params: unknown = call.streams?.reader?.readable;
    try {
      params ??= call.retained === undefined
        ? codec.value()
        : codec.decodeRetained(call.retained);
    } catch {
      call.retained = undefined;
      const error = new RpcError("invalid_argument", UNREADABLE);
      this.#calls.fail(call, false, error);
      this.#gate.passTurn(call);
      return;
    }
    // So is a serializer.
    if (call.done) return;
    if (asks && order.keyed && !this.#takeTurn(call, order, params)) return;
    if (call.retained !== undefined) {
      this.#calls.weigh(call);
      call.retained = undefined;
    }
    if (call.target.schema === undefined) this.#run(call, params);
    else this.#validate(call, params);
  }

  /** Whether the call may go on: not if an earlier one of its order has the turn, or its key fails. */
  #takeTurn(call: ServerCall, order: CallOrder, params?: unknown): boolean {
    let key: OrderKey | undefined;
    try {
      key = order.keyOf(params);
    } catch (error) {
      this.#calls.replyWithError(call, false, error);
      return false;
    }
    // The key is the user's code, which may have ended the connection.
    if (call.done) return false;
    if (this.#gate.takeTurn(call, order, key)) return true;
    call.retained ??= this.#context.codec.retain();
    this.#calls.keep(call);
    return false;
  }

  #validate(call: ServerCall, params: unknown): void {
    const schema = call.target.schema as NonNullable<MethodEntry["schema"]>;
    call.state = "validating";
    this.#gate.running++;
    let result: unknown;
    try {
      result = schema["~standard"].validate(params);
      if (isThenable(result)) {
        this.#calls.keep(call);
        this.#gate.acquire();
        whenSettled(result, (result) => {
          this.#gate.release();
          this.#validated(call, result);
          this.#settled();
        }, (error) => {
          this.#gate.release();
          this.#notValidated(call, error);
          this.#settled();
        });
        return;
      }
    } catch (error) {
      this.#notValidated(call, error);
      return;
    }
    this.#validated(call, result);
  }

  /** What a schema returned may be no result at all, or throw on being looked at. */
  #validated(call: ServerCall, result: unknown): void {
    let value: unknown;
    let refusal: RpcError | undefined;
    try {
      const { issues } = result as SchemaResult<unknown>;
      if (issues !== undefined) refusal = invalid(issues);
      else value = (result as { value: unknown }).value;
    } catch (error) {
      this.#notValidated(call, error);
      return;
    }
    this.#gate.running--;
    // Cancelled meanwhile, it is answered already, and never to be started.
    if (call.state === "validating" && refusal === undefined) {
      this.#run(call, value);
      return;
    }
    if (refusal !== undefined) this.#calls.fail(call, false, refusal);
    this.#gate.passTurn(call);
  }

  #notValidated(call: ServerCall, error: unknown): void {
    this.#gate.running--;
    this.#calls.replyWithError(call, false, error);
    this.#gate.passTurn(call);
  }

  #run(call: ServerCall, params: unknown): void {
    const calls = this.#calls;
    const outer = calls.current;
    calls.current = call;
    call.state = "running";
    this.#gate.running++;
    let result: unknown;
    let thenable = false;
    try {
      result = call.target.run(params, call);
      thenable = isThenable(result);
    } catch (error) {
      calls.current = outer;
      this.#ran(call, false, error);
      return;
    }
    calls.current = outer;
    if (thenable) this.#await(call, result as PromiseLike<unknown>);
    else this.#ran(call, true, result);
  }

  #await(call: ServerCall, result: PromiseLike<unknown>): void {
    if (call.state === "running") this.#calls.keep(call);
    this.#gate.acquire();
    whenSettled(result, (value) => {
      this.#gate.release();
      this.#ran(call, true, value);
      this.#settled();
    }, (error) => {
      this.#gate.release();
      this.#ran(call, false, error);
      this.#settled();
    });
  }

  /** A handler has ended, one way or the other; its call goes on if the result is a stream. */
  #ran(call: ServerCall, ok: boolean, result: unknown): void {
    this.#gate.running--;
    if (ok && isStream(result)) this.#stream(call, result);
    else {
      if (ok) this.#calls.reply(call, result);
      else this.#calls.replyWithError(call, true, result);
      this.#gate.passTurn(call);
    }
  }

  /** A handler has settled: a waiting one may start. */
  #settled(): void {
    this.#gate.startNext();
    this.#context.settled();
  }

  // Results that are streams: the handler runs until they have ended.

  #stream(call: ServerCall, value: StreamValue): void {
    let source: PullSource;
    try {
      source = toScopedSource(value, call.scope);
    } catch (error) {
      this.#calls.replyWithError(call, true, error);
      this.#gate.passTurn(call);
      return;
    }
    this.#gate.running++;
    this.#gate.acquire();
    if (call.done) {
      this.#cleanUp(call, source, call.aborted?.reason);
      return;
    }
    const streams = call.streams ??= this.#context.streams()?.incoming(
      call,
      this,
    );
    if (streams === undefined) {
      const text = "the handler returned a stream, and streams are not enabled";
      const error = new RpcError("invalid_argument", text);
      this.#cleanUp(call, source, this.unserializableResult(call, error));
      return;
    }
    const refusal = streams.setResult(source) ?? this.#answers.stream(call);
    if (refusal !== undefined) {
      this.#cleanUp(call, source, refusal);
      return;
    }
    call.state = "streaming";
    this.#calls.keep(call);
    // Cancelled while it ran: its cleanup is still to be waited for.
    const { aborted } = call;
    if (aborted === undefined) streams.start();
    else streams.cancel(aborted.reason);
  }

  /** Ends a stream that goes nowhere; its call fails when the cleanup is over. */
  async #cleanUp(
    call: ServerCall,
    source: PullSource,
    reason: unknown,
  ): Promise<void> {
    if (!call.done) this.#calls.keep(call);
    this.#answers.cleanedUp(call, await source.cancel(reason));
    this.#calls.replyWithError(call, true, reason);
    this.#finishStream(call);
  }

  streamDone(call: ServerCall, thrown: Thrown | undefined): void {
    this.#answers.cleanedUp(call, thrown);
    const { streams, aborted } = call;
    const failure = streams?.resultError ??
      aborted?.reason as RpcError | undefined;
    this.#calls.finishStream(call, failure);
    this.#finishStream(call);
  }

  /** A stream of results is over, and its cleanup: its call holds nothing up any more. */
  #finishStream(call: ServerCall): void {
    this.#gate.running--;
    this.#gate.release();
    this.#gate.passTurn(call);
    this.#settled();
  }

  streamError(call: ServerCall, error: unknown): RpcError {
    return this.#answers.toRpcError(call, error);
  }

  unserializableResult(call: ServerCall, error: unknown): RpcError {
    return this.#answers.unserializableResult(call, error);
  }
}

const UNREADABLE = "the call's payload does not parse";
