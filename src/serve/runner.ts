/**
 * Runs the handlers of the peer's calls.
 *
 * - Only `#run` sets the state `running`, just before it calls the handler:
 *   what `executed` and `refused` mean rests on that.
 * - Params stay encoded until their handler starts. The params of an ordered
 *   call with a key are decoded when it could first start, to find the key, and
 *   again when it may run.
 * - A call counts as running until its handler has settled, the stream that it
 *   returned has ended, and the cleanup of that is over, even if the caller has
 *   its reply already.
 *
 * @module
 */

import { RpcError } from "../base/errors.ts";
import type { OrderKey } from "../base/inspect.ts";
import { isInstanceOf } from "../base/user_code.ts";
import { isThenable, whenSettled } from "../base/promises.ts";
import {
  isStream,
  type PullSource,
  type StreamValue,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import type { SchemaResult, StandardSchema } from "../types/schema.ts";
import type { IncomingStreamHost } from "../streams/contract.ts";
import { ValueWithBody } from "../streams/value_with_body.ts";
import type { ServeContext } from "../connection/contract.ts";
import { DependencyError } from "./kept_results.ts";
import { validationError } from "./method.ts";
import type { OpenCalls } from "./open_calls.ts";
import type { Responder } from "./responder.ts";
import type { Scheduler } from "./scheduler.ts";
import type { CallOrder } from "./serial_queue.ts";
import type { ServerCall } from "./server_call.ts";

/** Runs the handlers of one connection. */
export class HandlerRunner implements IncomingStreamHost<ServerCall> {
  readonly #context: ServeContext;
  readonly #openCalls: OpenCalls;
  readonly #scheduler: Scheduler;
  readonly #responder: Responder;

  constructor(
    context: ServeContext,
    openCalls: OpenCalls,
    scheduler: Scheduler,
    responder: Responder,
  ) {
    this.#context = context;
    this.#openCalls = openCalls;
    this.#scheduler = scheduler;
    this.#responder = responder;
  }

  // The steps of a call, in their order.

  /** Starts a call. If an earlier call of its order runs, it waits once more. */
  start(call: ServerCall): void {
    const calls = this.#openCalls;
    const outer = calls.current;
    // Serializer, key, schema and handler are the user's code, and may end the
    // connection, which then has to find this call, registered or not.
    calls.current = call;
    this.#start(call);
    calls.current = outer;
  }

  #start(call: ServerCall): void {
    const { codec } = this.#context;
    const { order } = call.methodEntry;
    const enters = order !== undefined && call.queue === undefined;
    // Without a key the params are not needed yet.
    if (enters && !order.keyed && !this.#enterQueue(call, order)) return;
    let params: unknown = call.streams?.takeParams();
    try {
      params ??= call.retained === undefined
        ? codec.value()
        : codec.decodeRetained(call.retained);
      params = call.links === undefined
        ? params
        : call.links.fill(params, codec);
    } catch (cause) {
      call.retained = undefined;
      const error = isInstanceOf(cause, DependencyError)
        ? cause.error
        : new RpcError("invalid_argument", UNREADABLE);
      this.#openCalls.fail(call, false, error);
      this.#scheduler.leaveQueue(call);
      return;
    }
    // The serializer may have ended the connection.
    if (call.done) return;
    if (enters && order.keyed && !this.#enterQueue(call, order, params)) return;
    if (call.retained !== undefined) {
      this.#openCalls.countDecoded(call);
      call.retained = undefined;
    }
    call.links?.unpin();
    const { schema } = call.methodEntry;
    if (schema === undefined) this.#run(call, params);
    else this.#validate(call, schema, params);
  }

  /** Whether an ordered call may go on: not if an earlier call of its queue runs, or if its key fails. */
  #enterQueue(call: ServerCall, order: CallOrder, params?: unknown): boolean {
    let key: OrderKey | undefined;
    try {
      key = order.keyOf(params);
    } catch (error) {
      this.#openCalls.replyWithError(call, false, error);
      return false;
    }
    // The function that finds the key may have ended the connection.
    if (call.done) return false;
    if (this.#scheduler.enterQueue(call, order, key)) return true;
    call.retained ??= this.#context.codec.retain();
    this.#openCalls.register(call);
    return false;
  }

  #validate(call: ServerCall, schema: StandardSchema, params: unknown): void {
    call.state = "validating";
    this.#scheduler.running++;
    let result: unknown;
    try {
      result = schema["~standard"].validate(params);
      if (isThenable(result)) {
        this.#openCalls.register(call);
        this.#scheduler.acquire();
        whenSettled(result, (result) => {
          this.#scheduler.release();
          this.#validated(call, result);
          this.#settled();
        }, (error) => {
          this.#scheduler.release();
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

  /** A schema has returned. Its result may be of another shape, or throw when it is looked at. */
  #validated(call: ServerCall, result: unknown): void {
    let value: unknown;
    let refusal: RpcError | undefined;
    try {
      const { issues } = result as SchemaResult<unknown>;
      if (issues !== undefined) refusal = validationError(issues);
      else value = (result as { value: unknown }).value;
    } catch (error) {
      this.#notValidated(call, error);
      return;
    }
    this.#scheduler.running--;
    // A call that was cancelled meanwhile is done: it must not start.
    if (call.state === "validating" && refusal === undefined) {
      this.#run(call, value);
      return;
    }
    if (refusal !== undefined) this.#openCalls.fail(call, false, refusal);
    this.#scheduler.leaveQueue(call);
  }

  #notValidated(call: ServerCall, error: unknown): void {
    this.#scheduler.running--;
    this.#openCalls.replyWithError(call, false, error);
    this.#scheduler.leaveQueue(call);
  }

  #run(call: ServerCall, params: unknown): void {
    const calls = this.#openCalls;
    const outer = calls.current;
    calls.current = call;
    call.state = "running";
    this.#scheduler.running++;
    let result: unknown;
    let thenable = false;
    try {
      result = call.methodEntry.run(params, call);
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
    if (call.state === "running") this.#openCalls.register(call);
    this.#scheduler.acquire();
    whenSettled(result, (value) => {
      this.#scheduler.release();
      this.#ran(call, true, value);
      this.#settled();
    }, (error) => {
      this.#scheduler.release();
      this.#ran(call, false, error);
      this.#settled();
    });
  }

  /** A handler has returned or thrown. If the result is a stream, the call goes on. */
  #ran(call: ServerCall, ok: boolean, result: unknown): void {
    this.#scheduler.running--;
    if (ok && isStream(result)) this.#stream(call, result);
    else {
      if (ok) this.#openCalls.reply(call, result);
      else this.#openCalls.replyWithError(call, true, result);
      this.#scheduler.leaveQueue(call);
    }
  }

  /** A handler or a validation has settled: another call may start. */
  #settled(): void {
    this.#scheduler.startNext();
    this.#context.settled();
  }

  // Results that are streams: the call runs until they have ended.

  #stream(call: ServerCall, value: StreamValue): void {
    let source: PullSource;
    try {
      source = toScopedSource(value, call.scope);
    } catch (error) {
      this.#openCalls.replyWithError(call, true, error);
      this.#scheduler.leaveQueue(call);
      return;
    }
    this.#scheduler.running++;
    this.#scheduler.acquire();
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
    const body = isInstanceOf(value, ValueWithBody) ? value : undefined;
    // The user's code, which may end the call, runs before the stream is opened.
    const tooLarge = this.#responder.prepareStream(call, body);
    if (call.done) {
      this.#cleanUp(call, source, call.aborted?.reason);
      return;
    }
    const refusal = tooLarge ?? streams.setResult(source);
    if (refusal === undefined) this.#responder.stream(call, body);
    else {
      this.#cleanUp(call, source, refusal);
      return;
    }
    call.state = "streaming";
    this.#openCalls.register(call);
    // If the call was cancelled while its handler ran, the stream's cleanup remains.
    const { aborted } = call;
    if (aborted === undefined) streams.start();
    else streams.cancel(aborted.reason);
  }

  /** Ends a stream that nobody will read; its call fails when the cleanup is over. */
  async #cleanUp(
    call: ServerCall,
    source: PullSource,
    reason: unknown,
  ): Promise<void> {
    if (!call.done) this.#openCalls.register(call);
    this.#responder.reportCleanup(call, await source.cancel(reason));
    this.#openCalls.replyWithError(call, true, reason);
    this.#finishStream(call);
  }

  streamDone(call: ServerCall, thrown: Thrown | undefined): void {
    this.#responder.reportCleanup(call, thrown);
    const { streams, aborted } = call;
    const failure = streams?.resultError ??
      aborted?.reason as RpcError | undefined;
    this.#openCalls.finishStream(call, failure);
    this.#finishStream(call);
  }

  /** The result stream of a call and its cleanup are over: the call runs no more. */
  #finishStream(call: ServerCall): void {
    this.#scheduler.running--;
    this.#scheduler.release();
    this.#scheduler.leaveQueue(call);
    this.#settled();
  }

  streamError(call: ServerCall, error: unknown): RpcError {
    return this.#responder.toRpcError(call, error);
  }

  unserializableResult(call: ServerCall, error: unknown): RpcError {
    return this.#responder.unserializableResult(call, error);
  }
}

const UNREADABLE = "the call's payload does not parse";
